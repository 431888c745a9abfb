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
"""Small files that others read: written whole or not at all."""

import contextlib
import json
import os
import pathlib
import stat
import tempfile
from typing import Any

from mig_placement import exception

_MODE = 0o640
_TO_READ = "let this user read it, or run as root or the agent's user"
_DIRECTORY_MODE = 0o750
_MAX_BYTES = 4 << 20


def write_json(
    path: pathlib.Path, value: Any, *, durable: bool = True
) -> None:
    """Replace a file in one step; a reader never sees half of it.

    :param durable: it has to outlive a power cut; that costs a flush.
    :raises ConfigError: the directory cannot be made or written to.
    """
    try:
        make_directory(path.parent)
        # On one line: with indents Python has no fast way to encode it.
        _replace(path, json.dumps(value) + "\n", _MODE, durable=durable)
    except OSError as error:
        raise exception.ConfigError(
            f"cannot write ({error.strerror})",
            where=str(path),
            mend=f"let the agent's user write to {path.parent}",
        ) from error


def make_directory(path: pathlib.Path) -> None:
    """Make it and those above it, where there are none, for us and our
    group, whatever the umask.

    :raises OSError: it cannot be made.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    try:
        path.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        # Another process of ours was faster; anything else is no directory.
        if not path.is_dir():
            raise
        return
    # With the group's set-GID bit, where the parent gave it.
    inherited = path.stat().st_mode & stat.S_ISGID
    path.chmod(_DIRECTORY_MODE | inherited)


def open_plain(path: pathlib.Path, flags: int) -> int:
    """A descriptor of a plain file; no link, and nothing that blocks.

    :param flags: of open(2); a file that it creates is for us and our
        group, whatever the umask.
    :raises OSError: it cannot be opened, or is a link.
    :raises ValueError: something else has the name.
    """
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    handle = os.open(path, flags | safe, _MODE)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a plain file")
        if flags & os.O_CREAT and _is_to_be_ours(found):
            os.fchmod(handle, _MODE)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_to_be_ours(found: os.stat_result) -> bool:
    """Whether a file of ours has another mode than it should.

    One with a second name may be somebody else's to read.
    """
    return (
        found.st_uid == os.geteuid()
        and found.st_nlink == 1
        and stat.S_IMODE(found.st_mode) != _MODE
    )


def write_text(path: pathlib.Path, text: str) -> bool:
    """Write a file for another program, unless it says the same already.

    A file that is there keeps its owner and mode; a new one has those of
    any new file of the user's.

    :returns: whether anything was written.
    :raises ConfigError: it cannot be, or a link or a device has its name.
    """
    try:
        found = _plain(path)
        if found is not None and path.read_bytes() == text.encode():
            return False
        mode = _new_mode() if found is None else stat.S_IMODE(found.st_mode)
        _replace(path, text, mode, found)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise exception.ConfigError(
            f"cannot write ({reason})",
            where=str(path),
            mend="name a file in a directory that you may write to",
        ) from error
    return True


def _plain(path: pathlib.Path) -> os.stat_result | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("not a plain file")
    return found


def _new_mode() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask


def _replace(
    path: pathlib.Path,
    text: str,
    mode: int,
    owner: os.stat_result | None = None,
    *,
    durable: bool = True,
) -> None:
    # A new file under a name of its own, then a rename: a link that
    # somebody put at either name is replaced, never followed.
    handle, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if owner is not None:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(file.fileno(), mode)
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def read_json(path: pathlib.Path) -> Any:
    """The file's value, or None where there is no file.

    :raises ConfigError: it is there and is of no use: no plain file, not
        ours, too large or no JSON.
    """
    try:
        return json.loads(_read(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise exception.ConfigError(
            f"cannot be read ({reason})",
            where=str(path),
            mend=_TO_READ
            if isinstance(error, PermissionError)
            else "remove the file",
        ) from error


def of_no_use(path: pathlib.Path, error: Exception) -> str:
    """Why a file is not what we wrote, in one line that names it."""
    if isinstance(error, exception.ConfigError):
        return str(error)
    return f"{path}: not as it was written ({error!r}); remove the file"


def _read(path: pathlib.Path) -> str:
    with open(open_plain(path, os.O_RDONLY), encoding="utf-8") as file:
        found = os.fstat(file.fileno())
        # Who owns the directory may replace the file.
        owners = {0, os.geteuid(), path.parent.stat().st_uid}
        if found.st_uid not in owners:
            raise ValueError("owned by another user")
        if found.st_size > _MAX_BYTES:
            raise ValueError("too large")
        return file.read(_MAX_BYTES)


def signature(path: pathlib.Path) -> tuple[int, ...] | None:
    """What changes when a file does, through links; None without a file."""
    try:
        found = path.stat()
    # The second of a name that no file can have.
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns
