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
"""What may be done to a GPU, each as a value."""

import dataclasses

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
