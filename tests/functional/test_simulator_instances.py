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

"""Modes, GPU instances, compute instances and MIG devices through pynvml."""

import collections.abc
import ctypes
import pathlib
from typing import Any

import pynvml
import pytest

from mig_placement import simulator

ONE_G, THREE_G, FULL = 19, 9, 0
RESET_REQUIRED = pynvml.NVML_ERROR_RESET_REQUIRED
IN_USE = pynvml.NVML_ERROR_IN_USE


@pytest.fixture
def node(
    tmp_path: pathlib.Path,
) -> collections.abc.Iterator[simulator.SimulatedNode]:
    """An A100 with MIG mode on and an H100 with MIG mode off."""
    made = simulator.SimulatedNode(tmp_path / "node.json")
    made.create(["A100-40GB", "H100-80GB"])
    made.set_mig(0, True)
    made.reset_gpu(0)
    simulator.install(made.path)
    pynvml.nvmlInit()
    yield made
    pynvml.nvmlShutdown()
    simulator.uninstall()


def handle(index: int = 0) -> Any:
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def code_of(function: Any, *arguments: Any) -> int:
    with pytest.raises(pynvml.NVMLError) as error:
        function(*arguments)
    return int(error.value.value)


def gi_handles(gpu: Any, profile_id: int) -> list[Any]:
    count = ctypes.c_uint(0)
    array = (pynvml.c_nvmlGpuInstance_t * 7)()
    pynvml.nvmlDeviceGetGpuInstances(
        gpu, profile_id, array, ctypes.byref(count)
    )
    return list(array[: count.value])


def ci_handles(gi: Any, profile_id: int) -> list[Any]:
    count = ctypes.c_uint(0)
    array = (pynvml.c_nvmlComputeInstance_t * 7)()
    pynvml.nvmlGpuInstanceGetComputeInstances(
        gi, profile_id, array, ctypes.byref(count)
    )
    return list(array[: count.value])


def starts(gpu: Any, profile_id: int) -> list[int]:
    return [
        pynvml.nvmlGpuInstanceGetInfo(gi).placement.start
        for gi in gi_handles(gpu, profile_id)
    ]


def placement(start: int, size: int) -> Any:
    return ctypes.byref(pynvml.c_nvmlGpuInstancePlacement_t(start, size))


