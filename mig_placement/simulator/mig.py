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

"""Entry points that ask about MIG: mode, profiles, instances, devices."""

from typing import Any

from mig_placement.simulator import codes
from mig_placement.simulator import driver as drivers
from mig_placement.simulator import index as indexes
from mig_placement.simulator import outputs
from mig_placement.simulator import packed
from mig_placement.simulator.queries import Entry

_HANDLE_SIZE = packed.HANDLE.size
_PLACEMENT_SIZE = packed.PLACEMENT.size

# One past the last enumerator that the driver knows: 17 profiles of GPU
# instances (read with driver 580), 9 of compute instances (nvml.h).
_PROFILE_ENUMS = 17
_CI_PROFILE_ENUMS = 9


class GpuInstanceQueries:
    """MIG mode, GPU instance profiles and GPU instances."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver

    def entries(self) -> dict[str, Entry]:
        device = "nvmlDeviceGet"
        profile = "nvmlDeviceGetGpuInstanceProfileInfo"
        placements = "nvmlDeviceGetGpuInstancePossiblePlacements"
        return {
            f"{device}MigMode": self.mode,
            profile: self.profile_info,
            f"{profile}V": self.profile_info_v2,
            f"{profile}ByIdV": self.profile_info_by_id,
            placements: self.placements,
            f"{placements}_v2": self.placements,
            f"{device}GpuInstanceRemainingCapacity": self.remaining,
            f"{device}GpuInstances": self.instances,
            f"{device}GpuInstanceById": self.by_id,
            "nvmlGpuInstanceGetInfo": self.info,
        }

    def mode(self, handle: Any, current: Any, pending: Any) -> int:
        gpu = self._driver.card(handle).gpu
        outputs.put_number(current, gpu.mode)
        outputs.put_number(pending, gpu.pending)
        return codes.SUCCESS

    def profile_info(self, handle: Any, enum: Any, reference: Any) -> int:
        profile = _by_enum(self._driver.card(handle), enum)
        outputs.put(reference, profile.info_v1)
        return codes.SUCCESS

    def profile_info_v2(self, handle: Any, enum: Any, reference: Any) -> int:
        profile = _by_enum(self._driver.card(handle), enum)
        return _put_versioned(
            reference, packed.VERSION_OF_PROFILE_V2, profile.info_v2
        )

    def profile_info_by_id(
        self, handle: Any, profile_id: Any, reference: Any
    ) -> int:
        profile = _by_id(self._driver.card(handle), profile_id)
        return _put_versioned(
            reference, packed.VERSION_OF_PROFILE_V2, profile.info_v2
        )

    def placements(
        self, handle: Any, profile_id: Any, array: Any, count: Any
    ) -> int:
        profile = _by_id(self._driver.card(handle), profile_id)
        return _put_placements(array, count, profile.placements)

    def remaining(self, handle: Any, profile_id: Any, reference: Any) -> int:
        card = self._driver.card(handle)
        _by_id(card, profile_id)
        left = card.remaining[outputs.number(profile_id)]
        outputs.put_number(reference, left)
        return codes.SUCCESS

    def instances(
        self, handle: Any, profile_id: Any, array: Any, count: Any
    ) -> int:
        card = self._privileged(handle)
        handles = card.handles_by_profile.get(outputs.number(profile_id))
        if handles is None:
            return codes.INVALID_ARGUMENT
        return outputs.put_array(array, count, handles, _HANDLE_SIZE)

    def by_id(self, handle: Any, gi_id: Any, reference: Any) -> int:
        wanted = outputs.number(gi_id)
        for instance in self._privileged(handle).instances:
            if instance.gi.gi_id == wanted:
                outputs.put(reference, instance.key)
                return codes.SUCCESS
        return codes.NOT_FOUND

    def _privileged(self, handle: Any) -> indexes.Card:
        card = self._driver.card(handle)
        if not card.privileged:
            raise codes.Refused(codes.NO_PERMISSION)
        return card

    def info(self, handle: Any, reference: Any) -> int:
        outputs.put(reference, self._driver.instance(handle).info)
        return codes.SUCCESS


class ComputeInstanceQueries:
    """Compute instance profiles and compute instances."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver

    def entries(self) -> dict[str, Entry]:
        prefix = "nvmlGpuInstanceGetComputeInstance"
        return {
            f"{prefix}ProfileInfo": self.profile_info,
            f"{prefix}ProfileInfoV": self.profile_info_v2,
            f"{prefix}RemainingCapacity": self.remaining,
            f"{prefix}PossiblePlacements": self.placements,
            f"{prefix}s": self.instances,
            f"{prefix}ById": self.by_id,
            "nvmlComputeInstanceGetInfo": self.info,
            "nvmlComputeInstanceGetInfo_v2": self.info,
        }

    def profile_info(
        self, handle: Any, enum: Any, engine: Any, reference: Any
    ) -> int:
        instance = self._driver.instance(handle)
        profile = _ci_by_enum(instance, enum, engine)
        outputs.put(reference, profile.info_v1)
        return codes.SUCCESS

    def profile_info_v2(
        self, handle: Any, enum: Any, engine: Any, reference: Any
    ) -> int:
        instance = self._driver.instance(handle)
        profile = _ci_by_enum(instance, enum, engine)
        return _put_versioned(
            reference, packed.VERSION_OF_CI_PROFILE_V2, profile.info_v2
        )

    def placements(
        self, handle: Any, profile_id: Any, array: Any, count: Any
    ) -> int:
        profile = _ci_by_id(self._driver.instance(handle), profile_id)
        return _put_placements(array, count, profile.placements)

    def remaining(self, handle: Any, profile_id: Any, reference: Any) -> int:
        instance = self._driver.instance(handle)
        wanted = _ci_by_id(instance, profile_id).profile
        outputs.put_number(reference, instance.remaining(wanted))
        return codes.SUCCESS

    def instances(
        self, handle: Any, profile_id: Any, array: Any, count: Any
    ) -> int:
        instance = self._privileged(handle)
        handles = instance.handles_by_profile.get(outputs.number(profile_id))
        if handles is None:
            return codes.INVALID_ARGUMENT
        return outputs.put_array(array, count, handles, _HANDLE_SIZE)

    def by_id(self, handle: Any, ci_id: Any, reference: Any) -> int:
        wanted = outputs.number(ci_id)
        for compute in self._privileged(handle).compute:
            if compute.ci.ci_id == wanted:
                outputs.put(reference, compute.key)
                return codes.SUCCESS
        return codes.NOT_FOUND

    def _privileged(self, handle: Any) -> indexes.Instance:
        instance = self._driver.instance(handle)
        if not instance.card.privileged:
            raise codes.Refused(codes.NO_PERMISSION)
        return instance

    def info(self, handle: Any, reference: Any) -> int:
        outputs.put(reference, self._driver.compute(handle).info)
        return codes.SUCCESS


