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

"""A simulated H100-80GB answers as the real one did, MIG mode off."""

import collections.abc
import ctypes
import json
import pathlib
from typing import Any

import pynvml
import pytest

from mig_placement import simulator

FACTS: dict[str, Any] = json.loads(
    (pathlib.Path(__file__).parent / "data/h100-80gb-hbm3.json").read_text()
)
PROFILES = pytest.mark.parametrize(
    "fact", FACTS["profiles"], ids=lambda fact: fact["name"]
)


@pytest.fixture
def h100(tmp_path: pathlib.Path) -> collections.abc.Iterator[Any]:
    """The handle of the only GPU."""
    node = simulator.SimulatedNode(tmp_path / "node.json")
    node.create(["H100-80GB"], pci_addresses=[FACTS["pci_bus_id"]])
    simulator.install(node.path)
    pynvml.nvmlInit()
    yield pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlShutdown()
    simulator.uninstall()


def test_it_has_the_real_ones_identity(h100: Any) -> None:
    pci = pynvml.nvmlDeviceGetPciInfo(h100)
    major, minor = FACTS["cuda_compute_capability"]
    assert {
        "name": pynvml.nvmlDeviceGetName(h100),
        "pci_device_id": f"0x{pci.pciDeviceId:08X}",
        "pci_subsystem_id": f"0x{pci.pciSubSystemId:08x}",
        "pci_bus_id": pci.busId,
        "pci_bus_id_legacy": pci.busIdLegacy,
        "architecture": pynvml.nvmlDeviceGetArchitecture(h100),
        "memory_total_bytes": pynvml.nvmlDeviceGetMemoryInfo(h100).total,
        "brand": pynvml.nvmlDeviceGetBrand(h100),
        "virtualization_mode": pynvml.nvmlDeviceGetVirtualizationMode(h100),
    } == {
        "name": FACTS["name"],
        "pci_device_id": FACTS["pci_device_id"],
        "pci_subsystem_id": FACTS["pci_subsystem_id"],
        "pci_bus_id": FACTS["pci_bus_id"],
        "pci_bus_id_legacy": FACTS["pci_bus_id_legacy"],
        "architecture": FACTS["architecture"],
        "memory_total_bytes": FACTS["memory_total_bytes"],
        "brand": FACTS["brand"],
        "virtualization_mode": FACTS["virtualization_mode"],
    }
    assert pynvml.nvmlDeviceGetCudaComputeCapability(h100) == (major, minor)
    assert (pci.domain, pci.bus, pci.device) == (0, 0, 6)


def test_it_has_the_real_ones_driver(h100: Any) -> None:
    assert pynvml.nvmlSystemGetDriverVersion() == FACTS["driver"]
    assert pynvml.nvmlSystemGetNVMLVersion() == FACTS["nvml"]


def test_mig_mode_is_off(h100: Any) -> None:
    assert pynvml.nvmlDeviceGetMigMode(h100) == FACTS["mig_mode"]
    assert (
        pynvml.nvmlDeviceGetMaxMigDeviceCount(h100)
        == FACTS["max_mig_device_count_while_off"]
    )


def test_no_mig_device_is_found(h100: Any) -> None:
    with pytest.raises(pynvml.NVMLError) as error:
        pynvml.nvmlDeviceGetMigDeviceHandleByIndex(h100, 0)
    code = FACTS["mig_device_handle_by_index_while_off"]
    assert error.value.value == getattr(pynvml, code)


def test_it_supports_the_same_event_types(h100: Any) -> None:
    assert (
        pynvml.nvmlDeviceGetSupportedEventTypes(h100)
        == FACTS["supported_event_types"]
    )


@pytest.mark.parametrize("function", FACTS["not_supported_while_off"])
def test_the_same_queries_are_not_supported(h100: Any, function: str) -> None:
    with pytest.raises(pynvml.NVMLError_NotSupported):
        getattr(pynvml, function)(h100)


@PROFILES
def test_a_profile_is_told_as_the_real_one_tells_it(
    h100: Any, fact: dict[str, Any]
) -> None:
    info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(
        h100, fact["nvml_enum"], 2
    )
    assert {
        "name": info.name,
        "profile_id": info.id,
        "nvml_enum": fact["nvml_enum"],
        "compute_slices": info.sliceCount,
        "multiprocessors": info.multiprocessorCount,
        "copy_engines": info.copyEngineCount,
        "decoders": info.decoderCount,
        "encoders": info.encoderCount,
        "jpeg": info.jpegCount,
        "ofa": info.ofaCount,
        "memory_mib": info.memorySizeMB,
        "max_instances": info.instanceCount,
        "placements": placements(h100, info.id),
    } == fact


def placements(handle: Any, profile_id: int) -> list[list[int]]:
    count = ctypes.c_uint(0)
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(
        handle, profile_id, None, ctypes.byref(count)
    )
    array = (pynvml.c_nvmlGpuInstancePlacement_t * count.value)()
    pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(
        handle, profile_id, ctypes.byref(array), ctypes.byref(count)
    )
    return [[item.start, item.size] for item in array]


def test_profiles_come_in_the_real_ones_order(h100: Any) -> None:
    found, missing = [], []
    for enum in range(1000):
        try:
            info = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(h100, enum, 2)
        except pynvml.NVMLError_NotSupported:
            missing.append(enum)
        except pynvml.NVMLError_InvalidArgument:
            break
        else:
            found.append((enum, info.name))
    assert found == [(f["nvml_enum"], f["name"]) for f in FACTS["profiles"]]
    assert missing == FACTS["profile_enum_not_supported"]
    assert FACTS["profile_enum_invalid_argument"] == f"{enum} and above"


def test_profile_information_has_no_version_three(h100: Any) -> None:
    with pytest.raises(pynvml.NVMLError) as error:
        pynvml.nvmlDeviceGetGpuInstanceProfileInfo(h100, 0, 3)
    code = getattr(pynvml, FACTS["profile_info_version_3"])
    assert error.value.value == code
    info = pynvml.c_nvmlGpuInstanceProfileInfo_v2_t()
    info.version = 0x03000000 + ctypes.sizeof(info) + 8
    entry = pynvml.nvmlLib.nvmlDeviceGetGpuInstanceProfileInfoV
    assert entry(h100, 0, ctypes.byref(info)) == code


def test_the_first_version_of_a_profile_agrees_with_the_second(
    h100: Any,
) -> None:
    for fact in FACTS["profiles"]:
        enum = fact["nvml_enum"]
        one = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(h100, enum, 1)
        two = pynvml.nvmlDeviceGetGpuInstanceProfileInfo(h100, enum, 2)
        for name, _kind in one._fields_:
            assert getattr(one, name) == getattr(two, name), name


@PROFILES
def test_capacity_is_told_while_mig_mode_is_off(
    h100: Any, fact: dict[str, Any]
) -> None:
    profile_id = fact["profile_id"]
    assert (
        pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity(h100, profile_id)
        == FACTS["remaining_capacity_while_off"][str(profile_id)]
    )


@PROFILES
def test_every_profile_answers_with_no_instance(
    h100: Any, fact: dict[str, Any]
) -> None:
    assert FACTS["gpu_instances_while_off"].endswith("count 0")
    count = ctypes.c_uint(99)
    array = (pynvml.c_nvmlGpuInstance_t * fact["max_instances"])()
    pynvml.nvmlDeviceGetGpuInstances(
        h100, fact["profile_id"], array, ctypes.byref(count)
    )
    assert count.value == 0
