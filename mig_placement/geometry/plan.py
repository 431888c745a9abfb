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

import collections
import collections.abc
import dataclasses

from mig_placement.geometry import functions
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


@dataclasses.dataclass(frozen=True, slots=True)
class EnableSriov:
    """Switch all virtual functions on, which takes all instances away."""

    def __str__(self) -> str:
        return "switch SR-IOV on"


@dataclasses.dataclass(frozen=True, slots=True)
class SetVgpuType:
    """Give a virtual function a vGPU, on a GPU instance of the driver's
    choice."""

    pci_address: str
    type_id: int
    name: str

    def __str__(self) -> str:
        return f"give {self.pci_address} the vGPU type {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class ClearVgpuType:
    pci_address: str

    def __str__(self) -> str:
        return f"take the vGPU from {self.pci_address}"


Step = (
    SetMode
    | DestroyComputeInstance
    | DestroyGpuInstance
    | CreateGpuInstance
    | CreateComputeInstance
    | EnableSriov
    | SetVgpuType
    | ClearVgpuType
)


@dataclasses.dataclass(frozen=True, slots=True)
class InUse:
    """An instance that must not be destroyed, and why (for people).

    :ivar vm: a VM is known to run on it.
    """

    gpu_index: int
    slot: target.Located
    why: str
    vm: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class GpuPlan:
    """What is to be done on one GPU.

    :ivar steps: in their order; empty where nothing is to be done.
    :ivar after: the instances at the end.
    :ivar disturbed: instances in use that the operator let be destroyed.
    :ivar waiting: instances in use that something declared waits for.
    :ivar missing: declared profiles that cannot be had until then.
    :ivar blocked: what the operator has to do first, where nothing is done
        until then.
    """

    gpu: model.Gpu
    steps: tuple[Step, ...] = ()
    after: tuple[target.Located, ...] = ()
    disturbed: tuple[InUse, ...] = ()
    waiting: tuple[InUse, ...] = ()
    missing: tuple[str, ...] = ()
    blocked: str = ""

    @property
    def waits(self) -> bool:
        """Whether something is left to be done later."""
        return bool(self.waiting or self.blocked)


def plan(
    node: model.Node,
    wanted: layout.NodeLayout,
    in_use: collections.abc.Collection[InUse] = (),
    allowed: collections.abc.Container[tuple[int, target.Located]] = (),
    way: functions.Way = functions.Way(),  # noqa: B008 (frozen)
) -> tuple[GpuPlan, ...]:
    """Plans of the GPUs that the layout names and that answer.

    :param in_use: instances with processes, vGPUs or allocations on them.
    :param allowed: (GPU index, slot) of those that may go nevertheless.
    :param way: how VMs get their slices, and so what functions are to be.
    :raises LayoutError: the layout cannot be attached in that way.
    """
    return tuple(
        _Gpu(
            gpu,
            [each for each in in_use if each.gpu_index == gpu.index],
            allowed,
            way,
        ).attachable(wanted.gpus[gpu.index])
        for gpu in node.gpus
        if gpu.index in wanted.gpus and not gpu.fault and gpu.mig_capable
    )


def plan_back(
    gpu: model.Gpu,
    wanted: layout.GpuLayout,
    types: collections.abc.Mapping[str, model.VgpuType],
    in_use: collections.abc.Iterable[InUse],
) -> GpuPlan:
    """The plan to what a GPU was, with the vGPUs of its functions.

    :param types: what each function had, by its address.
    :param in_use: instances that must stay.
    """
    return _Gpu(gpu, list(in_use)).typed(wanted, types)


