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
"""Entry points that ask about vGPU types and about running vGPUs."""

from typing import Any

from mig_placement.simulator import catalog
from mig_placement.simulator import codes
from mig_placement.simulator import driver as drivers
from mig_placement.simulator import index as indexes
from mig_placement.simulator import outputs
from mig_placement.simulator import state as states
from mig_placement.simulator import vgpu
from mig_placement.simulator.queries import Entry

# NVML_HOST_VGPU_MODE_SRIOV.
_SRIOV = 1
_NO_PROFILE = 0xFFFFFFFF
# NVML_VGPU_VM_ID_UUID.
_VM_UUID = 1
# vGPU instance ids: more functions than this no GPU has.
_FUNCTIONS = 64


class VgpuQueries:
    """vGPU types of devices, and the vGPUs of running VMs."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver

    def entries(self) -> dict[str, Entry]:
        kind, instance = "nvmlVgpuTypeGet", "nvmlVgpuInstanceGet"
        return {
            "nvmlDeviceGetHostVgpuMode": self.host_mode,
            "nvmlDeviceGetSupportedVgpus": self.supported,
            "nvmlDeviceGetCreatableVgpus": self.creatable,
            "nvmlDeviceGetActiveVgpus": self.active,
            f"{kind}Name": self.type_name,
            f"{kind}FramebufferSize": self.framebuffer,
            f"{kind}GpuInstanceProfileId": self.profile_id,
            f"{kind}MaxInstancesPerGpuInstance": self.max_per_instance,
            f"{instance}Type": self.instance_type,
            f"{instance}GpuInstanceId": self.gi_id,
            f"{instance}MdevUUID": self.mdev,
            f"{instance}VmID": self.vm_id,
        }

    def _kind(self, handle: Any) -> tuple[indexes.Card, catalog.Vgpu]:
        card = self._driver.card(handle)
        kind = vgpu.supported(self._driver.index().state, card.gpu)
        if kind is None:
            raise codes.Refused(codes.NOT_SUPPORTED)
        return card, kind

    def host_mode(self, handle: Any, reference: Any) -> int:
        self._kind(handle)
        outputs.put_number(reference, _SRIOV)
        return codes.SUCCESS

    def supported(self, handle: Any, count: Any, array: Any) -> int:
        _, kind = self._kind(handle)
        return _put_ids(count, array, [each.type_id for each in kind.types])

    def creatable(self, handle: Any, count: Any, array: Any) -> int:
        card, _ = self._kind(handle)
        free = [each for each in card.gpu.functions if not each.type_id]
        state = self._driver.index().state
        types = vgpu.creatable(state, card.gpu, free[0]) if free else ()
        return _put_ids(count, array, [each.type_id for each in types])

    def active(self, handle: Any, count: Any, array: Any) -> int:
        card, _ = self._kind(handle)
        ids = [
            card.gpu.serial * _FUNCTIONS + number
            for number, each in enumerate(card.gpu.functions)
            if each.vm
        ]
        return _put_ids(count, array, ids)

    def _type(self, type_id: Any) -> tuple[catalog.Model, catalog.VgpuType]:
        wanted = outputs.number(type_id)
        for card in self._driver.index().cards:
            kind = vgpu.supported(self._driver.index().state, card.gpu)
            found = kind.type(wanted) if kind else None
            if found is not None:
                return card.model, found
        raise codes.Refused(codes.INVALID_ARGUMENT)

    def type_name(self, type_id: Any, buffer: Any, length: Any) -> int:
        model, found = self._type(type_id)
        prefix = model.vgpu.prefix if model.vgpu else ""
        size = outputs.target(length)
        return outputs.put_text(buffer, size, f"{prefix} {found.name}")

    def framebuffer(self, type_id: Any, reference: Any) -> int:
        outputs.put_number(
            reference, self._type(type_id)[1].framebuffer_mib << 20
        )
        return codes.SUCCESS

    def profile_id(self, type_id: Any, reference: Any) -> int:
        model, found = self._type(type_id)
        profile = model.profile(found.profile) if found.profile else None
        outputs.put_number(
            reference, profile.profile_id if profile else _NO_PROFILE
        )
        return codes.SUCCESS

    def max_per_instance(self, reference: Any) -> int:
        structure = outputs.target(reference)
        _, found = self._type(structure.vgpuTypeId)
        if found.profile is None:
            return codes.NOT_SUPPORTED
        structure.maxInstancePerGI = found.max_per_instance
        return codes.SUCCESS

    def _instance(self, number: Any) -> tuple[states.Gpu, states.Function]:
        serial, place = divmod(outputs.number(number), _FUNCTIONS)
        for card in self._driver.index().cards:
            of_gpu = card.gpu.functions if card.gpu.serial == serial else []
            if place < len(of_gpu) and of_gpu[place].vm:
                return card.gpu, of_gpu[place]
        raise codes.Refused(codes.NOT_FOUND)

    def instance_type(self, number: Any, reference: Any) -> int:
        outputs.put_number(reference, self._instance(number)[1].type_id)
        return codes.SUCCESS

    def gi_id(self, number: Any, reference: Any) -> int:
        gpu, function = self._instance(number)
        for gi in gpu.instances:
            if gi.serial == function.gi:
                outputs.put_number(reference, gi.gi_id)
                return codes.SUCCESS
        return codes.NOT_FOUND

    def mdev(self, number: Any, buffer: Any, length: Any) -> int:
        _, function = self._instance(number)
        if not function.uuid:
            return codes.NOT_SUPPORTED
        size = outputs.target(length)
        return outputs.put_text(buffer, size, function.uuid)

    def vm_id(self, number: Any, buffer: Any, size: Any, kind: Any) -> int:
        _, function = self._instance(number)
        state = self._driver.index().state
        outputs.put_number(kind, _VM_UUID)
        text = state.derived_uuid("vm", function.gi)
        return outputs.put_text(buffer, size, text)


def _put_ids(count: Any, array: Any, ids: list[int]) -> int:
    room = outputs.target(count).value
    outputs.put_number(count, len(ids))
    if room < len(ids):
        return codes.INSUFFICIENT_SIZE
    for place, number in enumerate(ids):
        array[place] = number
    return codes.SUCCESS