def test_a_change_of_mode_is_pending_on_ampere_until_a_reset(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle()
    assert pynvml.nvmlDeviceSetMigMode(gpu, 0) == RESET_REQUIRED
    assert pynvml.nvmlDeviceGetMigMode(gpu) == [1, 0]
    node.reset_gpu(0, force=True)
    assert pynvml.nvmlDeviceGetMigMode(gpu) == [0, 0]


def test_a_change_of_mode_is_done_at_once_from_hopper_on(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle(1)
    assert pynvml.nvmlDeviceSetMigMode(gpu, 1) == 0
    assert pynvml.nvmlDeviceGetMigMode(gpu) == [1, 1]
    assert pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu) == 7


def test_a_mode_taken_back_before_the_reset_needs_none(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle()
    pynvml.nvmlDeviceSetMigMode(gpu, 0)
    assert pynvml.nvmlDeviceSetMigMode(gpu, 1) == 0
    assert pynvml.nvmlDeviceGetMigMode(gpu) == [1, 1]


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_makes_a_change_of_mode_pending(
    node: simulator.SimulatedNode, index: int
) -> None:
    node.add_process(index, None, 4242)
    before = pynvml.nvmlDeviceGetMigMode(handle(index))[0]
    status = pynvml.nvmlDeviceSetMigMode(handle(index), 1 - before)
    assert status == IN_USE
    assert pynvml.nvmlDeviceGetMigMode(handle(index)) == [before, 1 - before]


def test_mig_mode_is_not_disabled_under_an_instance(
    node: simulator.SimulatedNode,
) -> None:
    node.create_instance(0, "1g.5gb", compute_instances=False)
    assert code_of(pynvml.nvmlDeviceSetMigMode, handle(), 0) == IN_USE
    assert pynvml.nvmlDeviceGetMigMode(handle()) == [1, 1]


def test_a_mode_that_is_none_is_an_invalid_argument(
    node: simulator.SimulatedNode,
) -> None:
    code = code_of(pynvml.nvmlDeviceSetMigMode, handle(), 2)
    assert code == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_the_driver_puts_instances_where_it_likes(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle()
    created = [
        pynvml.nvmlDeviceCreateGpuInstance(gpu, ONE_G) for _ in range(3)
    ]
    infos = [pynvml.nvmlGpuInstanceGetInfo(gi) for gi in created]
    assert [info.placement.start for info in infos] == [6, 4, 5]
    assert len({info.id for info in infos}) == 3
    assert sorted(starts(gpu, ONE_G)) == [4, 5, 6]


def test_an_instance_lies_where_it_was_told_to(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(
        handle(), THREE_G, placement(0, 4)
    )
    info = pynvml.nvmlGpuInstanceGetInfo(gi)
    assert (info.profileId, info.placement.start) == (THREE_G, 0)
    assert pynvml.nvmlDeviceGetUUID(info.device) == (
        pynvml.nvmlDeviceGetUUID(handle())
    )
    again = pynvml.nvmlDeviceGetGpuInstanceById(handle(), info.id)
    assert bytes(again) == bytes(gi)


def test_an_occupied_placement_gives_insufficient_resources(
    node: simulator.SimulatedNode,
) -> None:
    node.create_instance(0, "1g.5gb", start=2)
    code = code_of(
        pynvml.nvmlDeviceCreateGpuInstanceWithPlacement,
        handle(),
        THREE_G,
        placement(0, 4),
    )
    assert code == pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES


def test_what_is_no_placement_is_an_invalid_argument(
    node: simulator.SimulatedNode,
) -> None:
    for start, size in ((1, 4), (0, 3), (8, 4)):
        code = code_of(
            pynvml.nvmlDeviceCreateGpuInstanceWithPlacement,
            handle(),
            THREE_G,
            placement(start, size),
        )
        assert code == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_the_impossible_layout_is_refused_at_its_last_instance(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle()
    for _ in range(2):
        pynvml.nvmlDeviceCreateGpuInstance(gpu, THREE_G)
    assert pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity(gpu, ONE_G) == 0
    code = code_of(pynvml.nvmlDeviceCreateGpuInstance, gpu, ONE_G)
    assert code == pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES


def test_no_instance_is_created_while_mig_mode_is_off(
    node: simulator.SimulatedNode,
) -> None:
    code = code_of(pynvml.nvmlDeviceCreateGpuInstance, handle(1), ONE_G)
    assert code == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_a_profile_of_another_model_is_an_invalid_argument(
    node: simulator.SimulatedNode,
) -> None:
    code = code_of(pynvml.nvmlDeviceCreateGpuInstance, handle(), 47)
    assert code == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_compute_instances_go_before_their_gpu_instance(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), THREE_G)
    ci = pynvml.nvmlGpuInstanceCreateComputeInstance(gi, 2)
    assert code_of(pynvml.nvmlGpuInstanceDestroy, gi) == IN_USE
    pynvml.nvmlComputeInstanceDestroy(ci)
    pynvml.nvmlGpuInstanceDestroy(gi)
    assert starts(handle(), THREE_G) == []


def test_handles_of_what_was_destroyed_are_invalid(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), THREE_G)
    ci = pynvml.nvmlGpuInstanceCreateComputeInstance(gi, 2)
    node.clear(0)
    node.create_instance(0, "3g.20gb")
    invalid = pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert code_of(pynvml.nvmlGpuInstanceGetInfo, gi) == invalid
    assert code_of(pynvml.nvmlGpuInstanceDestroy, gi) == invalid
    assert code_of(pynvml.nvmlComputeInstanceGetInfo, ci) == invalid


def test_gpu_instance_ids_are_used_again_and_mig_uuids_are_not(
    node: simulator.SimulatedNode,
) -> None:
    seen = []
    for _ in range(2):
        gi_id = node.create_instance(0, "3g.20gb")
        mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle(), 0)
        seen.append((gi_id, pynvml.nvmlDeviceGetUUID(mig)))
        node.destroy_instance(0, gi_id)
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] != seen[1][1]


def test_compute_instances_share_a_gpu_instance(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), THREE_G)
    assert capacities(gi) == [3, 1, 1]
    pynvml.nvmlGpuInstanceCreateComputeInstance(gi, 0)
    pynvml.nvmlGpuInstanceCreateComputeInstanceWithPlacement(
        gi, 0, placement(2, 1)
    )
    infos = [pynvml.nvmlComputeInstanceGetInfo(ci) for ci in ci_handles(gi, 0)]
    assert [(i.id, i.placement.start) for i in infos] == [(0, 0), (1, 2)]
    assert capacities(gi) == [1, 0, 0]
    code = code_of(pynvml.nvmlGpuInstanceCreateComputeInstance, gi, 2)
    assert code == pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES


