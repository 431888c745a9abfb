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
"""Locks that tell other processes of ours apart: one agent, one apply."""

import collections.abc
import contextlib
import fcntl
import os
import pathlib
import time
from typing import Self

from mig_placement import exception
from mig_placement.service import files

_AGENT = "agent.lock"
_APPLY = "apply.lock"
_RETIRE = "retire.lock"
# Who looks whether a lock is held has it for less than a millisecond; who
# tells Placement of what it sees, until Placement has answered.
_GLANCES = 50
_MOST_GLANCES = 2000
_GLANCE = 0.01


class Lock:
    """A file lock for a ``with`` block; it ends with its process.

    :param refusal: what to say where another process holds it.
    :raises ConfigError: another process holds it, or it cannot be made.
    """

    def __init__(self, path: pathlib.Path, refusal: str, mend: str) -> None:
        self._path = path
        self._refusal = refusal
        self._mend = mend
        self._file = -1

    def __enter__(self) -> Self:
        self._file = _opened(self._path)
        if not self._taken():
            os.close(self._file)
            raise exception.ConfigError(
                self._refusal, where=str(self._path), mend=self._mend
            )
        return self

    def _taken(self) -> bool:
        for each in range(_MOST_GLANCES):
            if _locks(self._file, fcntl.LOCK_EX):
                return True
            if each > _GLANCES and not _locks(self._file, fcntl.LOCK_SH):
                return False
            fcntl.flock(self._file, fcntl.LOCK_UN)
            time.sleep(_GLANCE)
        return False

    def __exit__(self, *_: object) -> None:
        # First, or who is woken by the other may find it taken still.
        fcntl.flock(self._file, fcntl.LOCK_UN)
        _wake(self._file)
        os.close(self._file)


def _wake(file: int) -> None:
    """Whoever watches the file is to look again now."""
    with contextlib.suppress(OSError):
        os.utime(file)


def _locks(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(path: pathlib.Path) -> int:
    try:
        files.make_directory(path.parent)
        # To read is enough for a lock, and root may have made the file.
        return files.open_plain(path, os.O_RDONLY | os.O_CREAT)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise exception.ConfigError(
            f"cannot be made ({reason})",
            where=str(path),
            mend="remove what is there, let this user write there, or set"
            " [agent] run_dir",
        ) from error


def agent(run_dir: pathlib.Path) -> Lock:
    """One agent runs on a node."""
    refusal = "another agent runs on this node"
    return Lock(run_dir / _AGENT, refusal, "stop it first")


def retire(run_dir: pathlib.Path) -> Lock:
    """The host leaves service: no agent may run on it meanwhile."""
    return Lock(
        run_dir / _AGENT,
        "an agent or another 'retire' runs on this node",
        "stop and disable mig-placement-agent first",
    )


def retire_other(run_dir: pathlib.Path) -> Lock:
    """One process retires providers of other hosts."""
    refusal = "another 'retire' runs"
    return Lock(run_dir / _RETIRE, refusal, "wait for it, and try again")


def apply(run_dir: pathlib.Path) -> Lock:
    """One process changes the geometry."""
    return Lock(
        run_dir / _APPLY,
        "another process changes the geometry of this node just now, or"
        " tells Placement of it",
        "wait for it, and try again",
    )


def apply_path(run_dir: pathlib.Path) -> pathlib.Path:
    return run_dir / _APPLY


def check(run_dir: pathlib.Path) -> None:
    """Refuse to run blind to those who change the geometry.

    Where nobody can open their lock, nobody of them comes.

    :raises ConfigError: others may open it, and we may not.
    """
    try:
        os.close(_opened(apply_path(run_dir)))
    except exception.ConfigError as error:
        if isinstance(error.__cause__, PermissionError):
            raise


def agent_runs(run_dir: pathlib.Path) -> bool:
    """Whether an agent holds its lock."""
    return _is_held(run_dir / _AGENT)


def apply_runs(run_dir: pathlib.Path) -> bool:
    """Whether a process changes the geometry just now."""
    return _is_held(apply_path(run_dir))


@contextlib.contextmanager
def undisturbed(
    run_dir: pathlib.Path, *, wake: bool = False
) -> collections.abc.Iterator[bool]:
    """No process begins to change the geometry before the block has ended.

    What is seen of it in there is still so when Placement has been told.
    Where a process does already, even if it ends meanwhile, the value is
    False: whose turn comes next is not kept from it.

    :param wake: the agent is to look again after it, since it may have told
        already of what was not seen yet in here.
    """
    with contextlib.ExitStack() as stack:
        is_free = True
        # Who may not open it changes nothing either, and only looks.
        with contextlib.suppress(exception.ConfigError, OSError):
            file = _opened(apply_path(run_dir))
            stack.callback(os.close, file)
            if wake:
                stack.callback(_wake, file)
            is_free = _locks(file, fcntl.LOCK_SH)
        yield is_free


def _is_held(path: pathlib.Path) -> bool:
    try:
        handle = files.open_plain(path, os.O_RDONLY)
    except (OSError, ValueError):
        return False
    with contextlib.closing(os.fdopen(handle)) as file:
        return not _locks(file.fileno(), fcntl.LOCK_SH)
