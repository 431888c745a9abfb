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
"""The MIG-backed vGPU types of a GPU, as NVML gives them."""

from typing import Any

import pynvml

from mig_placement.hardware import model

# nvmlVgpuTypeGetGpuInstanceProfileId of a type that is not MIG's.
_NO_PROFILE = 0xFFFFFFFF
_MAX_TYPES = 1024
_UNKNOWN = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
)


def read(
    handle: Any, profiles: tuple[model.Profile, ...]
) -> tuple[model.VgpuType, ...]:
    """The types that need a GPU instance; none without the host driver.

    nvmlDeviceGetSupportedVgpus is the same whatever exists, so that once
    is enough.
    """
    try:
        ids = pynvml.nvmlDeviceGetSupportedVgpus(handle)
    except _UNKNOWN:
        return ()
    by_id = {each.profile_id: each for each in profiles}
    found = (_type(int(each), by_id) for each in ids[:_MAX_TYPES])
    return tuple(each for each in found if each is not None)


def _type(
    type_id: int, profiles: dict[int, model.Profile]
) -> model.VgpuType | None:
    try:
        profile_id = pynvml.nvmlVgpuTypeGetGpuInstanceProfileId(type_id)
    except _UNKNOWN:
        return None
    profile = profiles.get(int(profile_id))
    if profile is None or profile_id == _NO_PROFILE:
        return None
    size = int(pynvml.nvmlVgpuTypeGetFramebufferSize(type_id)) >> 20
    return model.VgpuType(
        type_id=type_id,
        name=_name(type_id),
        profile=profile.name,
        max_per_instance=_max_per_instance(type_id, profile, size),
        framebuffer_mib=size,
    )


def _name(type_id: int) -> str:
    raw = pynvml.nvmlVgpuTypeGetName(type_id)
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
    plain = "".join(char for char in text if char.isprintable())[:80]
    return plain.removeprefix("GRID ").removeprefix("NVIDIA ")


def _max_per_instance(type_id: int, profile: model.Profile, size: int) -> int:
    try:
        return int(pynvml.nvmlVgpuTypeGetMaxInstancesPerGpuInstance(type_id))
    except _UNKNOWN:
        # An older driver: as many as its memory has room for.
        return max(1, profile.memory_mib // max(size, 1))
