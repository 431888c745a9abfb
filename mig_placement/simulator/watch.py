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

"""Sleeps until a file is replaced, or until somebody calls it off."""

import ctypes
import os
import select
import threading

# <sys/inotify.h>
_IN_MOVED_TO = 0x80
_IN_DELETE = 0x200
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC

# Where there is no inotify: how often to look, in milliseconds.
_POLL_MS = 10
# The longest sleep, for what inotify cannot see (edits in place, another
# waiter who was quicker, directories that were replaced).
_LONGEST_MS = 1000


def _inotify(directory: str) -> int | None:
    """A watch over a directory, or None where that cannot be had."""
    try:
        libc = ctypes.CDLL(None)
        fd = int(libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))
        if fd < 0:
            return None
        mask = _IN_MOVED_TO | _IN_DELETE
        if libc.inotify_add_watch(fd, os.fsencode(directory), mask) < 0:
            os.close(fd)
            return None
    except (AttributeError, OSError):
        return None
    return fd


class Watch:
    """Any number of threads sleep on it; close() wakes them for good."""

    def __init__(self, path: str) -> None:
        self._changes = _inotify(os.path.dirname(path))
        self._closing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._users = 0
        self.closed = False

    def __enter__(self) -> "Watch":
        with self._lock:
            self._users += 1
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._users -= 1
            self._let_go()

    def close(self) -> None:
        """End all sleeping, now and later."""
        with self._lock:
            if not self.closed:
                self.closed = True
                os.eventfd_write(self._closing, 1)
                self._let_go()

    def _let_go(self) -> None:
        # A descriptor that is closed under a sleeper could be reused.
        if not self.closed or self._users or self._closing < 0:
            return
        os.close(self._closing)
        self._closing = -1
        if self._changes is not None:
            os.close(self._changes)

    def forget(self) -> None:
        """Forget the changes so far; call it before looking at the file."""
        if self._changes is None or self.closed:
            return
        try:
            while len(os.read(self._changes, 65536)) == 65536:
                continue
        except BlockingIOError:
            return

    def sleep(self, seconds: float) -> None:
        """Sleep until a change; may end early, then look and come again."""
        longest = _POLL_MS if self._changes is None else _LONGEST_MS
        # Rounded up, or the last millisecond would be spent spinning.
        wanted = min(int(seconds * 1000) + 1, longest)
        # A poll object serves one thread at a time.
        poll = select.poll()
        poll.register(self._closing, select.POLLIN)
        if self._changes is not None:
            poll.register(self._changes, select.POLLIN)
        poll.poll(wanted)
