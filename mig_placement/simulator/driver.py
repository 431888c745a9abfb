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

"""What all entry points share: init, finding handles, counted changes."""

import collections.abc
import os
import signal
import threading
import time
from typing import Any
from typing import TypeVar

from mig_placement.simulator import codes
from mig_placement.simulator import index as indexes
from mig_placement.simulator import state as states
from mig_placement.simulator import store

_T = TypeVar("_T")


class Driver:
    """The node as one process's NVML has it.

    Everything here raises Refused where NVML returns an error.

    :ivar ended: called when the last user shuts NVML down.
    """

    def __init__(self, path: str) -> None:
        self.store = store.Store(path, indexes.Index)
        self.ended: collections.abc.Callable[[], None] | None = None
        self._references = 0
        self._session: store.Session | None = None
        self._lock = threading.Lock()
        self._busy: dict[int, threading.Lock] = {}

    def initialise(self) -> None:
        """Count one more user; the first must find a driver."""
        with self._lock:
            if not self._references:
                self._session = self._open()
            self._references += 1

    def _open(self) -> store.Session | None:
        try:
            present = self.store.read().state.driver_present
        except store.Absent:
            present = False
        except store.Forbidden:
            raise codes.Refused(codes.NO_PERMISSION) from None
        except codes.SimulatorError as error:
            raise codes.Refused(codes.UNKNOWN, str(error)) from error
        if not present:
            raise codes.Refused(codes.DRIVER_NOT_LOADED)
        try:
            return store.Session(self.store.path)
        except OSError:
            # Only a reset would miss it, and the directory is not ours.
            return None

    def shutdown(self) -> None:
        """Count one user less; the last one ends all waiting."""
        with self._lock:
            if not self._references:
                raise codes.Refused(codes.UNINITIALIZED)
            self._references -= 1
            last = not self._references
        if last:
            self.close()

    def close(self) -> None:
        """Let everything go, whoever still counts on it."""
        with self._lock:
            self._references = 0
            session, self._session = self._session, None
        if self.ended is not None:
            self.ended()
        if session is not None:
            session.close()

    def index(self) -> indexes.Index:
        """The node as it is now."""
        if not self._references:
            raise codes.Refused(codes.UNINITIALIZED)
        try:
            index = self.store.read()
        except codes.SimulatorError as error:
            raise codes.Refused(codes.UNKNOWN, str(error)) from error
        if not index.state.driver_present:
            raise codes.Refused(codes.UNKNOWN, "the driver is gone")
        return index

    def device(self, handle: Any) -> indexes.Device:
        """The GPU or MIG device of a handle."""
        device = self.index().devices.get(key(handle))
        if device is None:
            raise codes.Refused(codes.INVALID_ARGUMENT)
        if device.fault:
            raise codes.Refused(device.fault)
        return device

    def card(self, handle: Any) -> indexes.Card:
        """The GPU of a handle, which may not be a MIG device's."""
        device = self.device(handle)
        if type(device) is not indexes.Card:
            raise codes.Refused(codes.INVALID_ARGUMENT)
        return device

    def mig_device(self, handle: Any) -> indexes.MigDevice:
        """The MIG device of a handle, which may not be a GPU's."""
        device = self.device(handle)
        if type(device) is not indexes.MigDevice:
            raise codes.Refused(codes.INVALID_ARGUMENT)
        return device

    def instance(self, handle: Any) -> indexes.Instance:
        """The GPU instance of a handle."""
        instance = self.index().instances.get(key(handle))
        if instance is None:
            raise codes.Refused(codes.INVALID_ARGUMENT)
        if instance.card.fault:
            raise codes.Refused(instance.card.fault)
        return instance

    def compute(self, handle: Any) -> indexes.Compute:
        """The compute instance of a handle."""
        compute = self.index().compute.get(key(handle))
        if compute is None:
            raise codes.Refused(codes.INVALID_ARGUMENT)
        if compute.instance.card.fault:
            raise codes.Refused(compute.instance.card.fault)
        return compute

    def change(
        self,
        card: indexes.Card,
        operation: collections.abc.Callable[[states.State, states.Gpu], _T],
    ) -> _T:
        """Do a mutating call on a GPU: delayed, counted, with its faults.

        A GPU does one change at a time; several GPUs work in parallel.
        """
        serial = card.gpu.serial
        with self._busy.setdefault(serial, threading.Lock()):
            delay = self.index().state.delay_ms
            if delay:
                time.sleep(delay / 1000)
            try:
                return self._counted(serial, operation)
            except store.Forbidden:
                raise codes.Refused(codes.NO_PERMISSION) from None
            except codes.SimulatorError as error:
                raise codes.Refused(codes.UNKNOWN, str(error)) from error

    def _counted(
        self,
        serial: int,
        operation: collections.abc.Callable[[states.State, states.Gpu], _T],
    ) -> _T:
        refusal: codes.Refused | None = None
        with self.store.change() as state:
            fault = _next_fault(state)
            if fault is not None and fault.action == "kill_before":
                self.store.write(state)
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                result = operation(state, _ready(state, serial, fault))
            except codes.Refused as error:
                # The call counts all the same, so the state is written.
                refusal = error
        if fault is not None and fault.action == "kill_after":
            os.kill(os.getpid(), signal.SIGKILL)
        if refusal is not None:
            raise refusal
        return result


def _next_fault(state: states.State) -> states.Fault | None:
    """Count a mutating call; the fault that befalls it, if any."""
    state.mutations += 1
    due = [fault for fault in state.faults if fault.at == state.mutations]
    state.faults = [
        fault for fault in state.faults if fault.at > state.mutations
    ]
    return due[0] if due else None


def _ready(
    state: states.State, serial: int, fault: states.Fault | None
) -> states.Gpu:
    """The GPU, where it can be changed."""
    if fault is not None and fault.action == "fail":
        raise codes.Refused(fault.code)
    if not state.driver_present:
        raise codes.Refused(codes.UNKNOWN)
    for gpu in state.gpus:
        if gpu.serial == serial:
            if gpu.lost:
                raise codes.Refused(codes.GPU_IS_LOST)
            if not state.privileged:
                raise codes.Refused(codes.NO_PERMISSION)
            return gpu
    raise codes.Refused(codes.INVALID_ARGUMENT)


def key(handle: Any) -> bytes:
    """A handle's bytes; no handle at all gives none that is known."""
    if handle is None or isinstance(handle, int):
        return b""
    return bytes(handle)
