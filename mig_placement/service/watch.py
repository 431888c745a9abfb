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
"""A thread that waits for NVML events and changed files, and wakes."""

import collections.abc
import logging
import pathlib
import threading

from mig_placement import exception
from mig_placement.hardware import model
from mig_placement.service import files
from mig_placement.service import nvml

LOG = logging.getLogger(__name__)

# How late a changed file is seen, at the most, and how long letting go of
# NVML may take; each turn costs a few system calls.
_TURN = 1.0


class Watcher:
    """Collects events for the main thread.

    :param paths: files whose change wakes.
    :param wake: called from this thread when something happened.
    """

    def __init__(
        self,
        library: nvml.Nvml,
        paths: collections.abc.Iterable[pathlib.Path],
        wake: collections.abc.Callable[[], None],
    ) -> None:
        self._nvml = library
        self._paths = tuple(paths)
        # From here on no change is missed, whenever it starts.
        self._seen = self._signatures()
        self._wake = wake
        self._events: collections.deque[model.Event] = collections.deque(
            maxlen=10_000
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="watcher", daemon=True
        )

    def ensure(self) -> None:
        """Start, unless it runs already.

        Without a session of NVML it sleeps for a turn, and events wait.
        """
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=2 * _TURN)

    def take(self) -> tuple[model.Event, ...]:
        """The events since the last call, oldest first."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return tuple(taken)

    def listen(self, seconds: float) -> bool:
        """Collect the events of so many seconds; whether there were any."""
        events = self._waited(seconds)
        self._events.extend(events)
        return bool(events)

    def _run(self) -> None:
        while not self._stopping.is_set():
            heard = self.listen(_TURN)
            now = self._signatures()
            if heard or now != self._seen:
                self._seen = now
                self._wake()

    def _signatures(self) -> list[tuple[int, ...] | None]:
        return [files.signature(path) for path in self._paths]

    def _waited(self, seconds: float) -> tuple[model.Event, ...]:
        try:
            events = self._nvml.wait(seconds)
        except exception.HardwareError:
            # The next observation finds out what it is; look at it now.
            self._wake()
            events = None
        except Exception as error:
            # Whatever it is: without this thread no XID is heard any more.
            LOG.debug("waiting for events failed", exc_info=error)
            self._wake()
            events = None
        if events is None:
            self._stopping.wait(seconds)
        return events or ()
