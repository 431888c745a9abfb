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
"""Every reason tells what to do, and the page of the docs has them all."""

import pathlib
import re
import runpy

import pytest

from mig_placement import exception
from mig_placement.cmd import tool
from mig_placement.geometry import reasons
from mig_placement.geometry import verdict

_EXTENSION = pathlib.Path(__file__).parents[2] / "doc/ext/mig_reasons.py"


@pytest.mark.parametrize("reason", list(verdict.Reason))
def test_a_reason_says_what_is_seen_what_of_vms_and_the_mend(
    reason: verdict.Reason,
) -> None:
    meaning = reasons.MEANINGS[reason]
    for text in (meaning.seen, meaning.vms, meaning.mend):
        assert text.isascii()
        assert text.endswith(".")
        assert len(text) > 20
        assert not text.count("``") % 2


def test_every_command_in_a_meaning_exists() -> None:
    told = " ".join(
        text
        for each in reasons.MEANINGS.values()
        for text in (each.seen, each.vms, each.mend)
    )
    named = set(re.findall(r"``mig-placement ([a-z-]+)", told))
    assert {"release", "apply", "check", "plan"} <= named
    assert named <= set(tool._COMMANDS)


@pytest.mark.parametrize(
    "command", ["sriov-manage -e", "--gpu-reset", "nvidia-smi -i GPU -mig"]
)
def test_what_fails_beside_the_agent_is_done_during_a_hold(
    command: str,
) -> None:
    mends = [each.mend for each in reasons.MEANINGS.values()]
    named = [each for each in mends if command in each]
    assert named
    for mend in named:
        before, _, after = mend.partition(command)
        assert "``mig-placement hold " in before
        assert "``mig-placement release``" in after


def test_the_docs_have_every_reason_by_its_trait() -> None:
    pytest.importorskip("sphinx")
    told = "\n".join(runpy.run_path(str(_EXTENSION))["lines"]())
    for reason in verdict.Reason:
        assert f"``CUSTOM_MIG_BLOCKED_{reason}``" in told
        assert reasons.MEANINGS[reason].mend in told


def test_the_docs_have_every_error_with_its_exit_status() -> None:
    pytest.importorskip("sphinx")
    told = "\n".join(runpy.run_path(str(_EXTENSION))["error_lines"]())
    for name in ("LayoutError", "PlacementForbidden", "InUse"):
        status = getattr(exception, name).exit_status
        assert f"``{name}``\n     - {status}\n     - " in told
    assert not re.search(r"- $", told, re.M)
