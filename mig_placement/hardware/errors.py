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
"""NVML's error codes as exceptions that carry the mend."""

import collections.abc
import contextlib

import pynvml

from mig_placement import exception

_Failure = tuple[type[exception.HardwareError], str, str]

_FAILURES: dict[int, _Failure] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        exception.LibraryNotFound,
        "the NVML library is not installed",
        "install the NVIDIA driver or set [hardware] nvml_library",
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        exception.DriverNotLoaded,
        "the NVIDIA kernel driver is not loaded",
        "load it with 'modprobe nvidia' and look at dmesg",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        exception.HardwareError,
        "NVML library and kernel driver are of different versions",
        "reload the driver or reboot",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        exception.HardwarePermissionDenied,
        "no permission to list or change GPU instances",
        "run as root, or let the agent's group read"
        " /dev/nvidia-caps/nvidia-cap1 (71-mig-placement.rules)",
    ),
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: (
        exception.HardwareError,
        "the NVIDIA driver is too old for MIG",
        "install driver 525 or newer",
    ),
}

# These say that the whole library is of no use, whichever GPU was asked.
FATAL = frozenset(_FAILURES) | {pynvml.NVML_ERROR_UNINITIALIZED}


def translate(
    error: pynvml.NVMLError, where: str = "NVML"
) -> exception.HardwareError:
    """The typed exception for an NVMLError, with what mends it."""
    kind, what, mend = _FAILURES.get(
        error.value,
        (exception.HardwareError, str(error), "look at dmesg for the driver"),
    )
    return kind(what, where=where, mend=mend)


@contextlib.contextmanager
def translated(where: str = "NVML") -> collections.abc.Iterator[None]:
    """Raise HardwareError in place of any NVMLError of the block."""
    try:
        yield
    except pynvml.NVMLError as error:
        raise translate(error, where) from error
