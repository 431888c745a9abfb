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
"""What the agent says that it will do next."""

import dataclasses

import pytest

from mig_placement import forecast
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.geometry import verdict
from mig_placement.hardware import model
from tests.unit import pictures

_SLOT = target.Located("1g.5gb", model.Placement(0, 1))
_CREATE = steps.CreateGpuInstance(_SLOT)
_AMISS = pictures.picture(
    pictures.judged(0, findings=pictures.MISSING),
    pictures.judged(1, findings=pictures.MISSING),
)
_USED = gpu_plan.InUse(1, _SLOT, "a process")


def _plan(
    index: int, *steps: steps.Step, waiting: tuple[gpu_plan.InUse, ...] = ()
) -> gpu_plan.GpuPlan:
    return gpu_plan.GpuPlan(pictures.gpu(index), steps, waiting=waiting)


def _next(*plans: gpu_plan.GpuPlan, **changes: object) -> str:
    outlook = dataclasses.replace(
        forecast.Outlook("native", plans),
        **changes,  # type: ignore[arg-type]
    )
    return forecast.sentence(_AMISS, outlook, "", 60)


def test_who_did_not_answer_is_asked_again() -> None:
    for seen in (_AMISS, pictures.unseen(verdict.Reason.HOLD)):
        said = forecast.sentence(seen, forecast.Outlook(), "Placement", 3.7)
        assert said == "retry Placement in 4 s"


def test_a_node_as_declared_leaves_nothing_to_do() -> None:
    seen = pictures.picture(pictures.judged(0, {"1g.5gb": 7}))
    said = forecast.sentence(seen, forecast.Outlook("native"), "", 60)
    assert said == "nothing to do; look again in 60 s"


def test_what_vms_or_nova_have_against_a_gpu_is_an_operators_to_mend() -> None:
    finding = verdict.Finding(verdict.Reason.CONFIG_INVALID, "VMs hold 1")
    seen = dataclasses.replace(
        pictures.picture(
            pictures.judged(0, {"1g.5gb": 7}), pictures.judged(1)
        ),
        against={1: (finding,)},
    )
    said = forecast.sentence(seen, forecast.Outlook("native"), "", 60)
    assert said == "wait: an operator has to mend what closes GPU 1"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (verdict.Reason.HOLD, "nothing: held by an operator"),
        (verdict.Reason.RESTORING, "wait: another process"),
        (verdict.Reason.LAYOUT_INVALID, "wait: the layout"),
        (verdict.Reason.HARDWARE_ERROR, "retry NVML in 60 s"),
    ],
)
def test_what_concerns_the_node_comes_first(
    reason: verdict.Reason, said: str
) -> None:
    outlook = forecast.Outlook("native", (_plan(0, _CREATE),))
    seen = pictures.unseen(reason)
    assert forecast.sentence(seen, outlook, "", 60).startswith(said)


def test_a_restore_is_announced_with_its_instances() -> None:
    assert (
        _next(_plan(0, _CREATE, _CREATE), _plan(1, _CREATE))
        == "restore 2 instances on GPU 0 and restore 1 instance on GPU 1"
    )


def test_a_step_that_makes_no_instance_is_a_change() -> None:
    assert _next(_plan(0, steps.SetMode(True))) == "change GPU 0"


def test_a_pause_before_the_next_try_is_said() -> None:
    said = _next(_plan(0, _CREATE), pause=7.6)
    assert said == "restore 1 instance on GPU 0 in 8 s"


def test_a_dead_end_is_not_promised_to_be_tried() -> None:
    said = _next(_plan(0, _CREATE), dead_end=True)
    assert said.startswith("nothing: the restore of GPU 0 failed")


def test_what_an_operator_has_to_do_first_is_waited_for() -> None:
    one = dataclasses.replace(_plan(1), blocked="switch SR-IOV off")
    assert _next(one) == "wait: an operator has to prepare GPU 1"


def test_what_is_in_use_is_waited_for() -> None:
    said = _next(_plan(0), _plan(1, waiting=(_USED,)))
    assert said == "wait: instances in use on GPU 1"


def test_a_mismatch_that_no_step_mends_is_waited_out() -> None:
    assert _next(_plan(0)) == "wait: no restore mends GPUs 0, 1"


def test_an_operators_command_is_run_as_a_whole() -> None:
    said = _next(_plan(0, _CREATE), _plan(1, _CREATE), apply="command")
    assert said == "run apply_command"


def test_who_only_watches_waits_for_others() -> None:
    said = _next(_plan(0, _CREATE), apply="none")
    assert said == (
        "wait: [layout] apply is none, another tool restores GPUs 0, 1"
    )


def test_what_an_operator_has_to_prepare_a_command_may_do() -> None:
    blocked = dataclasses.replace(_plan(0), blocked="SR-IOV is on")
    assert _next(blocked) == "wait: an operator has to prepare GPU 0"
    assert _next(blocked, apply="command") == "run apply_command"
    used = dataclasses.replace(blocked, waiting=(_USED,))
    assert _next(used, apply="command").startswith("wait: an operator")
