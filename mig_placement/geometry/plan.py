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
        self._in_use = in_use
        self._pinned = frozenset(
            each.slot
            for each in in_use
            if (gpu.index, each.slot) not in allowed
        )

    def planned(self, wanted: layout.GpuLayout) -> GpuPlan:
        declared = wanted.instances if wanted.mig_enabled else ()
        aim = target.find(
            self._gpu,
            declared,
            self._pinned,
            frozenset(each.slot for each in self._in_use),
        )
        shapes = _shapes(self._gpu, declared, aim)
        steps = (
            *self._mode(wanted.mig_enabled, first=True),
            *self._destroyed(aim.instances),
            *self._mode(wanted.mig_enabled, first=False),
            *self._created(aim.instances, shapes),
        )
        return GpuPlan(
            gpu=self._gpu,
            steps=steps,
            after=tuple(sorted(aim.instances, key=_start)),
            disturbed=tuple(
                each for each in self._in_use if each.slot not in aim.instances
            ),
            waiting=self._waiting(aim, shapes, wanted),
            missing=aim.missing,
        )

    def _mode(self, enable: bool, *, first: bool) -> tuple[SetMode, ...]:
        """On before anything is created, off after all is destroyed."""
        pending = self._gpu.mig_pending
        if pending == enable or enable is not first:
            return ()
        if not enable and self._pinned:
            return ()
        return (SetMode(enable),)

    def _destroyed(
        self, slots: frozenset[target.Located]
    ) -> collections.abc.Iterator[Step]:
        for instance in self._gpu.instances:
            if target.located(instance) not in slots:
                for ci in instance.compute_instances:
                    yield DestroyComputeInstance(instance.gi_id, ci)
                yield DestroyGpuInstance(
                    instance.gi_id, target.located(instance)
                )

    def _created(
        self,
        slots: frozenset[target.Located],
        shapes: collections.abc.Mapping[
            target.Located, tuple[str, ...] | None
        ],
    ) -> collections.abc.Iterator[Step]:
        existing = {target.located(each): each for each in self._gpu.instances}
        for slot in sorted(slots, key=_start):
            shape = shapes.get(slot)
            if slot not in existing:
                yield CreateGpuInstance(slot)
                for profile in shape or ():
                    yield CreateComputeInstance(slot, profile)
            elif shape is not None and slot not in self._pinned:
                yield from _reshaped(existing[slot], shape)

    def _waiting(
        self,
        aim: target.Target,
        shapes: collections.abc.Mapping[
            target.Located, tuple[str, ...] | None
        ],
        wanted: layout.GpuLayout,
    ) -> tuple[InUse, ...]:
        """Pinned instances that the layout does not have so."""
        existing = {target.located(each): each for each in self._gpu.instances}
        return tuple(
            each
            for each in self._in_use
            if each.slot in self._pinned
            and each.slot in existing
            and (
                not wanted.mig_enabled
                or each.slot not in shapes
                or not _has_shape(existing[each.slot], shapes[each.slot])
            )
        )


def _start(slot: target.Located) -> tuple[model.Placement, str]:
    return slot.placement, slot.profile


def _has_shape(
    instance: model.GpuInstance, shape: tuple[str, ...] | None
) -> bool:
    have = sorted(each.profile for each in instance.compute_instances)
    return shape is None or have == sorted(shape)


def _reshaped(
    instance: model.GpuInstance, shape: tuple[str, ...]
) -> collections.abc.Iterator[Step]:
    """Compute instances that are too many go, those missing come."""
    missing = list(shape)
    for ci in instance.compute_instances:
        if ci.profile in missing:
            missing.remove(ci.profile)
        else:
            yield DestroyComputeInstance(instance.gi_id, ci)
    for profile in missing:
        yield CreateComputeInstance(target.located(instance), profile)


def _shapes(
    gpu: model.Gpu,
    declared: collections.abc.Iterable[layout.DeclaredInstance],
    aim: target.Target,
) -> dict[target.Located, tuple[str, ...] | None]:
    """Compute instances by slot, for the slots that are declared.

    A slot that has the compute instances already keeps them; what is
    declared at a placement is at that placement.
    """
    existing = {target.located(each): each for each in gpu.instances}
    shapes: dict[target.Located, tuple[str, ...] | None] = {}
    floating: list[layout.DeclaredInstance] = []
    for each in declared:
        if each.placement is None:
            floating.append(each)
        else:
            slot = target.Located(each.profile, each.placement)
            shapes[slot] = each.compute_instances
    open_slots = [s for s in sorted(aim.instances) if s not in shapes]
    for matching in (True, False):
        for each in list(floating):
            slot_or_none = next(
                (
                    slot
                    for slot in open_slots
                    if slot.profile == each.profile
                    and (
                        not matching
                        or (
                            slot in existing
                            and _has_shape(
                                existing[slot], each.compute_instances
                            )
                        )
                    )
                ),
                None,
            )
            if slot_or_none is not None:
                shapes[slot_or_none] = each.compute_instances
                open_slots.remove(slot_or_none)
                floating.remove(each)
    return {
        slot: shape for slot, shape in shapes.items() if slot in aim.instances
    }
