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
"""One walk over NVML that returns the node as frozen values."""

import contextlib
import ctypes
import dataclasses
from typing import Any

import pynvml

from mig_placement.hardware import errors
from mig_placement.hardware import model
from mig_placement.hardware import sysfs
from mig_placement.hardware import vgpu_types

# An NVML handle: a ctypes pointer that nobody looks into.
_Handle = Any

# Past the end NVML answers INVALID_ARGUMENT; this bounds a library that
# never does.
_PROFILE_ENUMS = 128
_MAX_PLACEMENTS = 1024
_MAX_TEXT = 200
# What NVML says of an instance that went since it was listed. A GPU that
# says so of all that is asked is looked at so often.
_GONE = (pynvml.NVMLError_InvalidArgument, pynvml.NVMLError_NotFound)
_LOOKS = 3

_ARCHITECTURES = {
    pynvml.NVML_DEVICE_ARCH_VOLTA: "Volta",
    pynvml.NVML_DEVICE_ARCH_TURING: "Turing",
    pynvml.NVML_DEVICE_ARCH_AMPERE: "Ampere",
    pynvml.NVML_DEVICE_ARCH_ADA: "Ada",
    pynvml.NVML_DEVICE_ARCH_HOPPER: "Hopper",
    pynvml.NVML_DEVICE_ARCH_BLACKWELL: "Blackwell",
}


@dataclasses.dataclass(slots=True)
class _Card:
    """What of a GPU cannot change while the session lasts.

    :ivar ci_profiles: (profile id, name) of the compute instances that a
        GPU instance can have, by the GPU instance's profile id; filled
        when a first one is seen, since NVML tells it of instances only.
    """

    handle: _Handle
    gpu: model.Gpu
    ci_profiles: dict[int, tuple[tuple[int, str], ...]] = dataclasses.field(
        default_factory=dict
    )


class Walk:
    """Reads the node again and again, the constant parts once.

    :param functions: where the GPUs' virtual functions are seen; None
        where nobody asks for them.
    """

    def __init__(self, functions: sysfs.Sysfs | None = None) -> None:
        self._functions = functions
        self._cards: dict[int, _Card] = {}

    def node(self) -> model.Node:
        """:raises NVMLError: NVML as a whole does not answer."""
        count = pynvml.nvmlDeviceGetCount()
        return model.Node(
            driver_version=_text(pynvml.nvmlSystemGetDriverVersion()),
            gpus=tuple(self.gpu(index) for index in range(count)),
        )

    def gpu(self, index: int) -> model.Gpu:
        """One GPU, with its fault where it does not answer."""
        try:
            return self._whole(index)
        except (pynvml.NVMLError, ValueError) as error:
            if getattr(error, "value", None) in errors.FATAL:
                raise
            return self._faulty(index, str(error))

    def _whole(self, index: int) -> model.Gpu:
        """Looks again where an instance went in the midst of a look."""
        for _ in range(_LOOKS - 1):
            with contextlib.suppress(*_GONE):
                return self._observed(self._card(index))
        return self._observed(self._card(index))

    def _faulty(self, index: int, fault: str) -> model.Gpu:
        known = self._cards.get(index)
        gpu = known.gpu if known else model.Gpu(index=index)
        return dataclasses.replace(gpu, fault=_text(fault))

    def _card(self, index: int) -> _Card:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
        card = self._cards.get(index)
        if card is None or card.gpu.uuid != uuid:
            card = _Card(handle, self._constant(handle, index, uuid))
            self._cards[index] = card
        card.handle = handle
        return card

    def _constant(self, handle: _Handle, index: int, uuid: str) -> model.Gpu:
        gpu = _constant(handle, index, uuid)
        if self._functions is None:
            return gpu
        types = vgpu_types.read(handle, gpu.profiles)
        return dataclasses.replace(gpu, vgpu_types=types)

    def _observed(self, card: _Card) -> model.Gpu:
        if not card.gpu.mig_capable:
            return card.gpu
        current, pending = pynvml.nvmlDeviceGetMigMode(card.handle)
        return dataclasses.replace(
            card.gpu,
            mig_mode=bool(current),
            mig_pending=bool(pending),
            instances=_instances(card) if current else (),
            sriov=self._functions.sriov(card.gpu.pci_address)
            if self._functions
            else None,
        )


def _text(raw: str | bytes) -> str:
    """A string of NVML's without what could harm a terminal or a log."""
    text = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
    if len(text) <= _MAX_TEXT and text.isprintable():
        return text
    return "".join(char for char in text if char.isprintable())[:_MAX_TEXT]


def _constant(handle: _Handle, index: int, uuid: str) -> model.Gpu:
    pci = pynvml.nvmlDeviceGetPciInfo(handle)
    capable = _mig_capable(handle)
    return model.Gpu(
        index=index,
        uuid=uuid,
        pci_address=model.normal_pci_address(_text(pci.busId)),
        pci_device_id=int(pci.pciDeviceId),
        pci_subsystem_id=int(pci.pciSubSystemId),
        product=_text(pynvml.nvmlDeviceGetName(handle)),
        architecture=_architecture(handle),
        compute_capability=_compute_capability(handle),
        memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total >> 20,
        mig_capable=capable,
        profiles=_profiles(handle) if capable else (),
    )


def _mig_capable(handle: _Handle) -> bool:
    try:
        pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError_NotSupported:
        return False
    return True


def _architecture(handle: _Handle) -> str:
    number = pynvml.nvmlDeviceGetArchitecture(handle)
    return _ARCHITECTURES.get(number, f"architecture {number}")


