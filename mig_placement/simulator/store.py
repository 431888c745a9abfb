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

"""The state file: read when it changed, written whole and under a lock."""

import collections.abc
import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from typing import Generic
from typing import TypeVar

from mig_placement.simulator import codes
from mig_placement.simulator import parse
from mig_placement.simulator import state as states
from mig_placement.simulator import sysfs

_T = TypeVar("_T")
_Key = tuple[int, int, int]


class Absent(codes.SimulatorError):
    """There is no state file."""


class Forbidden(codes.SimulatorError):
    """The state file or its lock may not be opened."""


class Store(Generic[_T]):
    """One state file, with what the readers make of its state.

    :param path: the state file; ``.lock`` and ``.new`` are put beside it.
    :param digest: makes of a State what read() returns; the State that it
        is given never changes afterwards.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        digest: collections.abc.Callable[[states.State], _T],
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._digest = digest
        # One attribute, so that threads see the key with its value.
        self._known: tuple[_Key, _T] | None = None
        self._thread_lock = threading.Lock()

    def read(self) -> _T:
        """The digest of the present state; one stat where it is known.

        :raises SimulatorError: the file is missing or holds no state.
        """
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise self._failure(error) from error
        key = (found.st_mtime_ns, found.st_ino, found.st_size)
        known = self._known
        if known is not None and known[0] == key:
            return known[1]
        return self._load()

    def _load(self) -> _T:
        key, state = self._parsed()
        digest = self._digest(state)
        self._known = (key, digest)
        return digest

    def _parsed(self) -> tuple[_Key, states.State]:
        try:
            key, raw = self._raw()
        except OSError as error:
            raise self._failure(error) from error
        try:
            return key, parse.state(raw)
        except parse.Malformed as error:
            raise codes.SimulatorError(f"{self.path}: {error}") from error

    def _raw(self) -> tuple[_Key, bytes]:
        # Without O_NONBLOCK a FIFO in the file's place would hang us.
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if found.st_size > parse.MAX_BYTES:
                raise OSError(errno.EFBIG, "too large for a state")
            raw = file.read(parse.MAX_BYTES + 1)
        return (found.st_mtime_ns, found.st_ino, found.st_size), raw

    def _failure(self, error: OSError) -> codes.SimulatorError:
        text = f"{self.path}: {error.strerror or error}"
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return Absent(text)
        if isinstance(error, PermissionError):
            return Forbidden(text)
        return codes.SimulatorError(text)

    @contextlib.contextmanager
    def change(self) -> collections.abc.Iterator[states.State]:
        """The state, to be changed, and written when the block ends well.

        Other processes and threads wait meanwhile.

        :raises SimulatorError: the file is missing, holds no state or
            cannot be written.
        """
        with self.locked():
            _key, state = self._parsed()
            yield state
            self.write(state)

    @contextlib.contextmanager
    def locked(self) -> collections.abc.Iterator[None]:
        """Keep every other writer out.

        :raises SimulatorError: the lock cannot be opened.
        """
        with self._thread_lock:
            try:
                lock = _open_lock(self.path + ".lock")
            except OSError as error:
                raise self._failure(error) from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    def write(self, state: states.State) -> None:
        """Replace the file; only under the lock.

        :raises SimulatorError: it cannot be written.
        """
        try:
            key = self._replace(state.encoded())
            if state.vgpu:
                sysfs.show(self.path, state)
        except OSError as error:
            raise self._failure(error) from error
        self._known = (key, self._digest(state))

    def _replace(self, raw: bytes) -> _Key:
        temporary = self.path + ".new"
        with open(temporary, "wb") as file:
            file.write(raw)
            file.flush()
            moment = self._later()
            os.utime(file.fileno(), ns=(moment, moment))
            found = os.fstat(file.fileno())
        os.rename(temporary, self.path)
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _later(self) -> int:
        """A time (ns) that this file never had.

        Inode numbers are reused at once and kernels stamp files every few
        milliseconds only: without this two states could look alike.
        """
        try:
            last = os.stat(self.path).st_mtime_ns
        except FileNotFoundError:
            last = 0
        return max(time.time_ns(), last + 1)

    def delete(self) -> None:
        """Remove the file and all beside it; no error where there is none.

        :raises SimulatorError: they cannot be removed.
        """
        for suffix in ("", ".new", ".lock", ".sessions"):
            try:
                os.unlink(self.path + suffix)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._failure(error) from error
        sysfs.remove(self.path)


def _open_lock(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o666)


class Session:
    """A place among the open NVML sessions of all processes.

    A shared lock of the file beside the state, which the kernel takes
    back from a process that dies.
    """

    def __init__(self, path: str) -> None:
        self._fd = _open_lock(path + ".sessions")
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def close(self) -> None:
        os.close(self._fd)


@contextlib.contextmanager
def no_session(path: str) -> collections.abc.Iterator[bool]:
    """Whether no process has an NVML session; none is opened meanwhile."""
    fd = _open_lock(path + ".sessions")
    try:
        yield _locked_alone(fd)
    finally:
        os.close(fd)


def _locked_alone(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
