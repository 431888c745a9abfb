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
"""What the agent counts and times; plain numbers, whoever reads them."""

import bisect
import collections
import collections.abc
import contextlib
import dataclasses
import threading
import time
from typing import Any

# Seconds: a steady cycle is one GET; the longest waits for a restore.
BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_METHODS = ("GET", "PUT", "POST", "DELETE")


@dataclasses.dataclass(slots=True)
class Histogram:
    """How long something took (seconds).

    :ivar counts: by the upper bound, the last for what exceeds all; not
        cumulated.
    """

    counts: list[int] = dataclasses.field(
        default_factory=lambda: [0] * (len(BOUNDS) + 1)
    )
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def copy(self) -> "Histogram":
        return Histogram(list(self.counts), self.total)


class Measures:
    """Written by the agent's threads, read by the one that serves metrics.

    :ivar status: the status file's value, as last written; never changed,
        only replaced.
    :ivar plan: the last steps to the layout, as text; replaced likewise.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cycles = Histogram()
        self._requests = {method: Histogram() for method in _METHODS}
        self._counts: collections.Counter[str] = collections.Counter()
        self.status: dict[str, Any] | None = None
        self.plan: tuple[str, ...] = ()

    @contextlib.contextmanager
    def cycle(self) -> collections.abc.Iterator[None]:
        """Time the block as a cycle."""
        start = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._cycles.add(time.monotonic() - start)

    def request(self, method: str, seconds: float) -> None:
        """A request to Placement, answered or not."""
        with self._lock:
            if method in self._requests:
                self._requests[method].add(seconds)

    def restored(self, *, succeeded: bool) -> None:
        self._count("restores_succeeded" if succeeded else "restores_failed")

    def will_retry(self) -> None:
        """A cycle failed and will be tried again before its interval."""
        self._count("retries")

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def cycles(self) -> Histogram:
        with self._lock:
            return self._cycles.copy()

    def requests(self) -> dict[str, Histogram]:
        """By HTTP method."""
        with self._lock:
            return {name: each.copy() for name, each in self._requests.items()}

    def count(self, name: str) -> int:
        """Of ``retries``, ``restores_succeeded`` or ``restores_failed``."""
        with self._lock:
            return self._counts[name]
