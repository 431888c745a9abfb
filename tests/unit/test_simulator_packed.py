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

"""The packed structures have the layouts that pynvml declares."""

import ctypes
import struct
from typing import Any

import pynvml
import pytest

from mig_placement import simulator
from mig_placement.simulator import codes
from mig_placement.simulator import packed


@pytest.mark.parametrize(
    ("layout", "structure"),
    [
        (packed.PLACEMENT, pynvml.c_nvmlGpuInstancePlacement_t),
        (packed.PROFILE_V1, pynvml.c_nvmlGpuInstanceProfileInfo_t),
        (packed.PROFILE_V2, pynvml.c_nvmlGpuInstanceProfileInfo_v2_t),
        (packed.GI_INFO, pynvml.c_nvmlGpuInstanceInfo_t),
        (packed.CI_PROFILE_V1, pynvml.c_nvmlComputeInstanceProfileInfo_t),
        (packed.CI_PROFILE_V2, pynvml.c_nvmlComputeInstanceProfileInfo_v2_t),
        (packed.CI_INFO, pynvml.c_nvmlComputeInstanceInfo_t),
        (packed.ATTRIBUTES, pynvml.c_nvmlDeviceAttributes),
        (packed.EVENT, pynvml.c_nvmlEventData_t),
        (packed.MEMORY_V1, pynvml.c_nvmlMemory_t),
        (packed.MEMORY_V2, pynvml.c_nvmlMemory_v2_t),
        (packed.PCI_INFO, pynvml.nvmlPciInfo_t),
        (packed.PROCESS, pynvml.c_nvmlProcessInfo_v3_t),
        (packed.HANDLE, pynvml.c_nvmlDevice_t),
    ],
)
def test_a_structure_has_the_size_that_pynvml_declares(
    layout: struct.Struct, structure: Any
) -> None:
    # A structure's size may end in padding that nobody reads.
    assert (
        0
        <= ctypes.sizeof(structure) - layout.size
        < ctypes.alignment(structure)
    )


def test_versions_are_those_that_pynvml_sends() -> None:
    assert pynvml.nvmlGpuInstanceProfileInfo_v2 == packed.VERSION_OF_PROFILE_V2
    assert (
        pynvml.nvmlComputeInstanceProfileInfo_v2
        == packed.VERSION_OF_CI_PROFILE_V2
    )
    assert pynvml.nvmlMemory_v2 == packed.VERSION_OF_MEMORY_V2


def test_return_codes_are_those_of_pynvml() -> None:
    for name, value in vars(codes).items():
        theirs = getattr(pynvml, f"NVML_ERROR_{name}", None)
        assert theirs is None or theirs == value, name


def test_every_return_code_has_a_text() -> None:
    known = {
        value
        for name, value in vars(pynvml).items()
        if name.startswith("NVML_ERROR_")
    }
    assert known <= set(codes.TEXTS)


def test_a_model_is_packed_once() -> None:
    model = simulator.models()["A100-40GB"]
    assert packed.packed_model(model) is packed.packed_model(model)
