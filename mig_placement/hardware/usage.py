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
"""Which GPU instances somebody uses: processes and vGPUs, as NVML knows."""

import collections
import contextlib
import ctypes
import dataclasses
from typing import Any

import pynvml

from mig_placement.hardware import errors
from mig_placement.hardware import model

_Handle = Any


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Use:
    """What runs on a GPU instance (counts)."""

    processes: int = 0
    vgpus: int = 0

    def __str__(self) -> str:
        parts = []
        if self.processes:
            parts.append(f"{self.processes} processes")
        if self.vgpus:
            parts.append(f"{self.vgpus} vGPUs")
        return " and ".join(parts)


# By (GPU index, GPU instance id); what nobody uses is not there.
Usage = dict[tuple[int, int], Use]

_UNKNOWN = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NotFound,
)
_MAX_VGPUS = 256


def read(node: model.Node) -> Usage:
    """Instances in use on the GPUs that answer.

    :raises HardwareError: a GPU that answered does not any more.
    """
    usage: Usage = {}
    for gpu in node.gpus:
        if gpu.instances and not gpu.fault:
            with errors.translated(str(gpu)):
                usage.update(_of_gpu(gpu))
    return usage


def processes_on(index: int) -> int:
    """Processes on a GPU as a whole, MIG or not.

    :raises HardwareError: the GPU does not answer.
    """
    with errors.translated(f"GPU {index}"):
        return len(_processes(pynvml.nvmlDeviceGetHandleByIndex(index)))


def _of_gpu(gpu: model.Gpu) -> Usage:
    handle = pynvml.nvmlDeviceGetHandleByIndex(gpu.index)
    processes = _processes_by_instance(handle)
    vgpus = _vgpus_by_instance(handle)
    return {
        (gpu.index, gi_id): Use(processes[gi_id], vgpus[gi_id])
        for gi_id in (instance.gi_id for instance in gpu.instances)
        if processes[gi_id] or vgpus[gi_id]
    }


def _processes_by_instance(handle: _Handle) -> collections.Counter[int]:
    counts: collections.Counter[int] = collections.Counter()
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with contextlib.suppress(pynvml.NVMLError_NotFound):
            mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            gi_id = int(pynvml.nvmlDeviceGetGpuInstanceId(mig))
            counts[gi_id] += len(_processes(mig))
    return counts


def _processes(handle: _Handle) -> set[int]:
    pids: set[int] = set()
    for query in (
        pynvml.nvmlDeviceGetComputeRunningProcesses,
        pynvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        with contextlib.suppress(*_UNKNOWN):
            pids.update(int(each.pid) for each in query(handle))
    return pids


def _vgpus_by_instance(handle: _Handle) -> collections.Counter[int]:
    """A GPU instance of a vGPU has no process on this host, only a VM."""
    counts: collections.Counter[int] = collections.Counter()
    with contextlib.suppress(*_UNKNOWN):
        for vgpu in _active_vgpus(handle):
            with contextlib.suppress(*_UNKNOWN):
                gi_id = pynvml.nvmlVgpuInstanceGetGpuInstanceId(vgpu)
                counts[int(gi_id)] += 1
    return counts


def vms(gpu: model.Gpu) -> dict[int, tuple[str, ...]]:
    """The VMs that run with a vGPU, by their GPU instance's id.

    :raises HardwareError: the GPU does not answer.
    """
    found: dict[int, tuple[str, ...]] = {}
    with errors.translated(str(gpu)), contextlib.suppress(*_UNKNOWN):
        handle = pynvml.nvmlDeviceGetHandleByIndex(gpu.index)
        for vgpu in _active_vgpus(handle):
            gi_id = int(pynvml.nvmlVgpuInstanceGetGpuInstanceId(vgpu))
            vm, _ = pynvml.nvmlVgpuInstanceGetVmID(vgpu)
            name = vm.decode(errors="replace") if vm else ""
            plain = "".join(char for char in name if char.isprintable())
            found[gi_id] = (*found.get(gi_id, ()), plain)
    return found


def _active_vgpus(handle: _Handle) -> list[int]:
    count = ctypes.c_uint(_MAX_VGPUS)
    buffer = (ctypes.c_uint * _MAX_VGPUS)()
    function = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetActiveVgpus")
    pynvml._nvmlCheckReturn(function(handle, ctypes.byref(count), buffer))
    return list(buffer[: count.value])
