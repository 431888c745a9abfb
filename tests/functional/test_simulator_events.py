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

"""Events reach whoever waits, in whatever process or thread."""

import collections.abc
import multiprocessing
import pathlib
import threading
import time
from typing import Any

import pynvml
import pytest

from mig_placement import simulator
from mig_placement.hardware import session
from mig_placement.simulator import watch

MIG = pynvml.nvmlEventMigConfigChange
XID = pynvml.nvmlEventTypeXidCriticalError
WHOLE = 0xFFFFFFFF
LONG_MS = 10_000


@pytest.fixture
def node(
    tmp_path: pathlib.Path,
) -> collections.abc.Iterator[simulator.SimulatedNode]:
    made = simulator.SimulatedNode(tmp_path / "node.json")
    made.create(["A100-40GB", "H100-80GB"], mig=True)
    simulator.install(made.path)
    pynvml.nvmlInit()
    yield made
    simulator.uninstall()


def event_set(types: int = MIG | XID, gpus: tuple[int, ...] = (0, 1)) -> Any:
    made = pynvml.nvmlEventSetCreate()
    for index in gpus:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceRegisterEvents(handle, types, made)
    return made


def told(event: Any) -> tuple[int, ...]:
    return (
        pynvml.nvmlDeviceGetIndex(event.device),
        event.eventType,
        event.eventData,
        event.gpuInstanceId,
        event.computeInstanceId,
    )


def everything(events: Any) -> list[tuple[int, ...]]:
    found = []
    while True:
        try:
            found.append(told(pynvml.nvmlEventSetWait_v2(events, 0)))
        except pynvml.NVMLError_Timeout:
            return found


def in_child(target: Any, *arguments: Any) -> Any:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=target, args=arguments)
    child.start()
    return child


def wait_in_child(path: str, ready: Any, results: Any) -> None:
    simulator.install(path)
    pynvml.nvmlInit()
    events = event_set()
    ready.set()
    event = pynvml.nvmlEventSetWait_v2(events, LONG_MS)
    results.put((told(event), time.monotonic()))


