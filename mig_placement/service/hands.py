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
"""The steps of a plan on the real hardware, through NVML."""

import collections.abc
import functools

from mig_placement import exception
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.hardware import errors
from mig_placement.hardware import model
from mig_placement.hardware import mutate
from mig_placement.hardware import observe
from mig_placement.hardware import sysfs
from mig_placement.hardware import usage

# Units allocated in Placement: (GPU index, profile) to (units, class).
Allocated = collections.abc.Mapping[tuple[int, str], tuple[int, str]]

# Addresses in one line.
_SHOWN = 3


def in_use(
    node: model.Node, allocated: Allocated
) -> tuple[gpu_plan.InUse, ...]:
    """Instances with processes or vGPUs, or that allocations or mdevs have.

    Placement knows how many units of a class are allocated, not which
    instances: while some are not accounted for, any of that profile may be
    the one. So it is with mdevs that no VM has.

    :raises HardwareError: NVML does not answer.
    """
    seen = usage.read(node)
    return tuple(
        gpu_plan.InUse(
            gpu.index,
            target.located(instance),
            why,
            vm=_use(gpu, instance, seen).vgpus > 0,
        )
        for gpu in node.gpus
        for instance in gpu.instances
        if (why := _why(gpu, instance, seen, allocated))
    )


def _why(
    gpu: model.Gpu,
    instance: model.GpuInstance,
    seen: usage.Usage,
    allocated: Allocated,
) -> str:
    known = str(_use(gpu, instance, seen))
    if known:
        return known
    for profile in {instance.profile, *_ci_profiles(instance)}:
        units, name = allocated.get((gpu.index, profile), (0, ""))
        if units > _accounted_for(gpu, profile, seen):
            return f"{units} units of {name} are allocated on this GPU"
    return _mdev_of(gpu, instance.profile, seen)


def _mdev_of(gpu: model.Gpu, profile: str, seen: usage.Usage) -> str:
    """The driver lets no instance go that an mdev has, nor says which."""
    types = {e.type_id for e in gpu.vgpu_types if e.profile == profile}
    there = [
        each.pci_address
        for each in (gpu.sriov.functions if gpu.sriov else ())
        if each.mdev_type in types
    ]
    if len(there) <= _accounted_for(gpu, profile, seen):
        return ""
    any_of = "one of " if len(there) > 1 else ""
    more = ", ..." if len(there) > _SHOWN else ""
    return (
        f"an mdev on {any_of}{', '.join(there[:_SHOWN])}{more} has no VM and"
        " holds one; remove it"
    )


def _use(
    gpu: model.Gpu, instance: model.GpuInstance, seen: usage.Usage
) -> usage.Use:
    return seen.get((gpu.index, instance.gi_id), usage.Use())


def _ci_profiles(instance: model.GpuInstance) -> set[str]:
    return {each.profile for each in instance.compute_instances}


def _accounted_for(gpu: model.Gpu, profile: str, seen: usage.Usage) -> int:
    """Allocations whose instance is known. A vGPU is a VM's; a process on
    the host proves nothing of an allocation."""
    return sum(
        _use(gpu, each, seen).vgpus
        for each in gpu.instances
        if profile in {each.profile, *_ci_profiles(each)}
    )


class NvmlHands:
    """geometry.apply's hands, inside an open NVML session.

    :param allocated: what Placement says is allocated.
    :param allowed: (GPU index, instance) that may be destroyed in use.
    :param functions: the virtual functions, where they matter.
    """

    def __init__(
        self,
        allocated: Allocated,
        allowed: collections.abc.Container[tuple[int, target.Located]] = (),
        functions: sysfs.Sysfs | None = None,
    ) -> None:
        self._allocated = allocated
        self._allowed = allowed
        self._functions = functions
        self._walks: dict[int, observe.Walk] = {}
        self._profiles: dict[int, tuple[model.Profile, ...]] = {}
        self._made: dict[tuple[int, target.Located], int] = {}

    def look(self, index: int) -> model.Gpu:
        """:raises HardwareError: the GPU does not answer."""
        # Each GPU has a walk of its own, as it has a thread of its own.
        walk = self._walks.setdefault(index, observe.Walk(self._functions))
        with errors.translated(f"GPU {index}"):
            gpu = walk.gpu(index)
        if gpu.fault:
            raise exception.HardwareError(
                gpu.fault, where=str(gpu), mend="look at dmesg"
            )
        return gpu

    def in_use(self, gpu: model.Gpu) -> tuple[gpu_plan.InUse, ...]:
        """:raises HardwareError: the GPU does not answer."""
        found = in_use(model.Node("", (gpu,)), self._allocated)
        return tuple(
            each
            for each in found
            if (each.gpu_index, each.slot) not in self._allowed
        )

    def do(self, index: int, step: steps.Step) -> bool:
        """:raises HardwareError: NVML refuses."""
        return self._do(step, index)

    @functools.singledispatchmethod
    def _do(self, step: steps.Step, index: int) -> bool:
        raise TypeError(f"{step!r} is no step")

    @_do.register
    def _(self, step: steps.SetMode, index: int) -> bool:
        return mutate.set_mode(index, step.enable)

    @_do.register
    def _(self, step: steps.DestroyComputeInstance, index: int) -> bool:
        mutate.destroy_compute_instance(index, step.gi_id, step.ci)
        return True

    @_do.register
    def _(self, step: steps.DestroyGpuInstance, index: int) -> bool:
        mutate.destroy_gpu_instance(index, step.gi_id, step.slot.placement)
        return True

    @_do.register
    def _(self, step: steps.CreateGpuInstance, index: int) -> bool:
        profile = self._profile(index, step.slot.profile)
        self._made[index, step.slot] = mutate.create_gpu_instance(
            index, profile, step.slot.placement
        )
        return True

    def _profile(self, index: int, name: str) -> model.Profile:
        if index not in self._profiles:
            self._profiles[index] = self.look(index).profiles
        for each in self._profiles[index]:
            if each.name == name:
                return each
        raise _gone(index, f"profile {name}")

    @_do.register
    def _(self, step: steps.CreateComputeInstance, index: int) -> bool:
        gi_id = self._gi_id(index, step.slot)
        mutate.create_compute_instance(index, gi_id, step.profile)
        return True

    @_do.register
    def _(self, step: steps.ClearVgpuType, index: int) -> bool:
        return self._set_type(step.pci_address, 0)

    @_do.register
    def _(self, step: steps.SetVgpuType, index: int) -> bool:
        return self._set_type(step.pci_address, step.type_id)

    def _set_type(self, pci_address: str, type_id: int) -> bool:
        if self._functions is None:
            raise TypeError("no virtual functions to give a vGPU type")
        self._functions.set_type(pci_address, type_id)
        return True

    def _gi_id(self, index: int, slot: target.Located) -> int:
        """The id of the GPU instance there; of ours, as NVML gave it."""
        made = self._made.get((index, slot))
        if made is not None:
            return made
        for each in self.look(index).instances:
            if target.located(each) == slot:
                return each.gi_id
        raise _gone(index, str(slot))


def _gone(index: int, what: str) -> exception.HardwareError:
    return exception.HardwareError(
        f"{what} has gone",
        where=f"GPU {index}",
        mend="let no other tool change GPUs meanwhile",
    )