def capacities(gi: Any) -> list[int]:
    return [
        pynvml.nvmlGpuInstanceGetComputeInstanceRemainingCapacity(gi, item)
        for item in (0, 1, 2)
    ]


def test_compute_instance_profiles_have_names(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), THREE_G)
    names = {}
    for enum in range(pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
        try:
            info = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(
                gi, enum, pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
            )
        except pynvml.NVMLError_NotSupported:
            continue
        names[info.id] = (info.name, info.multiprocessorCount)
    assert names == {
        0: ("MIG 1c.3g.20gb", 14),
        1: ("MIG 2c.3g.20gb", 28),
        2: ("MIG 3g.20gb", 42),
    }


def test_compute_instance_placements_are_told(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), THREE_G)
    count = ctypes.c_uint(0)
    array = (pynvml.c_nvmlComputeInstancePlacement_t * 7)()
    pynvml.nvmlGpuInstanceGetComputeInstancePossiblePlacements(
        gi, 0, ctypes.byref(array), ctypes.byref(count)
    )
    found = [(item.start, item.size) for item in array[: count.value]]
    assert found == [(0, 1), (1, 1), (2, 1)]


def test_a_mig_device_knows_where_it_belongs(
    node: simulator.SimulatedNode,
) -> None:
    first = node.create_instance(0, "3g.20gb")
    node.create_instance(
        0, "3g.20gb", compute_instances=["2c.3g.20gb", "1c.3g.20gb"]
    )
    gpu = handle()
    migs = [
        pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, i) for i in range(3)
    ]
    assert code_of(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, 3) == (
        pynvml.NVML_ERROR_NOT_FOUND
    )
    assert pynvml.nvmlDeviceIsMigDeviceHandle(migs[0]).value == 1
    assert pynvml.nvmlDeviceIsMigDeviceHandle(gpu).value == 0
    ids = [
        (
            pynvml.nvmlDeviceGetGpuInstanceId(mig) == first,
            pynvml.nvmlDeviceGetComputeInstanceId(mig),
        )
        for mig in migs
    ]
    assert sorted(ids) == [(False, 0), (False, 1), (True, 0)]
    parent = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(migs[0])
    assert bytes(parent) == bytes(gpu)
    uuid = pynvml.nvmlDeviceGetUUID(migs[0])
    assert uuid.startswith("MIG-")
    again = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    assert bytes(again) == bytes(migs[0])


def test_a_mig_device_has_its_share_of_the_gpu(
    node: simulator.SimulatedNode,
) -> None:
    node.create_instance(0, "3g.20gb", compute_instances=["1c.3g.20gb"])
    mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle(), 0)
    attributes = pynvml.nvmlDeviceGetAttributes(mig)
    assert attributes.multiprocessorCount == 14
    assert attributes.gpuInstanceSliceCount == 3
    assert attributes.computeInstanceSliceCount == 1
    assert attributes.memorySizeMB == 19968
    assert pynvml.nvmlDeviceGetMemoryInfo(mig).total == 19968 << 20
    assert pynvml.nvmlDeviceGetName(mig) == (
        "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb"
    )


def test_an_instance_with_a_process_is_not_destroyed(
    node: simulator.SimulatedNode,
) -> None:
    gi_id = node.create_instance(0, "3g.20gb")
    node.add_process(0, gi_id, 4242)
    gi = pynvml.nvmlDeviceGetGpuInstanceById(handle(), gi_id)
    ci = pynvml.nvmlGpuInstanceGetComputeInstanceById(gi, 0)
    assert code_of(pynvml.nvmlComputeInstanceDestroy, ci) == IN_USE
    assert code_of(pynvml.nvmlGpuInstanceDestroy, gi) == IN_USE
    node.remove_process(0, gi_id, 4242)
    pynvml.nvmlComputeInstanceDestroy(ci)
    pynvml.nvmlGpuInstanceDestroy(gi)


