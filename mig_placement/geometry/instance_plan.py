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
"""Plans one GPU's mode and instances around what must stay; pure."""

import collections.abc

from mig_placement.geometry import gpu_plan
from mig_placement.geometry import layout
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.hardware import model


class Planner:
    """
    :param in_use: its instances that are in use.
    :param pinned: those of them that must stay.
    :param guests: those of the pinned that VMs have, or may start on.
    """

    def __init__(
        self,
        gpu: model.Gpu,
        in_use: collections.abc.Collection[gpu_plan.InUse] = (),
        pinned: frozenset[target.Located] = frozenset(),
        guests: frozenset[target.Located] = frozenset(),
    ) -> None:
        self._gpu = gpu
        self._existing = {target.located(each): each for each in gpu.instances}
        self._in_use = in_use
        self._pinned = pinned
        self._guests = guests

    def planned(self, wanted: layout.GpuLayout) -> gpu_plan.GpuPlan:
        """The plan to the mode and the instances of a layout."""
        blocked = "" if wanted.mig_enabled else self._keeps_mode_on()
        return self.blocked(blocked) if blocked else self._changed(wanted)

    def blocked(self, why: str = "") -> gpu_plan.GpuPlan:
        """The plan that does nothing, and waits for what must stay.

        :param why: what the operator has to do first.
        """
        return gpu_plan.GpuPlan(
            self._gpu,
            after=tuple(sorted(self._existing, key=_start)),
            waiting=tuple(e for e in self._in_use if e.slot in self._pinned),
            blocked=why,
        )

    def _changed(self, wanted: layout.GpuLayout) -> gpu_plan.GpuPlan:
        aim = target.find(
            self._gpu,
            wanted.instances if wanted.mig_enabled else (),
            self._pinned,
            frozenset(each.slot for each in self._in_use),
            self._guests,
        )
        enable = wanted.mig_enabled
        return gpu_plan.GpuPlan(
            gpu=self._gpu,
            steps=(
                *(self._mode(enable) if enable else ()),
                *self._destroyed(aim),
                *(self._mode(enable) if not enable else ()),
                *self._created(aim),
            ),
            after=tuple(sorted(aim.instances, key=_start)),
            disturbed=tuple(
                each for each in self._in_use if self._loses(each.slot, aim)
            ),
            waiting=tuple(
                each for each in self._in_use if self._waits(each.slot, aim)
            ),
            missing=aim.missing,
        )

    def _keeps_mode_on(self) -> str:
        """What must go before MIG mode can: the driver refuses to switch it
        off ("in use by another client") while there are functions."""
        gpu = self._gpu
        if not (gpu.mig_mode or gpu.mig_pending):
            return ""
        if gpu.sriov is None or not gpu.sriov.functions:
            return ""
        return (
            "waiting for SR-IOV to be switched off before MIG mode can be: end"
            f" its VMs and run sriov-manage -d {gpu.pci_address}"
        )

    def _mode(self, enable: bool) -> collections.abc.Iterator[steps.SetMode]:
        """What must stay keeps MIG mode on.

        A mode that is pending is set again: what it waits for, a reset,
        comes of that step.
        """
        gpu = self._gpu
        right = gpu.mig_mode == gpu.mig_pending == enable
        if not right and (enable or not self._pinned):
            yield steps.SetMode(enable)

    def _destroyed(
        self, aim: target.Target
    ) -> collections.abc.Iterator[steps.Step]:
        for slot, instance in self._existing.items():
            if slot not in aim.instances:
                for ci in instance.compute_instances:
                    yield steps.DestroyComputeInstance(instance.gi_id, ci)
                yield steps.DestroyGpuInstance(instance.gi_id, slot)

    def _created(
        self, aim: target.Target
    ) -> collections.abc.Iterator[steps.Step]:
        for slot in sorted(aim.instances, key=_start):
            if slot in self._existing:
                yield from self._reshaped(slot, aim)
            else:
                yield steps.CreateGpuInstance(slot)
                for profile in aim.shapes[slot] or ():
                    yield steps.CreateComputeInstance(slot, profile)

    def _reshaped(
        self, slot: target.Located, aim: target.Target
    ) -> collections.abc.Iterator[steps.Step]:
        change = self._change(slot, aim)
        for ci in change.destroy:
            yield steps.DestroyComputeInstance(self._existing[slot].gi_id, ci)
        for profile in change.create:
            yield steps.CreateComputeInstance(slot, profile)

    def _change(
        self, slot: target.Located, aim: target.Target
    ) -> target.CiChange:
        return target.ci_change(
            self._existing[slot],
            aim.shapes.get(slot),
            slot in self._pinned,
            slot in self._guests,
        )

    def _loses(self, slot: target.Located, aim: target.Target) -> bool:
        """Whether it goes, or a compute instance of it does."""
        if slot not in aim.instances:
            return True
        return bool(self._change(slot, aim).destroy)

    def _waits(self, slot: target.Located, aim: target.Target) -> bool:
        """Whether it must stay and the layout does not have it so."""
        if slot not in self._pinned:
            return False
        return slot not in aim.shapes or self._change(slot, aim).waits


def _start(slot: target.Located) -> tuple[model.Placement, str]:
    return slot.placement, slot.profile
