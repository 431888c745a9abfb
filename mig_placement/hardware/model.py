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

"""The node as NVML shows it: frozen values, in NVIDIA's own words."""

import dataclasses
import re

_PCI_ADDRESS = re.compile(
    r"(?:(?P<domain>[0-9a-f]{4}|[0-9a-f]{8}):)?"
    r"(?P<bus>[0-9a-f]{2}):(?P<device>[0-9a-f]{2})\.(?P<function>[0-7])"
)


def normal_pci_address(text: str) -> str:
    """The sysfs form (``0000:41:00.0``) of any tool's PCI address.

    NVML and nvidia-smi print an eight digit domain in upper case, sysfs a
    four digit one in lower case; a domain above 0xffff keeps its digits.

    :raises ValueError: the text is no PCI address.
    """
    match = _PCI_ADDRESS.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is no PCI address")
    domain = int(match["domain"] or "0", 16)
    return f"{domain:04x}:{match['bus']}:{match['device']}.{match['function']}"


def function_address(pci_address: str, distance: int) -> str:
    """The PCI address ``distance`` routing ids after another.

    A routing id is bus (8 bits), device (5), function (3), so that after
    00.7 comes 01.0.
    """
    domain, bus, rest = pci_address.split(":")
    device, function = rest.split(".")
    own = int(bus, 16) << 8 | int(device, 16) << 3 | int(function, 16)
    found = own + distance
    return f"{domain}:{found >> 8:02x}:{found >> 3 & 0x1F:02x}.{found & 0x7:x}"


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Placement:
    """Where an instance lies, in memory-slice units of its GPU."""

    start: int
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.size

    def overlaps(self, other: "Placement") -> bool:
        return self.start < other.stop and other.start < self.stop

    def __str__(self) -> str:
        return f"{self.start}:{self.size}"


@dataclasses.dataclass(frozen=True, slots=True)
class Engines:
    """Media and copy engines of a profile (counts)."""

    copy: int = 0
    decoders: int = 0
    encoders: int = 0
    jpeg: int = 0
    ofa: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """A GPU instance profile of one GPU, as NVML gives it.

    :ivar name: without NVML's "MIG " prefix, for example ``1g.5gb+me``.
    :ivar profile_id: nvmlGpuInstanceProfileInfo.id, what nvidia-smi shows.
    :ivar enum: the argument of nvmlDeviceGetGpuInstanceProfileInfo.
    :ivar slices: compute slices.
    :ivar max_instances: how many fit on an empty GPU.
    """

    name: str
    profile_id: int
    enum: int
    slices: int
    memory_mib: int
    multiprocessors: int
    max_instances: int
    engines: Engines
    placements: tuple[Placement, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ComputeInstance:
    """A compute instance (CI).

    :ivar profile: ``3g.20gb`` where it fills its GPU instance,
        ``1c.3g.20gb`` where it does not.
    :ivar mig_uuid: the MIG device's UUID; changes with every creation.
    """

    ci_id: int
    profile: str
    mig_uuid: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class GpuInstance:
    """A GPU instance (GI), with or without compute instances."""

    gi_id: int
    profile: str
    placement: Placement
    compute_instances: tuple[ComputeInstance, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class VgpuType:
    """A MIG-backed vGPU type.

    :ivar type_id: the driver's number, N of the mdev type ``nvidia-N``.
    :ivar name: without the "GRID" or "NVIDIA" before it: ``A100-1-5C``.
    :ivar profile: of the GPU instance that it needs. One profile may carry
        several types.
    :ivar max_per_instance: how many fit into one GPU instance.
    :ivar framebuffer_mib: memory of one vGPU.
    """

    type_id: int
    name: str
    profile: str
    max_per_instance: int = 1
    framebuffer_mib: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class VirtualFunction:
    """An SR-IOV virtual function (VF) of a GPU, as sysfs shows it.

    :ivar mdev_types: ids of the types that its mdev bus lists, creatable
        or not; empty without an mdev bus.
    :ivar mdev_type: the type of the mdev that it carries, 0 without one.
    :ivar is_variant: whether NVIDIA's VFIO variant driver has it.
    :ivar current_type: the vGPU type that it was given there, 0 for none.
    :ivar gi_id: the GPU instance that carries its vGPU, where known.
    """

    pci_address: str
    mdev_types: frozenset[int] = frozenset()
    mdev_type: int = 0
    is_variant: bool = False
    current_type: int = 0
    gi_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Sriov:
    """SR-IOV of a GPU.

    :ivar total: VFs that it can have (``sriov_totalvfs``).
    :ivar offset: of the first VF, in routing ids after the GPU's own;
        differs from model to model. ``stride`` is between two.
    :ivar functions: those that exist, in their order; none until SR-IOV
        is switched on.
    """

    total: int
    offset: int
    stride: int
    functions: tuple[VirtualFunction, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """One physical GPU.

    A GPU that fell off the bus keeps its index (and what an earlier
    observation knew of it) and has ``fault`` set.

    :ivar pci_address: sysfs form, empty when not known.
    :ivar pci_device_id: 0xDDDDVVVV, as mig-parted's filters have it.
    :ivar pci_subsystem_id: 0xSSSSVVVV.
    :ivar mig_mode: the current mode; ``mig_pending`` after a reset.
    :ivar vgpu_types: MIG-backed ones; empty where nobody asked.
    :ivar sriov: None where the GPU has none, or nobody asked.
    :ivar fault: why NVML cannot answer for this GPU, or None.
    """

    index: int
    uuid: str = ""
    pci_address: str = ""
    pci_device_id: int = 0
    pci_subsystem_id: int = 0
    product: str = ""
    architecture: str = ""
    compute_capability: tuple[int, int] | None = None
    memory_mib: int = 0
    mig_capable: bool = False
    mig_mode: bool = False
    mig_pending: bool = False
    profiles: tuple[Profile, ...] = ()
    instances: tuple[GpuInstance, ...] = ()
    vgpu_types: tuple[VgpuType, ...] = ()
    sriov: Sriov | None = None
    fault: str | None = None

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.pci_address or 'address unknown'})"


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """All GPUs of the host at one moment."""

    driver_version: str
    gpus: tuple[Gpu, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Ailment:
    """A GPU, or one GPU instance of it, that an XID made unfit.

    :ivar gi_id: the GPU instance's id; None is the whole GPU.
    """

    gpu_uuid: str
    xid: int
    gi_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """What NVML told a waiter.

    :ivar xid: the XID, or None for a change of the MIG configuration.
    :ivar gi_id: the GPU instance that it concerns; None is the whole GPU.
    """

    gpu_uuid: str
    xid: int | None = None
    gi_id: int | None = None
