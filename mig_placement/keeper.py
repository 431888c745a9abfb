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
"""Decides when the agent restores, and remembers what led nowhere."""

import time

from mig_placement import conf
from mig_placement import cycle
from mig_placement import exception
from mig_placement import forecast
from mig_placement import restore
from mig_placement.geometry import apply
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import layout
from mig_placement.hardware import model
from mig_placement.hardware import usage
from mig_placement.placement import desired
from mig_placement.service import measures
from mig_placement.service import nvml

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0

# All that an attempt depends on: equal means that it would end the same.
_State = tuple[object, ...]


class Keeper:
    """Keeps the layout, where [layout] apply asks for it.

    What failed is not tried again until the layout, the hardware, what is
    in use, or the operator (SIGHUP, a restart) changes something; and then
    after a pause that grows with every failure.

    """

    def __init__(
        self,
        settings: conf.Settings,
        one_pass: cycle.Cycle,
        library: nvml.Nvml,
        measured: measures.Measures | None = None,
    ) -> None:
        self._measured = measured or measures.Measures()
        self._done: tuple[str, ...] = ()
        self._waiting: tuple[str, ...] = ()
        self._apply = settings.apply
        self._cycle = one_pass
        self._nvml = library
        self._restorer = restore.Restorer(
            settings, library, one_pass, settings.classes
        )
        self._plans: tuple[gpu_plan.GpuPlan, ...] = ()
        self._dead_end: _State | None = None
        self._failures = 0
        self._not_before = 0.0

    @property
    def lines(self) -> tuple[str, ...]:
        """What was done last, and what waits for whom."""
        return self._done + self._waiting

    @property
    def outlook(self) -> forecast.Outlook:
        """What is still to be done, as of the last ``keep``."""
        return forecast.Outlook(
            self._apply,
            self._plans,
            dead_end=self._dead_end is not None,
            pause=max(0.0, self._not_before - time.monotonic()),
        )

    def expects(self, seen: desired.Picture) -> bool:
        """Whether ``keep`` is likely to change a GPU: a first guess, made
        without asking Placement, so that closing says why at once."""
        node = seen.node
        if (
            self._apply == "none"
            or node is None
            or seen.verdict.findings
            or seen.verdict.matches
            or self._waiting
            or self._dead_end is not None
            or time.monotonic() < self._not_before
        ):
            return False
        try:
            wanted = self._cycle.wanted(node)
            plans = self._restorer.plans(node, wanted, None)
        except exception.MigPlacementError:
            # A guess must not stand in the way of closing.
            return False
        return any(map(self._is_due, plans))

    def keep(self, seen: desired.Picture) -> bool:
        """Restore where that is due; whether the node was touched.

        :raises PlacementError: the gate is not known to be closed; nothing
            was changed.
        :raises MigPlacementError: NVML does not answer, or another process
            changes the geometry.
        """
        node = seen.node
        if self._apply == "none":
            return False
        if node is None or seen.verdict.findings:
            # A hold, a new driver, another layout: try again after it.
            self._dead_end = None
            return False
        if seen.verdict.matches:
            self._waiting = ()
            self._plans = ()
            self._succeeded()
            return False
        wanted = self._cycle.wanted(node)
        plans = self._restorer.plans(node, wanted, self._cycle.usages())
        self._plans = plans
        indices = frozenset(e.gpu.index for e in plans if self._is_due(e))
        self._measured.plan = _plan_lines(plans)
        self._waiting = tuple(
            line for each in plans for line in restore.waiting_lines(each)
        )
        if not indices:
            return False
        return self._attempt(
            seen, wanted, indices, _state(node, wanted, plans)
        )

    def _attempt(
        self,
        seen: desired.Picture,
        wanted: layout.NodeLayout,
        indices: frozenset[int],
        state: _State,
    ) -> bool:
        if state == self._dead_end or time.monotonic() < self._not_before:
            return False
        passes = False
        if self._apply == "command":
            self._restorer.run_command(seen)
            self._done = ("apply_command was run",)
        else:
            result = self._restorer.run(seen, wanted, indices)
            self._done = tuple(str(each) for each in result.outcomes)
            passes = self._restorer.may_pass(result)
        self._judge(wanted, passes)
        return True

    def _judge(self, wanted: layout.NodeLayout, passes: bool) -> None:
        """Believe what is observed now, and nothing else.

        :param passes: whether what failed may succeed with nothing changed.
        """
        self._pause()
        node = self._nvml.observe()
        plans = self._restorer.plans(node, wanted, self._cycle.usages())
        self._plans = plans
        lost = any(e.fault for e in node.gpus if e.index in wanted.gpus)
        succeeded = not lost and not any(map(self._is_due, plans))
        self._measured.restored(succeeded=succeeded)
        if succeeded:
            self._succeeded()
            return
        self._dead_end = None if passes else _state(node, wanted, plans)

    def _is_due(self, one: gpu_plan.GpuPlan) -> bool:
        return one.is_due(by_command=self._apply == "command")

    def _pause(self) -> None:
        """A failure, until it is known for a success."""
        self._failures += 1
        pause = _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 20)
        self._not_before = time.monotonic() + min(pause, _LONGEST_PAUSE)

    def _succeeded(self) -> None:
        self._dead_end = None
        self._failures = 0
        self._not_before = 0.0


def _plan_lines(plans: tuple[gpu_plan.GpuPlan, ...]) -> tuple[str, ...]:
    return tuple(
        line
        for each in plans
        for line in (
            *(f"GPU {each.gpu.index}: {step}" for step in each.steps),
            *restore.waiting_lines(each),
        )
    )


def _state(
    node: model.Node,
    wanted: layout.NodeLayout,
    plans: tuple[gpu_plan.GpuPlan, ...],
) -> _State:
    return (
        tuple(
            (gpu.uuid, gpu.mig_pending, apply.geometry(gpu))
            for gpu in node.gpus
        ),
        tuple(sorted(wanted.gpus.items(), key=lambda item: item[0])),
        tuple((each.waiting, each.blocked) for each in plans),
        tuple(sorted(usage.read(node).items())),
        tuple(
            usage.processes_on(gpu.index) for gpu in node.gpus if not gpu.fault
        ),
    )