def _compute_capability(handle: _Handle) -> tuple[int, int]:
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return int(major), int(minor)


def _profiles(handle: _Handle) -> tuple[model.Profile, ...]:
    profiles = []
    for enum in range(_PROFILE_ENUMS):
        try:
            info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, enum, 2)
        except pynvml.NVMLError_NotSupported:
            continue
        except pynvml.NVMLError_InvalidArgument:
            break
        profiles.append(_profile(handle, enum, info))
    return tuple(profiles)


def _profile(handle: _Handle, enum: int, info: Any) -> model.Profile:
    return model.Profile(
        name=_profile_name(info.name),
        profile_id=int(info.id),
        enum=enum,
        slices=int(info.sliceCount),
        memory_mib=int(info.memorySizeMB),
        multiprocessors=int(info.multiprocessorCount),
        max_instances=int(info.instanceCount),
        engines=model.Engines(
            copy=int(info.copyEngineCount),
            decoders=int(info.decoderCount),
            encoders=int(info.encoderCount),
            jpeg=int(info.jpegCount),
            ofa=int(info.ofaCount),
        ),
        placements=_placements(handle, info.id),
    )


def _profile_name(raw: str | bytes) -> str:
    return _text(raw).removeprefix("MIG ")


def _placements(
    handle: _Handle, profile_id: int
) -> tuple[model.Placement, ...]:
    # The first call, without a buffer, asks for the number of placements.
    count = ctypes.c_uint(0)
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(
        handle, profile_id, None, ctypes.byref(count)
    )
    if count.value > _MAX_PLACEMENTS:
        raise ValueError(f"NVML gives {count.value} placements")
    buffer = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(
        handle, profile_id, ctypes.byref(buffer), ctypes.byref(count)
    )
    return tuple(
        model.Placement(item.start, item.size)
        for item in buffer[: count.value]
    )


def _instances(card: _Card) -> tuple[model.GpuInstance, ...]:
    """GPU instances, not MIG devices: one without a CI counts as well."""
    found = [
        (profile, gi_handle)
        for profile in card.gpu.profiles
        for gi_handle in _gi_handles(card.handle, profile)
    ]
    uuids = mig_uuids(card.handle) if found else {}
    return tuple(
        sorted(
            (_instance(card, profile, gi, uuids) for profile, gi in found),
            key=lambda instance: instance.placement,
        )
    )


def _gi_handles(handle: _Handle, profile: model.Profile) -> list[_Handle]:
    count = ctypes.c_uint(0)
    buffer = (pynvml.c_nvmlGpuInstance_t * profile.max_instances)()
    pynvml.nvmlDeviceGetGpuInstances(
        handle, profile.profile_id, buffer, ctypes.byref(count)
    )
    return list(buffer[: count.value])


def _instance(
    card: _Card,
    profile: model.Profile,
    gi: _Handle,
    uuids: dict[tuple[int, int], str],
) -> model.GpuInstance:
    info = pynvml.nvmlGpuInstanceGetInfo(gi)
    gi_id = int(info.id)
    return model.GpuInstance(
        gi_id=gi_id,
        profile=profile.name,
        placement=model.Placement(info.placement.start, info.placement.size),
        compute_instances=tuple(
            model.ComputeInstance(ci_id, name, uuids.get((gi_id, ci_id)))
            for ci_id, name in _compute_instances(card, profile, gi)
        ),
    )


def _compute_instances(
    card: _Card, profile: model.Profile, gi: _Handle
) -> list[tuple[int, str]]:
    """(CI id, profile name) of one GPU instance, by id."""
    known = card.ci_profiles.get(profile.profile_id)
    if known is None:
        known = ci_profiles(gi)
        # One that went meanwhile looks like one without profiles: what
        # raises here is looked at again, and is not remembered.
        pynvml.nvmlGpuInstanceGetInfo(gi)
        card.ci_profiles[profile.profile_id] = known
    return sorted(
        (int(pynvml.nvmlComputeInstanceGetInfo_v2(ci).id), name)
        for ci_profile_id, name in known
        for ci in _ci_handles(gi, ci_profile_id, profile.slices)
    )


def ci_profiles(gi: _Handle) -> tuple[tuple[int, str], ...]:
    profiles: dict[int, str] = {}
    for enum in range(pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            info = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(
                gi, enum, pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED, 2
            )
        except (
            pynvml.NVMLError_NotSupported,
            pynvml.NVMLError_InvalidArgument,
        ):
            continue
        # Two enumerators may stand for one profile (1 slice and its REV1).
        profiles.setdefault(int(info.id), _profile_name(info.name))
    return tuple(profiles.items())


def _ci_handles(
    gi: _Handle, ci_profile_id: int, at_most: int
) -> list[_Handle]:
    count = ctypes.c_uint(0)
    buffer = (pynvml.c_nvmlComputeInstance_t * max(at_most, 1))()
    pynvml.nvmlGpuInstanceGetComputeInstances(
        gi, ci_profile_id, buffer, ctypes.byref(count)
    )
    return list(buffer[: count.value])


def mig_uuids(handle: _Handle) -> dict[tuple[int, int], str]:
    """MIG device UUIDs by (GI id, CI id)."""
    uuids: dict[tuple[int, int], str] = {}
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except pynvml.NVMLError_NotFound:
            continue
        key = (
            int(pynvml.nvmlDeviceGetGpuInstanceId(mig)),
            int(pynvml.nvmlDeviceGetComputeInstanceId(mig)),
        )
        uuids[key] = _text(pynvml.nvmlDeviceGetUUID(mig))
    return uuids
