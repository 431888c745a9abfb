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

"""The GPU models that can be simulated, and their MIG profiles."""

import collections.abc
import dataclasses
import functools
import json
import os
import types
from typing import Any


# Each exists once, so that identity is equality and hashing costs nothing.
@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """A GPU instance profile.

    :ivar name: without NVML's "MIG " prefix, for example ``1g.5gb+me``.
    :ivar profile_id: nvmlGpuInstanceProfileInfo.id, what nvidia-smi shows.
    :ivar enum: the argument of nvmlDeviceGetGpuInstanceProfileInfo.
    :ivar compute_slices: compute slices, the number before the ``g``.
    :ivar starts: possible starts, in the GPU's placement units.
    :ivar size: the width of a placement, in the same units.
    """

    name: str
    profile_id: int
    enum: int
    compute_slices: int
    memory_mib: int
    multiprocessors: int
    max_instances: int
    copy_engines: int
    decoders: int
    encoders: int
    jpeg: int
    ofa: int
    starts: tuple[int, ...]
    size: int

    @property
    def placements(self) -> tuple[tuple[int, int], ...]:
        """(start, size) of every possible placement."""
        return tuple((start, self.size) for start in self.starts)

    @property
    def media_engines(self) -> tuple[int, int, int, int]:
        """Decoders, encoders, JPEG and OFA engines: a GPU shares these."""
        return self.decoders, self.encoders, self.jpeg, self.ofa


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class VgpuType:
    """A vGPU type.

    :ivar name: without the prefix that the driver puts before it.
    :ivar profile: name of the GPU instance profile that it needs; None for
        a time-sliced one.
    :ivar max_per_instance: of one GPU instance.
    """

    type_id: int
    name: str
    profile: str | None
    framebuffer_mib: int
    max_per_instance: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Vgpu:
    """What a model can do under NVIDIA's vGPU host driver.

    :ivar prefix: "GRID" or "NVIDIA", before every type's name.
    :ivar functions: virtual functions, all there once SR-IOV is on.
    :ivar offset: of the first one, in PCI routing ids.
    """

    prefix: str
    functions: int
    offset: int
    types: tuple[VgpuType, ...]

    def type(self, type_id: int) -> VgpuType | None:
        return next((e for e in self.types if e.type_id == type_id), None)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A GPU model.

    :ivar key: the name by which it is simulated, for example ``H100-80GB``.
    :ivar pci_device_id: 0xDDDDVVVV as NVML has it.
    :ivar architecture: an NVML_DEVICE_ARCH number.
    :ivar placement_units: memory slices of a GPU; not 8 everywhere.
    :ivar mode_change_needs_reset: true up to Ampere, where the mode also
        survives a reboot.
    :ivar vgpu: None where nothing of it is known.
    """

    key: str
    product: str
    pci_device_id: int
    pci_subsystem_id: int
    architecture: int
    compute_capability: tuple[int, int]
    brand: int
    memory_mib: int
    compute_slices: int
    placement_units: int
    mode_change_needs_reset: bool
    profiles: tuple[Profile, ...]
    vgpu: Vgpu | None = None

    @property
    def full(self) -> Profile:
        """The profile of the whole GPU; its engines are all there are."""
        return max(self.profiles, key=lambda profile: profile.size)

    def profile(self, wanted: int | str) -> Profile | None:
        """The profile of that id or name, or None."""
        for profile in self.profiles:
            if wanted in (profile.profile_id, profile.name):
                return profile
        return None


@functools.cache
def models() -> collections.abc.Mapping[str, Model]:
    """Every model that can be simulated, by its key."""
    path = os.path.join(os.path.dirname(__file__), "models.json")
    with open(path, encoding="utf-8") as file:
        loaded = json.load(file)["models"]
    return types.MappingProxyType(
        {key: _model(key, plain) for key, plain in loaded.items()}
    )


def _model(key: str, plain: dict[str, Any]) -> Model:
    major, minor = plain.pop("compute_capability")
    return Model(
        key=key,
        pci_device_id=int(plain.pop("pci_device_id"), 16),
        pci_subsystem_id=int(plain.pop("pci_subsystem_id"), 16),
        compute_capability=(major, minor),
        profiles=tuple(_profile(item) for item in plain.pop("profiles")),
        vgpu=_vgpu(plain.pop("vgpu", None)),
        **plain,
    )


def _profile(plain: dict[str, Any]) -> Profile:
    return Profile(starts=tuple(plain.pop("starts")), **plain)


def _vgpu(plain: dict[str, Any] | None) -> Vgpu | None:
    if plain is None:
        return None
    types = tuple(VgpuType(**item) for item in plain.pop("types"))
    return Vgpu(types=types, **plain)
