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

"""Entry points that ask about the system and about whole devices."""

import collections.abc
from typing import Any

from mig_placement.simulator import codes
from mig_placement.simulator import driver as drivers
from mig_placement.simulator import index as indexes
from mig_placement.simulator import outputs
from mig_placement.simulator import packed
from mig_placement.simulator import state as states

Entry = collections.abc.Callable[..., int]

# NVML_GPU_VIRTUALIZATION_MODE_*: passthrough is as on the H100 that was
# read; the vGPU host driver says so of itself.
_PASSTHROUGH = 1
_HOST_VGPU = 3


class SystemQueries:
    """nvmlInit, nvmlShutdown and nvmlSystem*."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver

    def entries(self) -> dict[str, Entry]:
        return {
            "nvmlInit": self.init,
            "nvmlInit_v2": self.init,
            "nvmlInitWithFlags": self.init,
            "nvmlShutdown": self.shutdown,
            "nvmlSystemGetDriverVersion": self.driver_version,
            "nvmlSystemGetNVMLVersion": self.nvml_version,
            "nvmlSystemGetCudaDriverVersion": self.cuda_version,
            "nvmlSystemGetCudaDriverVersion_v2": self.cuda_version,
            "nvmlSystemGetProcessName": self.process_name,
        }

    def init(self, _flags: Any = 0) -> int:
        self._driver.initialise()
        return codes.SUCCESS

    def shutdown(self) -> int:
        self._driver.shutdown()
        return codes.SUCCESS

    def driver_version(self, buffer: Any, length: Any) -> int:
        version = self._driver.index().state.driver
        return outputs.put_text(buffer, length, version)

    def nvml_version(self, buffer: Any, length: Any) -> int:
        version = self._driver.index().state.driver
        text = f"{_cuda_major(version)}.{version}"
        return outputs.put_text(buffer, length, text)

    def cuda_version(self, reference: Any) -> int:
        major = _cuda_major(self._driver.index().state.driver)
        outputs.put_number(reference, major * 1000)
        return codes.SUCCESS

    def process_name(self, pid: Any, buffer: Any, length: Any) -> int:
        wanted = outputs.number(pid)
        for card in self._driver.index().cards:
            if any(process.pid == wanted for process in card.processes()):
                return outputs.put_text(buffer, length, "simulated")
        return codes.NOT_FOUND


def _cuda_major(driver: str) -> int:
    """CUDA 13 came with driver 580."""
    branch = driver.partition(".")[0]
    return 13 if branch.isdigit() and int(branch) >= 580 else 12


class DeviceQueries:
    """Handles, identity, memory and processes of devices."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver

    def entries(self) -> dict[str, Entry]:
        return {
            "nvmlDeviceGetCount": self.count,
            "nvmlDeviceGetCount_v2": self.count,
            "nvmlDeviceGetHandleByIndex": self.by_index,
            "nvmlDeviceGetHandleByIndex_v2": self.by_index,
            "nvmlDeviceGetHandleByUUID": self.by_uuid,
            "nvmlDeviceGetHandleByPciBusId": self.by_pci,
            "nvmlDeviceGetHandleByPciBusId_v2": self.by_pci,
            "nvmlDeviceGetIndex": self.index,
            "nvmlDeviceGetName": self.name,
            "nvmlDeviceGetUUID": self.uuid,
            "nvmlDeviceGetMinorNumber": self.index,
            "nvmlDeviceGetPciInfo_v3": self.pci_info,
            "nvmlDeviceGetMemoryInfo": self.memory,
            "nvmlDeviceGetMemoryInfo_v2": self.memory_v2,
            "nvmlDeviceGetArchitecture": self.architecture,
            "nvmlDeviceGetBrand": self.brand,
            "nvmlDeviceGetCudaComputeCapability": self.compute_capability,
            "nvmlDeviceGetVirtualizationMode": self.virtualization_mode,
            **self._process_entries(),
        }

    def _process_entries(self) -> dict[str, Entry]:
        compute, none = "ComputeRunningProcesses", self.no_processes
        return {
            f"nvmlDeviceGet{compute}_v2": self.processes,
            f"nvmlDeviceGet{compute}_v3": self.processes,
            f"nvmlDeviceGetMPS{compute}_v3": none,
            "nvmlDeviceGetGraphicsRunningProcesses_v2": none,
            "nvmlDeviceGetGraphicsRunningProcesses_v3": none,
        }

    def count(self, reference: Any) -> int:
        outputs.put_number(reference, len(self._driver.index().cards))
        return codes.SUCCESS

    def by_index(self, number: Any, reference: Any) -> int:
        cards = self._driver.index().cards
        wanted = outputs.number(number)
        if not 0 <= wanted < len(cards):
            return codes.INVALID_ARGUMENT
        return _put_handle(reference, cards[wanted])

    def by_uuid(self, uuid: Any, reference: Any) -> int:
        device = self._driver.index().by_uuid(outputs.text(uuid))
        return _put_handle(reference, device)

    def by_pci(self, address: Any, reference: Any) -> int:
        # The real one takes both lengths of the domain, in any case.
        wanted = outputs.text(address).upper()
        for card in self._driver.index().cards:
            if wanted in (card.gpu.pci, card.gpu.pci[4:]):
                return _put_handle(reference, card)
        return codes.NOT_FOUND

    def index(self, handle: Any, reference: Any) -> int:
        outputs.put_number(reference, self._driver.card(handle).index)
        return codes.SUCCESS

    def name(self, handle: Any, buffer: Any, length: Any) -> int:
        name = self._driver.device(handle).name
        return outputs.put_text(buffer, length, name)

    def uuid(self, handle: Any, buffer: Any, length: Any) -> int:
        uuid = self._driver.device(handle).uuid
        return outputs.put_text(buffer, length, uuid)

    def pci_info(self, handle: Any, reference: Any) -> int:
        outputs.put(reference, self._driver.card(handle).pci_info)
        return codes.SUCCESS

    def memory(self, handle: Any, reference: Any) -> int:
        memory = self._driver.device(handle).memory()
        outputs.put(reference, packed.MEMORY_V1.pack(*memory))
        return codes.SUCCESS

    def memory_v2(self, handle: Any, reference: Any) -> int:
        total, free, used = self._driver.device(handle).memory()
        version = packed.VERSION_OF_MEMORY_V2
        if outputs.target(reference).version != version:
            return codes.ARGUMENT_VERSION_MISMATCH
        raw = packed.MEMORY_V2.pack(version, total, 0, free, used)
        outputs.put(reference, raw)
        return codes.SUCCESS

    def architecture(self, handle: Any, reference: Any) -> int:
        model = self._driver.card(handle).model
        outputs.put_number(reference, model.architecture)
        return codes.SUCCESS

    def brand(self, handle: Any, reference: Any) -> int:
        outputs.put_number(reference, self._driver.card(handle).model.brand)
        return codes.SUCCESS

    def compute_capability(self, handle: Any, major: Any, minor: Any) -> int:
        capability = self._driver.card(handle).model.compute_capability
        outputs.put_number(major, capability[0])
        outputs.put_number(minor, capability[1])
        return codes.SUCCESS

    def virtualization_mode(self, handle: Any, reference: Any) -> int:
        self._driver.card(handle)
        vgpu = self._driver.index().state.vgpu
        outputs.put_number(reference, _HOST_VGPU if vgpu else _PASSTHROUGH)
        return codes.SUCCESS

    def no_processes(self, handle: Any, count: Any, _array: Any) -> int:
        self._driver.device(handle)
        outputs.put_number(count, 0)
        return codes.SUCCESS

    def processes(self, handle: Any, count: Any, array: Any) -> int:
        found = self._driver.device(handle).processes()
        room = outputs.target(count).value
        outputs.put_number(count, len(found))
        if room < len(found):
            return codes.INSUFFICIENT_SIZE
        if found:
            outputs.put(array, b"".join(map(_packed_process, found)))
        return codes.SUCCESS


def _put_handle(reference: Any, device: indexes.Device | None) -> int:
    if device is None:
        return codes.NOT_FOUND
    if device.fault == codes.SUCCESS:
        outputs.put(reference, device.key)
    return device.fault


def _packed_process(process: states.Process) -> bytes:
    return packed.PROCESS.pack(
        process.pid,
        indexes.PROCESS_BYTES,
        codes.WHOLE_GPU if process.gi_id is None else process.gi_id,
        codes.WHOLE_GPU if process.ci_id is None else process.ci_id,
    )