class MigDeviceQueries:
    """MIG device handles."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver

    def entries(self) -> dict[str, Entry]:
        device = "nvmlDeviceGet"
        return {
            f"{device}MaxMigDeviceCount": self.maximum,
            f"{device}MigDeviceHandleByIndex": self.by_index,
            f"{device}DeviceHandleFromMigDeviceHandle": self.parent,
            "nvmlDeviceIsMigDeviceHandle": self.is_mig,
            f"{device}GpuInstanceId": self.gi_id,
            f"{device}ComputeInstanceId": self.ci_id,
            f"{device}Attributes": self.attributes,
            f"{device}Attributes_v2": self.attributes,
        }

    def maximum(self, handle: Any, reference: Any) -> int:
        card = self._driver.card(handle)
        most = card.model.compute_slices if card.gpu.mode else 0
        outputs.put_number(reference, most)
        return codes.SUCCESS

    def by_index(self, handle: Any, number: Any, reference: Any) -> int:
        devices = self._driver.card(handle).mig_devices
        wanted = outputs.number(number)
        if not 0 <= wanted < len(devices):
            return codes.NOT_FOUND
        outputs.put(reference, devices[wanted].key)
        return codes.SUCCESS

    def parent(self, handle: Any, reference: Any) -> int:
        outputs.put(reference, self._driver.mig_device(handle).card.key)
        return codes.SUCCESS

    def is_mig(self, handle: Any, reference: Any) -> int:
        device = self._driver.device(handle)
        outputs.put_number(reference, isinstance(device, indexes.MigDevice))
        return codes.SUCCESS

    def gi_id(self, handle: Any, reference: Any) -> int:
        outputs.put_number(reference, self._driver.mig_device(handle).gi_id)
        return codes.SUCCESS

    def ci_id(self, handle: Any, reference: Any) -> int:
        outputs.put_number(reference, self._driver.mig_device(handle).ci_id)
        return codes.SUCCESS

    def attributes(self, handle: Any, reference: Any) -> int:
        device = self._driver.device(handle)
        if not isinstance(device, indexes.MigDevice):
            return codes.NOT_SUPPORTED
        outputs.put(reference, device.attributes)
        return codes.SUCCESS


def _by_enum(card: indexes.Card, enum: Any) -> packed.PackedProfile:
    number = outputs.number(enum)
    profile = card.packed.by_enum.get(number)
    if profile is None:
        known = 0 <= number < _PROFILE_ENUMS
        raise codes.Refused(
            codes.NOT_SUPPORTED if known else codes.INVALID_ARGUMENT
        )
    return profile


def _by_id(card: indexes.Card, profile_id: Any) -> packed.PackedProfile:
    profile = card.packed.by_id.get(outputs.number(profile_id))
    if profile is None:
        raise codes.Refused(codes.INVALID_ARGUMENT)
    return profile


def _ci_by_enum(
    instance: indexes.Instance, enum: Any, engine: Any
) -> packed.PackedCiProfile:
    number = outputs.number(enum)
    # There is one engine profile: shared.
    if outputs.number(engine) or not 0 <= number < _CI_PROFILE_ENUMS:
        raise codes.Refused(codes.INVALID_ARGUMENT)
    profile = instance.packed.compute.get(number)
    if profile is None:
        raise codes.Refused(codes.NOT_SUPPORTED)
    return profile


def _ci_by_id(
    instance: indexes.Instance, profile_id: Any
) -> packed.PackedCiProfile:
    profile = instance.packed.compute.get(outputs.number(profile_id))
    if profile is None:
        raise codes.Refused(codes.INVALID_ARGUMENT)
    return profile


def _put_versioned(reference: Any, version: int, raw: bytes) -> int:
    given = outputs.target(reference).version
    if given == version:
        outputs.put(reference, raw)
        return codes.SUCCESS
    if given >> 24 > version >> 24:
        # The driver that was read has no version 3.
        return codes.FUNCTION_NOT_FOUND
    return codes.ARGUMENT_VERSION_MISMATCH


def _put_placements(array: Any, count: Any, raw: bytes) -> int:
    """Without an array the call asks how many there are."""
    if array is None:
        outputs.put_number(count, len(raw) // _PLACEMENT_SIZE)
        return codes.SUCCESS
    return outputs.put_array(array, count, raw, _PLACEMENT_SIZE)
