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
"""What is shipped beside the code is there, and as the code is now."""

import configparser
import fnmatch
import pathlib
import re
import subprocess
import sys
import types

import pytest

from mig_placement import conf
from mig_placement.conf import nova_auth
from tests.functional import snippets

_ETC = snippets.ROOT / "etc"
_COMPLETION = _ETC / "bash-completion" / "mig-placement"
_SAMPLE = _ETC / "mig-placement" / "mig-placement.conf.sample"
_AGAIN = "it is old: run tox -e genconfig"
# Their options are cliff's own, which differ from release to release.
_PLAIN = ("cmds_profiles", "cmds_status", "cmds_help")


def _options_of_the_sample() -> dict[str, set[str]]:
    """What the sample shows, set or commented out, by group."""
    found: dict[str, set[str]] = {}
    for part in re.split(r"^\[", _SAMPLE.read_text(), flags=re.M)[1:]:
        group, _, text = part.partition("]")
        found[group] = set(re.findall(r"^#?(\w+) =", text, re.M))
    return found


@pytest.mark.parametrize(
    "group", conf.GROUPS, ids=lambda module: str(module.GROUP)
)
def test_the_sample_has_every_option_of_ours(group: types.ModuleType) -> None:
    ours = {each.dest for each in group.OPTS}
    shown = _options_of_the_sample()[group.GROUP]
    # keystoneauth's are there too, and differ from release to release.
    theirs = {each.dest for each in nova_auth.options()}
    assert shown - (theirs - ours) == ours, _AGAIN


def _words(script: str) -> dict[str, set[str]]:
    """What it completes after which command, without cliff's own."""
    found = {
        name: set(words.split())
        for name, words in re.findall(r"^  (cmds\w*)='(.*)'", script, re.M)
    }
    plain = set().union(*(found[name] for name in _PLAIN))
    return {name: words - plain for name, words in found.items()}


def test_the_completion_knows_every_command_and_option() -> None:
    command = "mig_placement.cmd.tool", "complete", "--name", "mig-placement"
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert _words(_COMPLETION.read_text()) == _words(done.stdout), _AGAIN


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mig-placement re", {"release", "retire"}),
        ("mig-placement simulate re", {"reboot", "remove", "reset", "return"}),
        ("mig-placement sync --dry", {"--dry-run"}),
    ],
)
def test_bash_completes(typed: str, offered: set[str]) -> None:
    # What the package bash-completion brings, for words without colons.
    helper = """
    _get_comp_words_by_ref() {
      words=($TYPED); cur=${words[-1]}; prev=${words[-2]}
    }
    source "$1"; _mig_placement; printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", helper, "bash", str(_COMPLETION)],
        env={"TYPED": typed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert set(done.stdout.split()) == offered, done.stderr


def _shipped() -> list[str]:
    parsed = configparser.ConfigParser()
    parsed.read(snippets.ROOT / "setup.cfg")
    lines = parsed["files"]["data_files"].splitlines()
    return [line.rpartition("=")[2].strip() for line in lines]


@pytest.mark.parametrize(
    "path",
    sorted(each for each in _ETC.rglob("*") if each.is_file()),
    ids=lambda path: str(path.relative_to(_ETC)),
)
def test_each_file_of_etc_is_in_the_wheel(path: pathlib.Path) -> None:
    name = str(path.relative_to(snippets.ROOT))
    assert any(fnmatch.fnmatch(name, pattern) for pattern in _shipped())
