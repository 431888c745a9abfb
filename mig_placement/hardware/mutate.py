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
"""Changing a GPU through NVML: MIG mode, GPU and compute instances."""

import ctypes
from typing import Any

import pynvml

from mig_placement import exception
from mig_placement.hardware import errors
from mig_placement.hardware import model
from mig_placement.hardware import observe

_Handle = Any


def set_mode(index: int, enable: bool) -> bool:
    """Switch MIG mode; whether it is so now, without a reset.

    nvmlDeviceSetMigMode does not raise for a mode that has to wait: the
    reason is in what it returns.

    :raises HardwarePermissionDenied: this process is not root's.
    :raises HardwareError: the GPU is in use, or NVML refuses.
    """
    with _of(index):
        handle = _gpu(index)
        try:
            status = pynvml.nvmlDeviceSetMigMode(handle, int(enable))
        except pynvml.NVMLError_NoPermission as error:
            raise _root_only(index) from error
        if status == pynvml.NVML_ERROR_IN_USE:
            raise pynvml.NVMLError(status)
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0]) == enable


def create_gpu_instance(
    index: int, profile: model.Profile, placement: model.Placement
) -> int:
    """Create a GPU instance; its id.

    :raises HardwareError: the placement is taken, or NVML refuses.
    """
    with _of(index):
        where = pynvml.c_nvmlGpuInstancePlacement_t()
        where.start, where.size = placement.start, placement.size
        made = pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(
            _gpu(index), profile.profile_id, ctypes.byref(where)
        )
        return int(pynvml.nvmlGpuInstanceGetInfo(made).id)


def destroy_gpu_instance(
    index: int, gi_id: int, placement: model.Placement
) -> None:
    """Destroy a GPU instance, if it still is the one at that placement.

    :raises HardwareError: it is another one by now, in use, or NVML
        refuses.
    """
    with _of(index):
        gi = pynvml.nvmlDeviceGetGpuInstanceById(_gpu(index), gi_id)
        found = pynvml.nvmlGpuInstanceGetInfo(gi).placement
        if (found.start, found.size) != (placement.start, placement.size):
            raise _changed(index, f"GPU instance {gi_id}")
        pynvml.nvmlGpuInstanceDestroy(gi)


def create_compute_instance(index: int, gi_id: int, profile: str) -> None:
    """Create a compute instance where the driver has room for it.

    :param profile: as an observation names it, ``1c.3g.20gb`` for example.
    :raises HardwareError: there is no such profile or no room.
    """
    with _of(index):
        gi = pynvml.nvmlDeviceGetGpuInstanceById(_gpu(index), gi_id)
        for profile_id, name in observe.ci_profiles(gi):
            if _compute_slices(name) == _compute_slices(profile):
                pynvml.nvmlGpuInstanceCreateComputeInstance(gi, profile_id)
                return
        raise exception.HardwareError(
            f"GPU instance {gi_id} has no compute instance profile {profile}",
            where=f"GPU {index}",
            mend="see 'mig-placement profiles'",
        )


def destroy_compute_instance(
    index: int, gi_id: int, ci: model.ComputeInstance
) -> None:
    """Destroy a compute instance, if it still is the one observed.

    :raises HardwareError: it is another one by now, in use, or NVML
        refuses.
    """
    with _of(index):
        handle = _gpu(index)
        uuid = observe.mig_uuids(handle).get((gi_id, ci.ci_id))
        if uuid != ci.mig_uuid:
            raise _changed(index, f"compute instance {gi_id}/{ci.ci_id}")
        gi = pynvml.nvmlDeviceGetGpuInstanceById(handle, gi_id)
        found = pynvml.nvmlGpuInstanceGetComputeInstanceById(gi, ci.ci_id)
        pynvml.nvmlComputeInstanceDestroy(found)


def _compute_slices(profile: str) -> str:
    """What tells compute instances of one GPU instance apart: drivers may
    or may not repeat its attributes (+me) in their names."""
    slices, _, rest = profile.partition(".")
    return slices.replace("g", "c") if rest else profile


def _gpu(index: int) -> _Handle:
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def _of(index: int) -> Any:
    return errors.translated(f"GPU {index}")


def _root_only(index: int) -> exception.HardwareError:
    """No file's mode gives this away, unlike the right to instances."""
    return exception.HardwarePermissionDenied(
        "only root may change MIG mode",
        where=f"GPU {index}",
        mend="run as root, and the agent with root.conf; see 'As its own"
        " user, and what needs root' in the installation guide",
    )


def _changed(index: int, what: str) -> exception.HardwareError:
    return exception.HardwareError(
        f"{what} is no longer the one that was observed",
        where=f"GPU {index}",
        mend="let no other tool change instances meanwhile",
    )
