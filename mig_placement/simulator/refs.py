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
"""What is meant: a GPU, an instance or a profile, in any of its names."""

from mig_placement.simulator import catalog
from mig_placement.simulator import codes
from mig_placement.simulator import rules
from mig_placement.simulator import state as states

# A GPU by index, UUID or PCI address.
GpuRef = int | str
# A GPU instance by id or by (start, size).
InstanceRef = int | tuple[int, int]


def find_gpu(
    state: states.State, wanted: GpuRef, *, lost: bool = False
) -> states.Gpu:
    """The GPU that is meant; a lost one only where that is of no matter."""
    for index, gpu in enumerate(state.gpus):
        if wanted in (index, gpu.uuid, gpu.pci, gpu.pci[4:].lower()):
            if gpu.lost and not lost:
                raise codes.Refused(codes.GPU_IS_LOST)
            return gpu
    raise codes.SimulatorError(f"no GPU {wanted}")


def find_gi(gpu: states.Gpu, wanted: InstanceRef) -> states.GpuInstance:
    for gi in gpu.instances:
        placement = (gi.start, rules.profile_of(gpu, gi).size)
        if wanted in (gi.gi_id, placement):
            return gi
    raise codes.SimulatorError(f"no GPU instance {wanted} on {gpu.pci}")


def find_profile(gpu: states.Gpu, wanted: int | str) -> catalog.Profile:
    profile = gpu.kind().profile(wanted)
    if profile is None:
        known = ", ".join(item.name for item in gpu.kind().profiles)
        raise codes.SimulatorError(
            f"{gpu.model} has no profile {wanted}, it has {known}"
        )
    return profile


def find_ci(
    gpu: states.Gpu, gi: states.GpuInstance, wanted: int | str
) -> rules.ComputeProfile:
    profile = rules.profile_of(gpu, gi)
    found = rules.compute_profile(gpu.kind(), profile, wanted)
    if found is None:
        items = rules.compute_profiles(gpu.kind(), profile)
        known = ", ".join(item.name for item in items)
        raise codes.SimulatorError(
            f"{profile.name} has no compute profile {wanted}, it has {known}"
        )
    return found
