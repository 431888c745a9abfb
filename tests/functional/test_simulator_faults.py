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

"""Faults: lost GPUs, no driver, calls that fail, are slow or kill."""

import collections.abc
import multiprocessing
import pathlib
import signal
import threading
import time
from typing import Any

import pynvml
import pytest

from mig_placement import simulator

ONE_G = 19


@pytest.fixture
def node(
    tmp_path: pathlib.Path,
) -> collections.abc.Iterator[simulator.SimulatedNode]:
    made = simulator.SimulatedNode(tmp_path / "node.json")
    made.create(["A100-40GB", "A100-40GB"], mig=True)
    simulator.install(made.path)
    yield made
    simulator.uninstall()


@pytest.fixture
def nvml(node: simulator.SimulatedNode) -> collections.abc.Iterator[None]:
    pynvml.nvmlInit()
    yield
    pynvml.nvmlShutdown()


def handle(index: int = 0) -> Any:
    return pynvml.nvmlDeviceGetHandleByIndex(index)


def code_of(function: Any, *arguments: Any) -> int:
    with pytest.raises(pynvml.NVMLError) as error:
        function(*arguments)
    return int(error.value.value)


def in_child(target: Any, *arguments: Any) -> int | None:
    """The exit code of a process that does nothing else."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=target, args=arguments)
    child.start()
    child.join(30)
    return child.exitcode


def create_two(path: str) -> None:
    simulator.install(path)
    pynvml.nvmlInit()
    for _ in range(2):
        pynvml.nvmlDeviceCreateGpuInstance(handle(), ONE_G)


def test_before_init_nothing_is_initialised(
    node: simulator.SimulatedNode,
) -> None:
    for function in (pynvml.nvmlDeviceGetCount, pynvml.nvmlShutdown):
        assert code_of(function) == pynvml.NVML_ERROR_UNINITIALIZED


def test_init_is_counted(node: simulator.SimulatedNode) -> None:
    pynvml.nvmlInit()
    pynvml.nvmlInit()
    pynvml.nvmlShutdown()
    assert pynvml.nvmlDeviceGetCount() == 2
    pynvml.nvmlShutdown()
    code = code_of(pynvml.nvmlDeviceGetCount)
    assert code == pynvml.NVML_ERROR_UNINITIALIZED


def test_without_a_driver_init_fails(node: simulator.SimulatedNode) -> None:
    node.set_driver(False)
    code = code_of(pynvml.nvmlInit)
    assert code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    node.set_driver(True)
    pynvml.nvmlInit()
    pynvml.nvmlShutdown()


def test_without_a_state_file_there_is_no_driver(
    node: simulator.SimulatedNode,
) -> None:
    node.delete()
    code = code_of(pynvml.nvmlInit)
    assert code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED


def test_with_a_broken_state_file_init_fails(
    node: simulator.SimulatedNode,
) -> None:
    pathlib.Path(node.path).write_text("{")
    assert code_of(pynvml.nvmlInit) == pynvml.NVML_ERROR_UNKNOWN


@pytest.mark.usefixtures("nvml")
@pytest.mark.parametrize("how", ["unload", "delete", "break"])
def test_a_driver_that_goes_away_fails_every_call(
    node: simulator.SimulatedNode, how: str
) -> None:
    gpu = handle()
    if how == "unload":
        node.set_driver(False)
    elif how == "delete":
        node.delete()
    else:
        pathlib.Path(node.path).write_text("[]")
    for function, arguments in (
        (pynvml.nvmlDeviceGetCount, ()),
        (pynvml.nvmlDeviceGetName, (gpu,)),
        (pynvml.nvmlDeviceCreateGpuInstance, (gpu, ONE_G)),
        (pynvml.nvmlEventSetCreate, ()),
    ):
        assert code_of(function, *arguments) == pynvml.NVML_ERROR_UNKNOWN


@pytest.mark.usefixtures("nvml")
def test_every_call_on_a_lost_gpu_says_so(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle()
    uuid = pynvml.nvmlDeviceGetUUID(gpu)
    gi = pynvml.nvmlDeviceCreateGpuInstance(gpu, ONE_G)
    node.lose_gpu(0)
    for function, arguments in (
        (pynvml.nvmlDeviceGetHandleByIndex, (0,)),
        (pynvml.nvmlDeviceGetHandleByUUID, (uuid,)),
        (pynvml.nvmlDeviceGetMigMode, (gpu,)),
        (pynvml.nvmlDeviceGetUUID, (gpu,)),
        (pynvml.nvmlGpuInstanceGetInfo, (gi,)),
        (pynvml.nvmlDeviceCreateGpuInstance, (gpu, ONE_G)),
    ):
        assert code_of(function, *arguments) == (pynvml.NVML_ERROR_GPU_IS_LOST)
    assert pynvml.nvmlDeviceGetCount() == 2
    assert pynvml.nvmlDeviceGetMigMode(handle(1)) == [1, 1]


@pytest.mark.usefixtures("nvml")
def test_a_gpu_that_returns_has_no_instances(
    node: simulator.SimulatedNode,
) -> None:
    node.create_instance(0, "1g.5gb")
    node.lose_gpu(0)
    node.return_gpu(0)
    assert pynvml.nvmlDeviceGetMigMode(handle()) == [1, 1]
    left = pynvml.nvmlDeviceGetGpuInstanceRemainingCapacity(handle(), ONE_G)
    assert left == 7


@pytest.mark.usefixtures("nvml")
def test_the_kth_next_change_fails_and_only_that(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle()
    pynvml.nvmlDeviceCreateGpuInstance(gpu, ONE_G)
    node.fail_next(2, pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES)
    pynvml.nvmlDeviceCreateGpuInstance(gpu, ONE_G)
    assert code_of(pynvml.nvmlDeviceCreateGpuInstance, gpu, ONE_G) == (
        pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES
    )
    pynvml.nvmlDeviceCreateGpuInstance(gpu, ONE_G)
    assert len(node.summary()["gpus"][0]["instances"]) == 3


@pytest.mark.usefixtures("nvml")
def test_changes_are_counted_also_those_refused(
    node: simulator.SimulatedNode,
) -> None:
    gpu = handle()
    gi = pynvml.nvmlDeviceCreateGpuInstance(gpu, 0)
    ci = pynvml.nvmlGpuInstanceCreateComputeInstance(gi, 4)
    code_of(pynvml.nvmlDeviceCreateGpuInstance, gpu, ONE_G)
    pynvml.nvmlComputeInstanceDestroy(ci)
    pynvml.nvmlGpuInstanceDestroy(gi)
    pynvml.nvmlDeviceSetMigMode(gpu, 1)
    node.create_instance(0, "1g.5gb")
    assert node.mutations == 6


@pytest.mark.usefixtures("nvml")
def test_a_gi_destroy_can_be_stuck_after_its_ci_went(
    node: simulator.SimulatedNode,
) -> None:
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), 0)
    ci = pynvml.nvmlGpuInstanceCreateComputeInstance(gi, 4)
    node.refuse_gi_destroy(1)
    pynvml.nvmlComputeInstanceDestroy(ci)
    code = code_of(pynvml.nvmlGpuInstanceDestroy, gi)
    assert code == pynvml.NVML_ERROR_IN_USE
    pynvml.nvmlGpuInstanceDestroy(gi)


@pytest.mark.parametrize(("after", "left"), [(False, 1), (True, 2)])
def test_the_kth_next_change_kills_its_process(
    node: simulator.SimulatedNode, after: bool, left: int
) -> None:
    node.kill_next(2, after=after)
    assert in_child(create_two, node.path) == -signal.SIGKILL
    assert len(node.summary()["gpus"][0]["instances"]) == left
    assert node.mutations == 2
    # The fault is spent, and the dead process left no lock behind.
    assert in_child(create_two, node.path) == 0


@pytest.mark.usefixtures("nvml")
def test_a_delay_is_taken_by_every_change(
    node: simulator.SimulatedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    node.set_delay(250)
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), ONE_G)
    pynvml.nvmlGpuInstanceDestroy(gi)
    assert slept == [0.25, 0.25]


def create_all(gpu: int, count: int) -> None:
    for _ in range(count):
        pynvml.nvmlDeviceCreateGpuInstance(handle(gpu), ONE_G)


@pytest.mark.usefixtures("nvml")
@pytest.mark.parametrize(("second", "together"), [(0, 1), (1, 2)])
def test_gpus_change_in_parallel_and_one_gpu_in_order(
    node: simulator.SimulatedNode,
    monkeypatch: pytest.MonkeyPatch,
    second: int,
    together: int,
) -> None:
    sleeping: list[int] = []
    most: list[int] = []
    really_sleep = time.sleep

    def sleep(seconds: float) -> None:
        sleeping.append(1)
        most.append(len(sleeping))
        really_sleep(seconds)
        sleeping.pop()

    node.set_delay(50)
    monkeypatch.setattr("time.sleep", sleep)
    threads = [
        threading.Thread(target=create_all, args=(gpu, 2))
        for gpu in (0, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert max(most) == together
    assert node.mutations == 4


@pytest.mark.usefixtures("nvml")
def test_cleared_faults_befall_nobody(node: simulator.SimulatedNode) -> None:
    node.fail_next(1)
    node.refuse_gi_destroy(3)
    node.clear_faults()
    gi = pynvml.nvmlDeviceCreateGpuInstance(handle(), ONE_G)
    pynvml.nvmlGpuInstanceDestroy(gi)


@pytest.mark.usefixtures("nvml")
def test_an_error_without_a_text_in_pynvml_has_ours(
    node: simulator.SimulatedNode,
) -> None:
    text = str(pynvml.NVMLError(pynvml.NVML_ERROR_IN_USE))
    assert text == "In use by another client"


def test_uninstalling_gives_back_the_library_that_was_there(
    tmp_path: pathlib.Path,
) -> None:
    before = pynvml.nvmlLib
    simulator.install(str(tmp_path / "one"))
    simulator.install(str(tmp_path / "two"))
    simulator.uninstall()
    assert pynvml.nvmlLib is before
    assert pynvml._nvmlGetFunctionPointer_cache == {}
    simulator.uninstall()