def test_a_process_on_a_gpu_instance_without_compute_keeps_it(
    node: simulator.SimulatedNode,
) -> None:
    gi_id = node.create_instance(0, "3g.20gb", compute_instances=False)
    node.add_process(0, gi_id, 4242)
    gi = pynvml.nvmlDeviceGetGpuInstanceById(handle(), gi_id)
    assert code_of(pynvml.nvmlGpuInstanceDestroy, gi) == IN_USE


def test_processes_are_listed_on_the_gpu_and_on_their_mig_device(
    node: simulator.SimulatedNode,
) -> None:
    for pid in (11, 22):
        node.add_process(0, node.create_instance(0, "3g.20gb"), pid)
    gpu = handle()
    everywhere = pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)
    assert {process.pid for process in everywhere} == {11, 22}
    per_device = []
    for index in range(2):
        mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
        (process,) = pynvml.nvmlDeviceGetComputeRunningProcesses(mig)
        assert process.gpuInstanceId == pynvml.nvmlDeviceGetGpuInstanceId(mig)
        per_device.append(process.pid)
    assert sorted(per_device) == [11, 22]
    assert pynvml.nvmlDeviceGetGraphicsRunningProcesses(gpu) == []


def test_a_compute_process_on_the_whole_gpu_belongs_to_no_instance(
    node: simulator.SimulatedNode,
) -> None:
    node.add_process(1, None, 33)
    (process,) = pynvml.nvmlDeviceGetComputeRunningProcesses(handle(1))
    assert process.gpuInstanceId == 0xFFFFFFFF


def test_a_device_is_found_by_uuid_and_by_either_pci_address(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle(1)
    pci = pynvml.nvmlDeviceGetPciInfo(gpu)
    assert pci.busId == "00000000:42:00.0"
    for found in (
        pynvml.nvmlDeviceGetHandleByUUID(pynvml.nvmlDeviceGetUUID(gpu)),
        pynvml.nvmlDeviceGetHandleByPciBusId(pci.busId),
        pynvml.nvmlDeviceGetHandleByPciBusId("0000:42:00.0"),
    ):
        assert pynvml.nvmlDeviceGetIndex(found) == 1
        assert pynvml.nvmlDeviceGetMinorNumber(found) == 1


def test_a_handle_that_is_none_is_an_invalid_argument(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), ONE_G)
    for wrong in (pynvml.c_nvmlDevice_t(), None, 5, 1 << 62, gi):
        for function in (
            pynvml.nvmlDeviceGetName,
            pynvml.nvmlDeviceGetMigMode,
            pynvml.nvmlComputeInstanceGetInfo,
        ):
            code = code_of(function, wrong)
            assert code == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_a_struct_of_an_unknown_version_is_refused(
    node: simulator.SimulatedNode,
) -> None:
    info = pynvml.c_nvmlGpuInstanceProfileInfo_v2_t()
    info.version = 0
    entry = pynvml.nvmlLib.nvmlDeviceGetGpuInstanceProfileInfoV
    assert entry(handle(), 0, ctypes.byref(info)) == (
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    )


def test_an_array_that_is_too_small_is_not_overrun(
    node: simulator.SimulatedNode,
) -> None:
    for _ in range(2):
        node.create_instance(0, "1g.5gb")
    count = ctypes.c_uint(0)
    array = (pynvml.c_nvmlGpuInstance_t * 1)()
    code = code_of(
        pynvml.nvmlDeviceGetGpuInstances,
        handle(),
        ONE_G,
        array,
        ctypes.byref(count),
    )
    assert code == pynvml.NVML_ERROR_INSUFFICIENT_SIZE


def test_a_function_that_is_not_simulated_is_not_found(
    node: simulator.SimulatedNode,
) -> None:
    code = code_of(pynvml.nvmlDeviceGetFanSpeed, handle())
    assert code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND


def test_without_privilege_instances_are_neither_listed_nor_changed(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), ONE_G)
    node.set_privileged(False)
    denied = pynvml.NVML_ERROR_NO_PERMISSION
    assert code_of(gi_handles, handle(), ONE_G) == denied
    assert code_of(pynvml.nvmlDeviceGetGpuInstanceById, handle(), 9) == denied
    assert code_of(pynvml.nvmlDeviceSetMigMode, handle(), 0) == denied
    assert (
        code_of(pynvml.nvmlDeviceCreateGpuInstance, handle(), ONE_G) == denied
    )
    assert code_of(pynvml.nvmlGpuInstanceDestroy, gi) == denied
    assert pynvml.nvmlDeviceGetMigMode(handle()) == [1, 1]