class _Gpu:
    """Plans one GPU."""

    def __init__(
        self,
        gpu: model.Gpu,
        in_use: list[InUse],
        allowed: collections.abc.Container[tuple[int, target.Located]] = (),
        way: functions.Way = functions.Way(),  # noqa: B008 (frozen)
    ) -> None:
        self._gpu = gpu
        self._way = way
        self._existing = {target.located(each): each for each in gpu.instances}
        # What was in use and is gone needs no care any more.
        self._in_use = [each for each in in_use if each.slot in self._existing]
        self._pinned = frozenset(
            each.slot
            for each in self._in_use
            if (gpu.index, each.slot) not in allowed
        )
        # Where VMs have vGPUs, one may start on what is allocated.
        vms = way.attach is not functions.Attach.NONE
        self._guests = self._pinned.intersection(
            each.slot for each in self._in_use if vms or each.vm
        )

    def attachable(self, wanted: layout.GpuLayout) -> GpuPlan:
        """The plan with what functions need before and after it."""
        sriov = self._gpu.sriov
        needed = functions.needs_functions(wanted, self._way)
        if needed and sriov is not None and not sriov.functions:
            return self._with_sriov(wanted)
        return self.typed(wanted, self._types(wanted))

    def typed(
        self,
        wanted: layout.GpuLayout,
        types: collections.abc.Mapping[str, model.VgpuType],
    ) -> GpuPlan:
        """The plan with what brings functions to these types."""
        one = self.planned(wanted)
        return one if one.blocked else with_types(one, types, self._pinned)

    def _types(self, wanted: layout.GpuLayout) -> dict[str, model.VgpuType]:
        """What each function is to have, by its address."""
        if self._way.attach is not functions.Attach.VFIO:
            return {}
        need = functions.needed(self._gpu, wanted, self._way)
        return {each.pci_address: each.vgpu_type for each in need}

    def _with_sriov(self, wanted: layout.GpuLayout) -> GpuPlan:
        """SR-IOV before all that would not survive it."""
        emptied = self.planned(dataclasses.replace(wanted, instances=()))
        if emptied.waiting:
            return emptied
        bare = dataclasses.replace(
            self._gpu, instances=(), mig_mode=True, mig_pending=True
        )
        filled = with_types(
            _Gpu(bare, []).planned(wanted), self._types(wanted)
        )
        return dataclasses.replace(
            emptied,
            steps=(*emptied.steps, EnableSriov(), *filled.steps),
            after=filled.after,
        )

    def planned(self, wanted: layout.GpuLayout) -> GpuPlan:
        blocked = "" if wanted.mig_enabled else self._keeps_mode_on()
        if blocked:
            there = tuple(sorted(self._existing, key=_start))
            return GpuPlan(self._gpu, after=there, blocked=blocked)
        aim = target.find(
            self._gpu,
            wanted.instances if wanted.mig_enabled else (),
            self._pinned,
            frozenset(each.slot for each in self._in_use),
            self._guests,
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

    def _mode(self, enable: bool) -> collections.abc.Iterator[SetMode]:
        """What must stay keeps MIG mode on.

        A mode that is pending is set again: what it waits for, a reset,
        comes of that step.
        """
        gpu = self._gpu
        right = gpu.mig_mode == gpu.mig_pending == enable
        if not right and (enable or not self._pinned):
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


def with_types(
    one: GpuPlan,
    types: collections.abc.Mapping[str, model.VgpuType],
    held: collections.abc.Container[target.Located] = (),
) -> GpuPlan:
    """The plan with what brings functions to their vGPU types.

    A vGPU goes before the GPU instance that carries it, and comes after.
    One of a type that needs none (time-sliced) is somebody else's.

    :param types: what each function is to have, by its address.
    :param held: GPU instances that must stay as they are.
    """
    going = [
        step.slot for step in one.steps if isinstance(step, DestroyGpuInstance)
    ]
    pinned = _Carriers(one.gpu, held)
    destroyed = _Carriers(one.gpu, going)
    kept, cleared = {}, []
    for each in _typed_functions(one.gpu):
        kind = types.get(each.pci_address)
        right = kind is not None and kind.type_id == each.current_type
        if each in pinned or (right and each not in destroyed):
            kept[each.pci_address] = each.current_type
        else:
            cleared.append(ClearVgpuType(each.pci_address))
    steps = (*cleared, *one.steps, *_typed(one, types, kept))
    return dataclasses.replace(one, steps=steps)


class _Carriers:
    """The functions whose vGPU may be on some of a GPU's instances."""

    def __init__(
        self,
        gpu: model.Gpu,
        slots: collections.abc.Container[target.Located],
    ) -> None:
        some = [
            each for each in gpu.instances if target.located(each) in slots
        ]
        self._ids = {each.gi_id for each in some}
        profiles = {each.profile for each in some}
        self._types = {
            each.type_id for each in gpu.vgpu_types if each.profile in profiles
        }

    def __contains__(self, function: model.VirtualFunction) -> bool:
        if function.gi_id is None:
            # A driver before 580 does not say which instance it is.
            return function.current_type in self._types
        return function.gi_id in self._ids


def _typed_functions(
    gpu: model.Gpu,
) -> collections.abc.Iterator[model.VirtualFunction]:
    """Functions with a vGPU that a GPU instance carries."""
    backed = {each.type_id for each in gpu.vgpu_types}
    for each in gpu.sriov.functions if gpu.sriov else ():
        if each.current_type in backed:
            yield each


def _typed(
    one: GpuPlan,
    types: collections.abc.Mapping[str, model.VgpuType],
    kept: collections.abc.Mapping[str, int],
) -> collections.abc.Iterator[SetVgpuType]:
    """Types for as many functions as there will be instances for."""
    by_id = {each.type_id: each.profile for each in one.gpu.vgpu_types}
    free = collections.Counter(slot.profile for slot in one.after)
    free.subtract(by_id.get(type_id, "") for type_id in kept.values())
    for address, kind in types.items():
        if address not in kept and free[kind.profile] > 0:
            free[kind.profile] -= 1
            yield SetVgpuType(address, kind.type_id, kind.name)


def _start(slot: target.Located) -> tuple[model.Placement, str]:
    return slot.placement, slot.profile