@pytest.fixture(params=["inotify", "polling"])
def notice(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """How changes are noticed."""
    # A second look after a second would hide that nothing woke it.
    monkeypatch.setattr(watch, "_LONGEST_MS", 60_000)
    if request.param == "polling":
        monkeypatch.setattr(watch, "_inotify", lambda _directory: None)
    return str(request.param)


@pytest.mark.usefixtures("notice")
def test_a_waiter_in_another_process_is_woken(
    node: simulator.SimulatedNode,
) -> None:
    context = multiprocessing.get_context("fork")
    ready, results = context.Event(), context.Queue()
    child = in_child(wait_in_child, node.path, ready, results)
    assert ready.wait(10)
    time.sleep(0.05)
    sent = time.monotonic()
    node.create_instance(1, "1g.10gb", compute_instances=False)
    event, woken = results.get(timeout=10)
    child.join(10)
    assert event == (1, MIG, 0, WHOLE, WHOLE)
    # The same clock in all processes; the order of magnitude counts.
    assert woken - sent < 1


def test_no_event_after_registration_is_lost(
    node: simulator.SimulatedNode,
) -> None:
    node.send_xid(0, 31)
    events = event_set()
    gi_id = node.create_instance(0, "3g.20gb")
    node.send_xid(0, 94, gi=gi_id, ci=0)
    node.send_xid(1, 79)
    assert everything(events) == [
        (0, MIG, 0, WHOLE, WHOLE),
        (0, MIG, 0, WHOLE, WHOLE),
        (0, XID, 94, gi_id, 0),
        (1, XID, 79, WHOLE, WHOLE),
    ]


def test_what_happened_before_registration_is_not_told(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set(gpus=())
    node.send_xid(0, 31)
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlDeviceRegisterEvents(handle, XID, events)
    node.send_xid(0, 43)
    assert everything(events) == [(0, XID, 43, WHOLE, WHOLE)]


def test_only_registered_types_and_gpus_are_told(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set(XID, (1,))
    node.create_instance(1, "1g.10gb")
    node.send_xid(0, 31)
    node.send_xid(1, 48)
    assert everything(events) == [(1, XID, 48, WHOLE, WHOLE)]


def test_every_change_of_mode_or_geometry_is_told(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set(MIG, (0,))
    gi_id = node.create_instance(0, "1g.5gb", compute_instances=False)
    ci_id = node.create_compute_instance(0, gi_id, "1g.5gb")
    node.destroy_compute_instance(0, gi_id, ci_id)
    node.destroy_instance(0, gi_id)
    node.set_mig(0, False)
    node.set_mig(0, False)
    node.reset_gpu(0, force=True)
    assert len(everything(events)) == 6


def test_a_reboot_and_a_new_node_are_told_to_old_waiters(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set(MIG, (0,))
    node.reboot()
    assert len(everything(events)) == 1
    node.create(["A30-24GB"], overwrite=True)
    event = pynvml.nvmlEventSetWait_v2(events, 0)
    assert event.eventType == MIG
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlDeviceGetUUID(event.device)


def test_a_waiter_of_one_process_hears_what_nvml_does_in_another(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set()
    child = in_child(_set_mode, node.path)
    event = pynvml.nvmlEventSetWait_v2(events, LONG_MS)
    child.join(10)
    assert told(event) == (1, MIG, 0, WHOLE, WHOLE)


def _set_mode(path: str) -> None:
    simulator.install(path)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(1)
    pynvml.nvmlDeviceSetMigMode(handle, 0)


@pytest.mark.usefixtures("notice")
@pytest.mark.parametrize("milliseconds", [0, 1, 30])
def test_a_wait_without_events_times_out(
    node: simulator.SimulatedNode, milliseconds: int
) -> None:
    events = event_set()
    start = time.monotonic()
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait_v2(events, milliseconds)
    assert milliseconds / 1000 <= time.monotonic() - start < 5


def test_a_change_without_events_does_not_end_a_wait(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set(XID)
    timer = threading.Timer(0.02, node.set_privileged, [True])
    timer.start()
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait_v2(events, 100)
    timer.join()


@pytest.mark.usefixtures("notice")
def test_a_wait_spends_no_processor(node: simulator.SimulatedNode) -> None:
    events = event_set(XID)
    node.create_instance(0, "1g.5gb")
    start = time.thread_time()
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait_v2(events, 500)
    assert time.thread_time() - start < 0.2


def test_a_lost_gpu_wakes_its_waiter(node: simulator.SimulatedNode) -> None:
    events = event_set()
    node.lose_gpu(1)
    event = pynvml.nvmlEventSetWait_v2(events, LONG_MS)
    assert (event.eventType, event.eventData) == (XID, 79)
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        pynvml.nvmlDeviceGetUUID(event.device)


def test_with_a_lost_gpu_a_set_only_tells_what_had_come(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set()
    node.send_xid(0, 94)
    node.lose_gpu(1)
    for xid in (94, 79):
        assert pynvml.nvmlEventSetWait_v2(events, 0).eventData == xid
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        pynvml.nvmlEventSetWait_v2(events, LONG_MS)
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait_v2(event_set(gpus=(0,)), 0)


class Waiter(threading.Thread):
    """Waits in a thread and keeps the return code."""

    def __init__(self, events: Any) -> None:
        super().__init__(daemon=True)
        self.events = events
        self.code = 0
        self.start()

    def run(self) -> None:
        try:
            pynvml.nvmlEventSetWait_v2(self.events, 60_000)
        except pynvml.NVMLError as error:
            self.code = error.value


def _shut_down(_events: Any) -> None:
    pynvml.nvmlShutdown()


def _uninstall(_events: Any) -> None:
    simulator.uninstall()


@pytest.mark.usefixtures("notice")
@pytest.mark.parametrize(
    ("end", "code"),
    [
        (pynvml.nvmlEventSetFree, pynvml.NVML_ERROR_INVALID_ARGUMENT),
        (_shut_down, pynvml.NVML_ERROR_UNINITIALIZED),
        (_uninstall, pynvml.NVML_ERROR_UNINITIALIZED),
    ],
    ids=["free", "shutdown", "uninstall"],
)
def test_a_wait_ends_when_another_thread_ends_the_set(
    node: simulator.SimulatedNode, end: Any, code: int
) -> None:
    events = event_set()
    waiter = Waiter(events)
    time.sleep(0.05)
    end(events)
    waiter.join(10)
    assert not waiter.is_alive()
    assert waiter.code == code


@pytest.mark.usefixtures("notice")
def test_a_wait_ends_when_the_driver_goes(
    node: simulator.SimulatedNode,
) -> None:
    waiter = Waiter(event_set())
    time.sleep(0.05)
    node.set_driver(False)
    waiter.join(10)
    assert waiter.code == pynvml.NVML_ERROR_UNKNOWN


def test_a_wait_lets_other_threads_run(node: simulator.SimulatedNode) -> None:
    waiter = Waiter(event_set())
    for _ in range(100):
        assert pynvml.nvmlDeviceGetCount() == 2
    node.send_xid(0, 31)
    waiter.join(10)
    assert not waiter.is_alive()


def test_a_freed_set_is_an_invalid_argument(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set()
    pynvml.nvmlEventSetFree(events)
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlEventSetFree(events)
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlEventSetWait_v2(events, 0)


def test_unknown_event_types_are_not_supported(
    node: simulator.SimulatedNode,
) -> None:
    with pytest.raises(pynvml.NVMLError_NotSupported):
        event_set(1 << 40)


def test_sets_leave_no_descriptor_open(
    node: simulator.SimulatedNode,
) -> None:
    def count() -> int:
        return len(list(pathlib.Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(10):
        pynvml.nvmlEventSetFree(event_set())
    assert count() == before


def test_a_flood_of_events_keeps_the_newest(
    node: simulator.SimulatedNode,
) -> None:
    events = event_set(XID, (0,))
    for xid in range(300):
        node.send_xid(0, xid)
    xids = [event[2] for event in everything(events)]
    assert xids == list(range(300 - len(xids), 300))
    assert len(xids) > 200


def test_a_session_ends_though_its_events_cannot_be_let_go(
    node: simulator.SimulatedNode,
) -> None:
    """As where the driver has lost the set: NVML left open blocks resets."""
    pynvml.nvmlShutdown()
    made = session.Session(with_events=True)
    waiter = made._waiter
    assert waiter is not None
    waiter.free()
    with pytest.raises(pynvml.NVMLError):
        waiter.free()
    made.close()
    node.reset_gpu(0)
