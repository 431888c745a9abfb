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
"""Waking the main thread: from other threads and from signals."""

import collections.abc
import contextlib
import select
import signal
import socket
import threading

# SIGUSR2 asks for a report (meditation.py); who sends it where nobody writes
# one must not end the process, as the default would.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


class Waker:
    """A pipe that the main thread sleeps on.

    Signals arrive through it as well: their number is the byte that the
    interpreter writes, so that no handler runs anything. In a full pipe the
    interpreter drops it, and there is room for a few hundred bytes: of any
    number of wakes during a long turn one lies in it.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._lock = threading.Lock()
        self._is_woken = False

    def wake(self) -> None:
        """End the main thread's sleep; any thread may call it."""
        with self._lock, contextlib.suppress(BlockingIOError, OSError):
            if not self._is_woken:
                self._writer.send(b"\0")
                self._is_woken = True

    def sleep(self, seconds: float) -> frozenset[int]:
        """Until woken or the time is over; the signals that came, and 0
        for a wake that was none."""
        select.select([self._reader], [], [], max(seconds, 0))
        with self._lock:
            self._is_woken = False
            return self._drained()

    def _drained(self) -> frozenset[int]:
        received: set[int] = set()
        with contextlib.suppress(BlockingIOError):
            while data := self._reader.recv(4096):
                received.update(data)
        return frozenset(received)

    @contextlib.contextmanager
    def listening(self) -> collections.abc.Iterator[None]:
        """Take the signals of the process as wakes while the block runs."""
        before = {
            number: signal.signal(number, lambda *_: None)
            for number in SIGNALS
        }
        descriptor = signal.set_wakeup_fd(
            self._writer.fileno(), warn_on_full_buffer=False
        )
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._reader.close()
            self._writer.close()
