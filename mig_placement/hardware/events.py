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
"""Waiting for NVML's events: MIG configuration changes and XIDs."""

import contextlib
import time

import pynvml

from mig_placement.hardware import model

_WANTED = (
    pynvml.nvmlEventMigConfigChange | pynvml.nvmlEventTypeXidCriticalError
)
_WHOLE_GPU = 0xFFFFFFFF


class Waiter:
    """An NVML event set over all GPUs that can be asked."""

    def __init__(self) -> None:
        self._set = pynvml.nvmlEventSetCreate()
        self._registered = [
            self._register(pynvml.nvmlDeviceGetHandleByIndex(index))
            for index in range(pynvml.nvmlDeviceGetCount())
            if _answers(index)
        ]

    def _register(self, handle: object) -> bool:
        supported = pynvml.nvmlDeviceGetSupportedEventTypes(handle) & _WANTED
        if supported:
            pynvml.nvmlDeviceRegisterEvents(handle, supported, self._set)
        return bool(supported)

    def wait(self, timeout: float) -> tuple[model.Event, ...]:
        """Events that came within ``timeout`` seconds; none at its end."""
        if not any(self._registered):
            # NVML waits on an empty set for ever or not at all.
            time.sleep(timeout)
            return ()
        first = self._next(round(timeout * 1000))
        if first is None:
            return ()
        return (first, *self._pending())

    def _pending(self) -> list[model.Event]:
        """What else is queued; one cycle answers a burst of events."""
        events: list[model.Event] = []
        # What fails here fails in the next wait again; what came before it
        # comes only once.
        with contextlib.suppress(pynvml.NVMLError):
            while len(events) < 1000 and (event := self._next(0)) is not None:
                events.append(event)
        return events

    def _next(self, timeout_ms: int) -> model.Event | None:
        try:
            data = pynvml.nvmlEventSetWait_v2(self._set, timeout_ms)
        except pynvml.NVMLError_Timeout:
            return None
        return _event(data)

    def free(self) -> None:
        pynvml.nvmlEventSetFree(self._set)


def _answers(index: int) -> bool:
    try:
        pynvml.nvmlDeviceGetSupportedEventTypes(
            pynvml.nvmlDeviceGetHandleByIndex(index)
        )
    except pynvml.NVMLError:
        return False
    return True


def _event(data: "pynvml.c_nvmlEventData_t") -> model.Event:
    is_xid = data.eventType == pynvml.nvmlEventTypeXidCriticalError
    gi_id = data.gpuInstanceId
    return model.Event(
        gpu_uuid=_uuid(data.device),
        xid=int(data.eventData) if is_xid else None,
        gi_id=None if gi_id == _WHOLE_GPU else int(gi_id),
    )


def _uuid(handle: object) -> str:
    try:
        return str(pynvml.nvmlDeviceGetUUID(handle))
    except pynvml.NVMLError:
        # A GPU that was lost still wakes its waiter.
        return ""
