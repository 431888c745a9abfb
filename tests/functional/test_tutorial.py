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
"""The tutorial does what it says, block by block."""

import pathlib
import subprocess

import pytest

from mig_placement.demo import server_process
from tests.functional import snippets

_INSTALL = "python3 -m venv"
_MARK = "--- block\n"


def _script() -> str:
    """All blocks in order, but for the installation, which is there."""
    port = server_process.ReservedPort()
    port.release()
    blocks = [
        each.replace("127.0.0.1:8778", f"127.0.0.1:{port.number}")
        for each in snippets.bash_blocks("tutorial.rst")
        if not each.startswith(_INSTALL)
    ]
    # What a broken block started ends with it.
    head = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    return head + "".join(f"echo '{_MARK.strip()}'\n{each}" for each in blocks)


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory,
) -> subprocess.CompletedProcess[str]:
    folder: pathlib.Path = tmp_path_factory.mktemp("clone")
    return snippets.run_as_a_user(_script(), folder)


@pytest.fixture(scope="module")
def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What each block printed."""
    return done.stdout.split(_MARK)[1:]


def test_every_block_succeeds(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_node_is_closed_then_open_then_closed(said: list[str]) -> None:
    told = [each.split() for each in said]
    candidates = [each[-1] for each in told if each[-1:] in (["0"], ["1"])]
    assert candidates == ["0", "1", "0"]


def test_the_reason_is_what_the_text_says(said: list[str]) -> None:
    checked = next(each for each in said if "mismatch" in each)
    assert "INSTANCE_MISSING: 3 of 3 1g.5gb missing" in checked
    assert checked.endswith("exit status 3\n")
