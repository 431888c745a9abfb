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
"""What the agent will do next, in one plain sentence; pure."""

import collections.abc
import dataclasses

from mig_placement.geometry import gpu_plan
from mig_placement.geometry import steps
from mig_placement.geometry import verdict as verdicts
from mig_placement.placement import desired

_Reason = verdicts.Reason

# What a finding about the whole node leaves to be done.
_OF_NODE = {
    _Reason.HOLD: (
        "nothing: held by an operator, until 'mig-placement release'"
    ),
    _Reason.RESTORING: "wait: another process changes the geometry",
    _Reason.LAYOUT_INVALID: "wait: the layout must be mended",
    _Reason.CONFIG_INVALID: "wait: the configuration must be mended",
    _Reason.GPU_LOST: "wait: a declared GPU has vanished",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Outlook:
    """What stands between the node and its layout.

    :ivar apply: [layout] apply.
    :ivar dead_end: the last try failed and nothing has changed since.
    :ivar pause: seconds until a restore may be tried again.
    """

    apply: str = "none"
    plans: tuple[gpu_plan.GpuPlan, ...] = ()
    dead_end: bool = False
    pause: float = 0.0


def sentence(
    seen: desired.Picture, outlook: Outlook, failed: str, seconds: float
) -> str:
    """What comes next.

    :param failed: who did not answer in the last pass, if anybody.
    :param seconds: until the next pass.
    """
    if failed:
        return f"retry {failed} in {_whole(seconds)} s"
    for finding in seen.verdict.findings:
        again = f"retry NVML in {_whole(seconds)} s"
        return _OF_NODE.get(finding.reason, again)
    if seen.verdict.matches and seen.against:
        return (
            f"wait: an operator has to mend what closes {_gpus(seen.against)}"
        )
    if seen.verdict.matches:
        return f"nothing to do; look again in {_whole(seconds)} s"
    return _mismatch(seen, outlook)


def _mismatch(seen: desired.Picture, outlook: Outlook) -> str:
    amiss = _gpus(
        each.index
        for each in seen.verdict.gpus
        if each.declared and each.findings
    )
    if outlook.apply == "none":
        return f"wait: [layout] apply is none, another tool restores {amiss}"
    if any(_is_due(each, outlook) for each in outlook.plans):
        return _restore(outlook)
    blocked = [each.gpu.index for each in outlook.plans if each.blocked]
    if blocked:
        return f"wait: an operator has to prepare {_gpus(blocked)}"
    in_use = [each.gpu.index for each in outlook.plans if each.waiting]
    if in_use:
        return f"wait: instances in use on {_gpus(in_use)}"
    return f"wait: no restore mends {amiss}"


def _is_due(one: gpu_plan.GpuPlan, outlook: Outlook) -> bool:
    return one.is_due(by_command=outlook.apply == "command")


def _restore(outlook: Outlook) -> str:
    todo = [each for each in outlook.plans if _is_due(each, outlook)]
    if outlook.dead_end:
        return (
            f"nothing: the restore of {_gpus(e.gpu.index for e in todo)}"
            " failed; it is tried again when anything changes"
        )
    when = f" in {_whole(outlook.pause)} s" if outlook.pause > 0 else ""
    if outlook.apply == "command":
        return f"run apply_command{when}"
    return f"{' and '.join(map(_work, todo))}{when}"


def _work(one: gpu_plan.GpuPlan) -> str:
    count = sum(isinstance(e, steps.CreateGpuInstance) for e in one.steps)
    if not count:
        return f"change GPU {one.gpu.index}"
    plural = "" if count == 1 else "s"
    return f"restore {count} instance{plural} on GPU {one.gpu.index}"


def _gpus(indices: collections.abc.Iterable[int]) -> str:
    """``GPU 0``, or ``GPUs 0, 1``."""
    numbers = [str(index) for index in sorted(set(indices))]
    word = "GPU" if len(numbers) == 1 else "GPUs"
    return f"{word} {', '.join(numbers)}"


def _whole(seconds: float) -> int:
    """At least 1: what is due at once has begun when this is read."""
    return max(1, round(seconds))
