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
"""Adds to a plan what brings functions to their vGPU types; pure."""

import collections
import collections.abc
import dataclasses

from mig_placement.geometry import gpu_plan
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.hardware import model

# By the addresses of functions.
Types = collections.abc.Mapping[str, model.VgpuType]


def with_types(
    one: gpu_plan.GpuPlan,
    types: Types | None,
    held: collections.abc.Container[target.Located] = (),
) -> gpu_plan.GpuPlan:
    """The plan with what brings functions to their vGPU types.

    A vGPU goes before the GPU instance that carries it, and comes after.
    One of a type that needs none (time-sliced) is somebody else's.

    :param types: what each function is to have, by its address; None where
        types are somebody else's: those of instances that stay, stay.
    :param held: GPU instances that must stay as they are.
    """
    going = [
        step.slot
        for step in one.steps
        if isinstance(step, steps.DestroyGpuInstance)
    ]
    pinned = _Carriers(one.gpu, held)
    destroyed = _Carriers(one.gpu, going)
    kept, cleared = {}, []
    for each in _typed_functions(one.gpu):
        right = types is None or _has(each, types)
        if each in pinned or (right and each not in destroyed):
            kept[each.pci_address] = each.current_type
        else:
            cleared.append(steps.ClearVgpuType(each.pci_address))
    given = _given(one, types or {}, kept)
    return dataclasses.replace(one, steps=(*cleared, *one.steps, *given))


def _has(function: model.VirtualFunction, types: Types) -> bool:
    kind = types.get(function.pci_address)
    return kind is not None and kind.type_id == function.current_type


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


def _given(
    one: gpu_plan.GpuPlan,
    types: Types,
    kept: collections.abc.Mapping[str, int],
) -> collections.abc.Iterator[steps.SetVgpuType]:
    """Types for as many functions as there will be instances for."""
    by_id = {each.type_id: each.profile for each in one.gpu.vgpu_types}
    free = collections.Counter(slot.profile for slot in one.after)
    free.subtract(by_id.get(type_id, "") for type_id in kept.values())
    for address, kind in types.items():
        if address not in kept and free[kind.profile] > 0:
            free[kind.profile] -= 1
            yield steps.SetVgpuType(address, kind.type_id, kind.name)
