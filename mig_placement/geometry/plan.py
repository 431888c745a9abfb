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
"""From the node that is to the layout: ordered steps per GPU; pure."""

import collections.abc
import dataclasses

from mig_placement.geometry import layout
from mig_placement.geometry import target
from mig_placement.hardware import model


@dataclasses.dataclass(frozen=True, slots=True)
class SetMode:
    """Switch MIG mode; on Ampere it then waits for a reset."""

    enable: bool

    def __str__(self) -> str:
        return f"switch MIG mode {'on' if self.enable else 'off'}"


@dataclasses.dataclass(frozen=True, slots=True)
class DestroyComputeInstance:
    gi_id: int
    ci: model.ComputeInstance

    def __str__(self) -> str:
        return (
            f"destroy compute instance {self.ci.ci_id} ({self.ci.profile})"
            f" of GPU instance {self.gi_id}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class DestroyGpuInstance:
    gi_id: int
    slot: target.Located

    def __str__(self) -> str:
        return (
            f"destroy GPU instance {self.gi_id}"
            f" ({self.slot.profile} at {self.slot.placement})"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class CreateGpuInstance:
    slot: target.Located

    def __str__(self) -> str:
        return (
            f"create GPU instance {self.slot.profile} at {self.slot.placement}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class CreateComputeInstance:
    """In the GPU instance at ``slot``, which may be one just created."""

    slot: target.Located
    profile: str

    def __str__(self) -> str:
        return (
            f"create compute instance {self.profile}"
            f" in {self.slot.profile} at {self.slot.placement}"
        )


Step = (
    SetMode
    | DestroyComputeInstance
    | DestroyGpuInstance
    | CreateGpuInstance
    | CreateComputeInstance
)


@dataclasses.dataclass(frozen=True, slots=True)
class InUse:
    """An instance that must not be destroyed, and why (for people)."""

    gpu_index: int
    slot: target.Located
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class GpuPlan:
    """What is to be done on one GPU.

    :ivar steps: in their order; empty where nothing is to be done.
    :ivar after: the instances at the end.
    :ivar disturbed: instances in use that the operator let be destroyed.
    :ivar waiting: instances in use that something declared waits for.
    :ivar missing: declared profiles that cannot be had until then.
    """

    gpu: model.Gpu
    steps: tuple[Step, ...] = ()
    after: tuple[target.Located, ...] = ()
    disturbed: tuple[InUse, ...] = ()
    waiting: tuple[InUse, ...] = ()
    missing: tuple[str, ...] = ()


def plan(
    node: model.Node,
    wanted: layout.NodeLayout,
    in_use: collections.abc.Collection[InUse] = (),
    allowed: collections.abc.Container[tuple[int, target.Located]] = (),
) -> tuple[GpuPlan, ...]:
    """Plans of the GPUs that the layout names and that answer.

    :param in_use: instances with processes, vGPUs or allocations on them.
    :param allowed: (GPU index, slot) of those that may go nevertheless.
    """
    return tuple(
        _Gpu(
            gpu,
            [each for each in in_use if each.gpu_index == gpu.index],
            allowed,
        ).planned(wanted.gpus[gpu.index])
        for gpu in node.gpus
        if gpu.index in wanted.gpus and not gpu.fault and gpu.mig_capable
    )


class _Gpu:
    """Plans one GPU."""

    def __init__(
        self,
        gpu: model.Gpu,
        in_use: list[InUse],
        allowed: collections.abc.Container[tuple[int, target.Located]],
    ) -> None:
        self._gpu = gpu
        self._existing = {target.located(each): each for each in gpu.instances}
        # What was in use and is gone needs no care any more.
        self._in_use = [each for each in in_use if each.slot in self._existing]
        self._pinned = frozenset(
            each.slot
            for each in self._in_use
            if (gpu.index, each.slot) not in allowed
        )

    def planned(self, wanted: layout.GpuLayout) -> GpuPlan:
        aim = target.find(
            self._gpu,
            wanted.instances if wanted.mig_enabled else (),
            self._pinned,
            frozenset(each.slot for each in self._in_use),
        )
        enable = wanted.mig_enabled
        return GpuPlan(
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

    def _mode(self, enable: bool) -> collections.abc.Iterator[SetMode]:
        """What must stay keeps MIG mode on."""
        if enable != self._gpu.mig_pending and (enable or not self._pinned):
            yield SetMode(enable)

    def _destroyed(self, aim: target.Target) -> collections.abc.Iterator[Step]:
        for slot, instance in self._existing.items():
            if slot not in aim.instances:
                for ci in instance.compute_instances:
                    yield DestroyComputeInstance(instance.gi_id, ci)
                yield DestroyGpuInstance(instance.gi_id, slot)

    def _created(self, aim: target.Target) -> collections.abc.Iterator[Step]:
        for slot in sorted(aim.instances, key=_start):
            if slot in self._existing:
                yield from self._reshaped(slot, aim)
            else:
                yield CreateGpuInstance(slot)
                for profile in aim.shapes[slot] or ():
                    yield CreateComputeInstance(slot, profile)

    def _reshaped(
        self, slot: target.Located, aim: target.Target
    ) -> collections.abc.Iterator[Step]:
        change = self._change(slot, aim)
        for ci in change.destroy:
            yield DestroyComputeInstance(self._existing[slot].gi_id, ci)
        for profile in change.create:
            yield CreateComputeInstance(slot, profile)

    def _change(
        self, slot: target.Located, aim: target.Target
    ) -> target.CiChange:
        return target.ci_change(
            self._existing[slot], aim.shapes.get(slot), slot in self._pinned
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
