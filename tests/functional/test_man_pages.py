# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""The man pages, built from the docs, say what the programs can do."""

import pathlib
import re
import subprocess
import sys

import pytest

from mig_placement.cmd import tool
from tests.functional import snippets

pytest.importorskip("sphinx")
pytest.importorskip("openstackdocstheme")

_HELP = {
    "mig-placement-agent": ["agent", "--help"],
    "mig-placement-status": ["upgrade", "--help"],
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder: pathlib.Path = tmp_path_factory.mktemp("man")
    done = _python(
        *("sphinx", "-q", "-W", "-b", "man", "-d", str(folder / "trees")),
        *(str(snippets.ROOT / "doc" / "source"), str(folder)),
    )
    assert done.returncode == 0, done.stderr
    return folder


def _python(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=snippets.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _plain(page: pathlib.Path) -> str:
    """Without troff's escapes and changes of font."""
    return re.sub(r"\\f\w+|\\f\[\w+\]|\\(?=-)", "", page.read_text())


def test_every_command_of_the_tool_has_its_place(pages: pathlib.Path) -> None:
    page = _plain(pages / "mig-placement.1")
    for command in tool._COMMANDS:
        assert re.search(rf"^mig-placement {command}\b", page, re.M), command


@pytest.mark.parametrize(
    ("name", "section"),
    [("mig-placement-agent", 8), ("mig-placement-status", 1)],
)
def test_no_page_names_an_option_that_is_not_there(
    pages: pathlib.Path, name: str, section: int
) -> None:
    module, *words = _HELP[name]
    known = _python(f"mig_placement.cmd.{module}", *words).stdout
    # An option of the subcommand.
    known += _python("mig_placement.cmd.upgrade", "upgrade", "-h").stdout
    named = set(re.findall(r"--[a-z-]+", _plain(pages / f"{name}.{section}")))
    assert "--config-file" in named
    assert named <= {*re.findall(r"--[a-z-]+", known), "--help"}
