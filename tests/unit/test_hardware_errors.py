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
"""NVML's error codes become exceptions that carry the mend."""

import pynvml
import pytest

from mig_placement import exception
from mig_placement.hardware import errors


@pytest.mark.parametrize(
    ("code", "kind", "mend"),
    [
        (
            pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
            exception.LibraryNotFound,
            "nvml_library",
        ),
        (
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
            exception.DriverNotLoaded,
            "modprobe nvidia",
        ),
        (
            pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
            exception.HardwareError,
            "reload the driver or reboot",
        ),
        (
            pynvml.NVML_ERROR_NO_PERMISSION,
            exception.HardwarePermissionDenied,
            "nvidia-caps/nvidia-cap1",
        ),
        (
            pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            exception.HardwareError,
            "driver 525",
        ),
        (pynvml.NVML_ERROR_UNKNOWN, exception.HardwareError, "dmesg"),
    ],
)
def test_a_code_of_nvml_is_one_line_with_its_mend(
    code: int, kind: type[exception.HardwareError], mend: str
) -> None:
    error = errors.translate(pynvml.NVMLError(code), "GPU 3")
    assert type(error) is kind
    assert error.exit_status == exception.EXIT_NO_NVML
    assert str(error).startswith("GPU 3: ")
    assert mend in str(error)
    assert "\n" not in str(error)


def test_what_concerns_one_gpu_alone_is_not_fatal() -> None:
    assert pynvml.NVML_ERROR_GPU_IS_LOST not in errors.FATAL
    assert pynvml.NVML_ERROR_UNINITIALIZED in errors.FATAL


def test_new_lines_of_others_stay_out_of_an_error() -> None:
    error = exception.HardwareError("a\nb", where="c\r\nd", mend="e\n")
    assert str(error) == "c d: a b; e"
