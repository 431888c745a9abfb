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
"""When systemd is told that nova-compute may start: once, and in time."""

import collections.abc
import contextlib
import logging
import threading
import time

from mig_placement.service import systemd

LOG = logging.getLogger(__name__)


class Readiness:
    """READY=1: when Placement is up to date, or at the boot fence.

    A thread of its own keeps the fence: a Placement that hangs holds the
    loop for its time-out and all retries. All methods are for the loop's
    thread.

    :param fence: seconds from ``start`` on.
    """

    def __init__(self, fence: float) -> None:
        self._left = fence
        self._since = 0.0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._sent = False

    def start(self) -> None:
        """Let the fence's time run."""
        self._since = time.monotonic()
        self._timer = threading.Timer(self._left, self._once, (True,))
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """The fence is of no use any more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    @contextlib.contextmanager
    def paused(self) -> collections.abc.Iterator[None]:
        """The fence is for Placement: GPUs have the time that they need."""
        running = self._timer is not None
        self._left -= time.monotonic() - self._since if running else 0
        self.stop()
        try:
            yield
        finally:
            if running and not self._sent:
                self.start()

    def send(self) -> None:
        """Placement is up to date; harmless where it was said before."""
        self.stop()
        self._once(late=False)

    def _once(self, late: bool) -> None:
        with self._lock:
            if self._sent:
                return
            self._sent = True
            if late:
                LOG.warning(
                    "Placement was not told of this node within [gate]"
                    " boot_fence_timeout, and nova-compute may start: until"
                    " it is, new VMs may be sent to slices that are gone;"
                    " 'mig-placement status' says what it waits for"
                )
            systemd.notify("READY=1")
