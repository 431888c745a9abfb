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

"""NVML's C structures as bytes, in the layouts that pynvml declares."""

import dataclasses
import functools
import struct

from mig_placement.simulator import catalog
from mig_placement.simulator import rules

# The members of the structures, in nvml.h's order; "@" aligns as C does.
PLACEMENT = struct.Struct("@II")
PROFILE_V1 = struct.Struct("@10IQ")
PROFILE_V2 = struct.Struct("@11IQ96s")
GI_INFO = struct.Struct("@Q4I")
CI_PROFILE_V1 = struct.Struct("@9I")
CI_PROFILE_V2 = struct.Struct("@10I96s")
CI_INFO = struct.Struct("@QQ4I")
ATTRIBUTES = struct.Struct("@8IQ")
EVENT = struct.Struct("@QQQII")
MEMORY_V1 = struct.Struct("@3Q")
MEMORY_V2 = struct.Struct("@I4Q")
PCI_INFO = struct.Struct("@16s5I32s")
PROCESS = struct.Struct("@IQII")
HANDLE = struct.Struct("@Q")


def _versioned(layout: struct.Struct, version: int) -> int:
    """NVML_STRUCT_VERSION of nvml.h."""
    return layout.size | version << 24


VERSION_OF_PROFILE_V2 = _versioned(PROFILE_V2, 2)
VERSION_OF_CI_PROFILE_V2 = _versioned(CI_PROFILE_V2, 2)
VERSION_OF_MEMORY_V2 = _versioned(MEMORY_V2, 2)


@dataclasses.dataclass(frozen=True, slots=True)
class PackedCiProfile:
    """A compute instance profile and the answers about it."""

    profile: rules.ComputeProfile
    info_v1: bytes
    info_v2: bytes
    placements: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class PackedProfile:
    """A GPU instance profile and the answers about it.

    :ivar compute: the compute instance profiles by id, which is their
        enumerator as well.
    """

    profile: catalog.Profile
    info_v1: bytes
    info_v2: bytes
    placements: bytes
    compute: dict[int, PackedCiProfile]


@dataclasses.dataclass(frozen=True, slots=True)
class PackedModel:
    """What NVML answers for every GPU of a model."""

    model: catalog.Model
    by_enum: dict[int, PackedProfile]
    by_id: dict[int, PackedProfile]


@functools.cache
def packed_model(model: catalog.Model) -> PackedModel:
    """The answers about a model's profiles, packed once a process."""
    profiles = [_profile(model, profile) for profile in model.profiles]
    return PackedModel(
        model,
        {item.profile.enum: item for item in profiles},
        {item.profile.profile_id: item for item in profiles},
    )


def _profile(model: catalog.Model, profile: catalog.Profile) -> PackedProfile:
    numbers = (
        profile.profile_id,
        0,  # isP2pSupported
        profile.compute_slices,
        profile.max_instances,
        profile.multiprocessors,
        profile.copy_engines,
        *profile.media_engines,
        profile.memory_mib,
    )
    return PackedProfile(
        profile,
        PROFILE_V1.pack(*numbers),
        PROFILE_V2.pack(VERSION_OF_PROFILE_V2, *numbers, _mig(profile.name)),
        b"".join(PLACEMENT.pack(*item) for item in profile.placements),
        {
            item.profile_id: _compute(profile, item)
            for item in rules.compute_profiles(model, profile)
        },
    )


def _compute(
    profile: catalog.Profile, compute: rules.ComputeProfile
) -> PackedCiProfile:
    numbers = (
        compute.profile_id,
        compute.slices,
        len(compute.starts),
        compute.multiprocessors,
        profile.copy_engines,
        *profile.media_engines,
    )
    return PackedCiProfile(
        compute,
        CI_PROFILE_V1.pack(*numbers),
        CI_PROFILE_V2.pack(
            VERSION_OF_CI_PROFILE_V2, *numbers, _mig(compute.name)
        ),
        b"".join(
            PLACEMENT.pack(start, compute.slices) for start in compute.starts
        ),
    )


def _mig(name: str) -> bytes:
    return f"MIG {name}".encode()


def pci_info(model: catalog.Model, address: str) -> bytes:
    """nvmlPciInfo_t of a GPU at ``00000000:41:00.0``."""
    domain, bus, rest = address.split(":")
    return PCI_INFO.pack(
        address[4:].encode(),
        int(domain, 16),
        int(bus, 16),
        int(rest.partition(".")[0], 16),
        model.pci_device_id,
        model.pci_subsystem_id,
        address.encode(),
    )
