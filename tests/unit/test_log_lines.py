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
"""The docs have every line of the log, and what it means for VMs."""

import importlib
import pathlib
import subprocess
import types

import pytest

from mig_placement import log_lines

_ROOT = pathlib.Path(__file__).parents[2]
_LONGEST = 240


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(_ROOT / "doc" / "ext"))
    return importlib.import_module("mig_log_lines")


def test_every_line_has_a_meaning_and_every_meaning_a_line(
    extension: types.ModuleType,
) -> None:
    assert set(extension.logged()) == set(log_lines.MEANINGS)


@pytest.mark.parametrize("text", log_lines.MEANINGS)
def test_a_line_is_one_and_says_what_of_vms_and_the_mend(text: str) -> None:
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < _LONGEST
    meaning = log_lines.MEANINGS[text]
    for told in (meaning.vms, meaning.mend):
        assert told.isascii()
        assert told.endswith(".")
        assert not told.count("``") % 2


def test_the_table_has_each_line_once_and_errors_first(
    extension: types.ModuleType,
) -> None:
    table = extension.lines()
    for text in log_lines.MEANINGS:
        assert table.count(f"     - ``{text}``") == 1
    levels = [line[7:] for line in table if line.startswith("   * - ")][1:]
    assert levels == sorted(levels, key=["ERROR", "WARNING", "INFO"].index)


@pytest.mark.parametrize(
    "source",
    [
        "LOG.info(text)",
        "LOG.info(f'{text}')",
        "LOG.log(level, 'text')",
        "say = LOG.info",
        "say(LOG)",
        "other.LOG.info('text')",
        "logging.getLogger(__name__).info('text')",
        "OURS = logging.getLogger(__name__)",
    ],
)
def test_no_line_is_said_behind_the_tables_back(
    extension: types.ModuleType, source: str
) -> None:
    with pytest.raises(ValueError, match="line 1"):
        extension.of_source(source)


def test_nothing_that_runs_knows_the_table() -> None:
    found = subprocess.run(
        ["grep", "-rl", "--include=*.py", "log_lines", "mig_placement"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not found.stdout
