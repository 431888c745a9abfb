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
"""Runs the operator's commands: no shell, no time without end, no orphan."""

import collections.abc
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import types
from typing import IO

LOG = logging.getLogger(__name__)

_Handler = collections.abc.Callable[[int, types.FrameType | None], object]

_MAX_OUTPUT = 64 << 10
# What a handler may raise for, see cmd/ending.py.
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def run(command: str, timeout: float) -> bool:
    """Run an operator's command without a shell; its output goes to the log.

    :param timeout: seconds after which it is killed.
    :returns: whether it ended by itself with status 0, which proves
        nothing of what it did.
    """
    LOG.info("running, with its output after '|': %s", command)
    try:
        with tempfile.TemporaryFile() as output:
            status = _status_of(shlex.split(command), timeout, output)
            _log_output(output)
    except (OSError, ValueError) as error:
        LOG.error(
            "a command of [layout] cannot be run (%s); GPUs that wait for it"
            " stay closed; correct it: %s",
            error,
            command,
        )
        return False
    if status is None:
        LOG.error(
            "killed after %g s ([layout] apply_timeout), a command of"
            " [layout]; GPUs that wait for it stay closed; see its output"
            " above, or give it more time: %s",
            timeout,
            command,
        )
        return False
    _log_status(status, command)
    return status == 0


def _log_status(status: int, command: str) -> None:
    if status:
        LOG.warning(
            "exit status %d of a command of [layout]; the agent believes what"
            " it sees: GPUs that are not as declared stay closed; see its"
            " output above: %s",
            status,
            command,
        )
    else:
        LOG.info("exit status 0: %s", command)


def _status_of(
    words: list[str], timeout: float, output: IO[bytes]
) -> int | None:
    """The exit status; None where it and all its children were killed."""
    process: subprocess.Popen[bytes] | None = None
    try:
        with _unbroken():
            process = subprocess.Popen(  # noqa: S603 (the operator's own)
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """A child that it left behind must not change GPUs later."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        LOG.warning(
            "what a command of [layout] started may not be killed by this"
            " user and may change GPUs later; let it end its children, or run"
            " the agent as root: process group %d",
            process.pid,
        )
    process.wait()


@contextlib.contextmanager
def _unbroken() -> collections.abc.Iterator[None]:
    """What handlers of signals raise comes after the block: between the
    fork and the try it would leave the child behind."""
    came: list[int] = []
    before: dict[signal.Signals, _Handler] = {}
    if threading.current_thread() is threading.main_thread():
        for each in _ENDING:
            handler = signal.getsignal(each)
            if callable(handler):
                before[each] = handler
    try:
        for each in before:
            signal.signal(each, lambda number, _: came.append(number))
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)


def _printable(line: str) -> str:
    """Without what would make another line of a log, or move a cursor."""
    return "".join(char if char.isprintable() else "?" for char in line)


def _log_output(output: IO[bytes]) -> None:
    output.seek(0)
    for line in output.read(_MAX_OUTPUT).decode(errors="replace").splitlines():
        LOG.info("| %s", _printable(line))
