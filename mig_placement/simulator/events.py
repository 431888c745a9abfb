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

"""NVML event sets, fed by the ring of events in the shared state."""

import dataclasses
import itertools
import threading
import time
from typing import Any

from mig_placement.simulator import codes
from mig_placement.simulator import driver as drivers
from mig_placement.simulator import index as indexes
from mig_placement.simulator import outputs
from mig_placement.simulator import packed
from mig_placement.simulator import state as states
from mig_placement.simulator import watch
from mig_placement.simulator.queries import Entry


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """A GPU's events of some types, from a point in the ring on."""

    gpu: int
    types: int
    since: int

    def wants(self, event: states.Event) -> bool:
        return (
            event.gpu == self.gpu
            and bool(event.type & self.types)
            and event.seq > self.since
        )


class EventSet:
    """What nvmlEventSetCreate makes.

    :ivar ended: the code that waiters get once the set is closed.
    """

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver
        self._seen = driver.index().state.last_event
        self._watch = watch.Watch(driver.store.path)
        self._registrations: list[Registration] = []
        self._lock = threading.Lock()
        self.ended = codes.INVALID_ARGUMENT

    def register(self, gpu: int, types: int) -> None:
        last = self._driver.index().state.last_event
        with self._lock:
            self._registrations.append(Registration(gpu, types, last))

    def wait(self, seconds: float) -> states.Event:
        """The next event.

        :raises Refused: TIMEOUT, or ``ended`` where the set was closed;
            GPU_IS_LOST, as nvml.h says, where that is true of any GPU of
            the set and nothing else is to be told.
        """
        deadline = time.monotonic() + seconds
        with self._watch as sleeper:
            while True:
                # In this order, what happens after the look wakes us.
                sleeper.forget()
                if sleeper.closed:
                    raise codes.Refused(self.ended)
                event = self._next()
                if event is not None:
                    return event
                if self._has_lost():
                    raise codes.Refused(codes.GPU_IS_LOST)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise codes.Refused(codes.TIMEOUT)
                sleeper.sleep(left)

    def _next(self) -> states.Event | None:
        with self._lock:
            for event in self._driver.index().state.events:
                if event.seq > self._seen and self._wanted(event):
                    self._seen = event.seq
                    return event
        return None

    def _has_lost(self) -> bool:
        gpus = self._driver.index().state.gpus
        lost = {gpu.serial for gpu in gpus if gpu.lost}
        with self._lock:
            return any(item.gpu in lost for item in self._registrations)

    def _wanted(self, event: states.Event) -> bool:
        return any(item.wants(event) for item in self._registrations)

    def close(self, code: int) -> None:
        self.ended = code
        self._watch.close()


class Events:
    """nvmlEventSet* and what goes with it."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver
        self._sets: dict[bytes, EventSet] = {}
        self._numbers = itertools.count(1)
        driver.ended = self._end_all

    def entries(self) -> dict[str, Entry]:
        return {
            "nvmlDeviceGetSupportedEventTypes": self.supported,
            "nvmlDeviceRegisterEvents": self.register,
            "nvmlEventSetCreate": self.create,
            "nvmlEventSetWait": self.wait,
            "nvmlEventSetWait_v2": self.wait,
            "nvmlEventSetFree": self.free,
        }

    def supported(self, handle: Any, reference: Any) -> int:
        self._driver.card(handle)
        outputs.put_number(reference, codes.EVENTS_SUPPORTED)
        return codes.SUCCESS

    def create(self, reference: Any) -> int:
        event_set = EventSet(self._driver)
        key = indexes.event_set_key(next(self._numbers))
        self._sets[key] = event_set
        outputs.put(reference, key)
        return codes.SUCCESS

    def register(self, handle: Any, types: Any, event_set: Any) -> int:
        card = self._driver.card(handle)
        wanted = outputs.number(types)
        if wanted & ~codes.EVENTS_SUPPORTED:
            return codes.NOT_SUPPORTED
        self._set(event_set).register(card.gpu.serial, wanted)
        return codes.SUCCESS

    def wait(self, event_set: Any, reference: Any, timeout_ms: Any) -> int:
        self._driver.index()
        seconds = outputs.number(timeout_ms) / 1000
        event = self._set(event_set).wait(seconds)
        raw = packed.EVENT.pack(
            indexes.gpu_handle(event.gpu),
            event.type,
            event.data,
            event.gi_id,
            event.ci_id,
        )
        outputs.put(reference, raw)
        return codes.SUCCESS

    def free(self, event_set: Any) -> int:
        self._set(event_set).close(codes.INVALID_ARGUMENT)
        self._sets.pop(drivers.key(event_set), None)
        return codes.SUCCESS

    def _set(self, handle: Any) -> EventSet:
        found = self._sets.get(drivers.key(handle))
        if found is None:
            raise codes.Refused(codes.INVALID_ARGUMENT)
        return found

    def _end_all(self) -> None:
        """NVML was shut down: its event sets are gone with it."""
        for key in list(self._sets):
            self._sets.pop(key).close(codes.UNINITIALIZED)
