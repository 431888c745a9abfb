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

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import tempfile
from typing import IO

LOG = logging.getLogger(__name__)

_MAX_OUTPUT = 64 << 10


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
    process = subprocess.Popen(  # noqa: S603 (the operator's own)
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # A child that it left behind must not change GPUs later.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _printable(line: str) -> str:
    """Without what would make another line of a log, or move a cursor."""
    return "".join(char if char.isprintable() else "?" for char in line)


def _log_output(output: IO[bytes]) -> None:
    output.seek(0)
    for line in output.read(_MAX_OUTPUT).decode(errors="replace").splitlines():
        LOG.info("| %s", _printable(line))
