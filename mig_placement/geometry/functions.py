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
"""Which virtual function is to carry which vGPU type; pure."""

import collections
import collections.abc
import dataclasses

from mig_placement import exception
from mig_placement.geometry import layout as layouts
from mig_placement.hardware import model

Overrides = collections.abc.Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What one virtual function is for.

    :ivar profile: of the GPU instance that its vGPU is to have.
    """

    pci_address: str
    profile: str
    vgpu_type: model.VgpuType


def wanted(
    gpu: model.Gpu, declared: layouts.GpuLayout, overrides: Overrides
) -> tuple[Wanted, ...]:
    """The functions that a GPU's layout needs: as many as GPU instances.

    Always the lowest ones, profile by profile in the order of their names,
    so that nova.conf stays right over reboots.

    :param overrides: vGPU type names by profile.
    :raises LayoutError: a profile has no vGPU type, or there are more
        instances than functions.
    """
    counts = collections.Counter(each.profile for each in declared.instances)
    if not counts:
        return ()
    profiles = sorted(counts.elements())
    if gpu.sriov is None or gpu.sriov.total < len(profiles):
        total = gpu.sriov.total if gpu.sriov else 0
        raise exception.LayoutError(
            f"{len(profiles)} instances need as many virtual functions, and"
            f" it has {total}",
            where=str(gpu),
            mend="switch SR-IOV on in the firmware, or set [nova] attach"
            " = none",
        )
    types = {each: vgpu_type(gpu, each, overrides) for each in counts}
    return tuple(
        Wanted(_address(gpu.pci_address, gpu.sriov, index), name, types[name])
        for index, name in enumerate(profiles)
    )


def _address(pci_address: str, sriov: model.Sriov, index: int) -> str:
    if index < len(sriov.functions):
        return sriov.functions[index].pci_address
    distance = sriov.offset + index * sriov.stride
    return model.function_address(pci_address, distance)


def vgpu_type(
    gpu: model.Gpu, profile: str, overrides: Overrides
) -> model.VgpuType:
    """The vGPU type of a profile.

    By default one that has the GPU instance for itself: a compute type
    before others, and of those the one with the most memory.

    :raises LayoutError: there is none, or the configured one is another
        profile's.
    """
    of_profile = [each for each in gpu.vgpu_types if each.profile == profile]
    name = overrides.get(profile)
    if name is not None:
        of_profile = [each for each in of_profile if each.name == name]
        if not of_profile:
            raise _no_such_type(gpu, profile, name)
    if not of_profile:
        raise exception.LayoutError(
            f"the driver has no vGPU type for {profile}",
            where=str(gpu),
            mend="install NVIDIA's vGPU host driver, or set [nova] attach"
            " = none",
        )
    return min(of_profile, key=_preference)


def _preference(each: model.VgpuType) -> tuple[bool, bool, int, str]:
    return (
        each.max_per_instance != 1,
        not each.name.endswith("C"),
        -each.framebuffer_mib,
        each.name,
    )


def _no_such_type(
    gpu: model.Gpu, profile: str, name: str
) -> exception.LayoutError:
    names = sorted(e.name for e in gpu.vgpu_types if e.profile == profile)
    other = [e.profile for e in gpu.vgpu_types if e.name == name]
    why = f"needs {other[0]}" if other else "is none of the driver's"
    return exception.LayoutError(
        f"vGPU type {name} for {profile} {why} on {gpu}",
        where="[nova] vgpu_types",
        mend=f"use one of {', '.join(names)}" if names else "take it out",
    )
