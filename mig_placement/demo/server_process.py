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

"""A server of ours in a process of its own, started and always ended."""

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import mig_placement
from mig_placement import exception
from mig_placement.demo.serving import LOOPBACK

# How long a server that was asked to end may take before it is killed.
STOP_SECONDS = 5.0
# The server's last words, in the error that tells that it did not start.
_TAIL_BYTES = 600


class ReservedPort:
    """A free loopback port that stays ours while its server is down.

    The socket is bound and never listens: a connection is refused, nobody
    else is given the port, and a server that sets SO_REUSEADDR, as all do,
    may still bind and listen.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind((LOOPBACK, 0))
        # After bind(): before it, the kernel may pick a port that others use.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        self._socket.close()


class ServerProcess:
    """Runs ``python -m module`` as a loopback server.

    As a context manager it starts the server, waits until it is ready, and
    at the end stops it and removes its temporary folder. The module takes
    the options that :meth:`command` gives and serves through
    :func:`mig_placement.demo.serving.serve`.

    :param module: the dotted name of the module to run.
    :param name: how errors call the server.
    :param time_limit: seconds until the server must be ready.
    :param environment: more environment variables for it.
    """

    def __init__(
        self,
        module: str,
        *,
        name: str,
        time_limit: float = 30.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._module = module
        self._name = name
        self._time_limit = time_limit
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._port = ReservedPort()
        self.url = f"http://{LOOPBACK}:{self._port.number}"
        # An object, not mkdtemp(): it goes also when nobody calls close().
        self._temporary = tempfile.TemporaryDirectory(
            prefix=f"mig-{name.lower()}-", ignore_cleanup_errors=True
        )
        self.folder = Path(self._temporary.name)
        self.log_file = self.folder / "server.log"

    def arguments(self) -> Sequence[str]:
        """The module's own options; subclasses add theirs."""
        return ()

    def command(self) -> list[str]:
        """The whole command line that is run."""
        return [
            sys.executable,
            "-m",
            self._module,
            "--port",
            str(self._port.number),
            "--owner-folder",
            str(self.folder),
            *self.arguments(),
        ]

    @property
    def pid(self) -> int | None:
        """The server's process, None when it is down."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it is ready.

        :raises MigPlacementError: it ended, or was not ready in time.
        """
        if self.running:
            return
        self.stop()  # reaps one that ended by itself
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                self.command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._full_environment(),
                # Ctrl-C in a terminal goes to us; we end the server.
                start_new_session=True,
            )
        try:
            self._await_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, kill: bool = False) -> None:
        """End the server; port, folder and database stay for a restart.

        :param kill: with SIGKILL, as a crash would.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            # Last: for the server, a closed pipe means that we died.
            _close_pipes(process)

    def restart(self) -> None:
        """Stop, then start on the same port with the same database."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good: the port is free, the temporary folder gone."""
        self.stop()
        self._port.release()
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _full_environment(self) -> dict[str, str]:
        environment = {**os.environ, **self._environment}
        # cheroot takes any value of it for a socket handed over by systemd.
        environment.pop("LISTEN_PID", None)
        # The server runs our code also where we are not installed.
        ours = str(Path(mig_placement.__file__).parent.parent)
        path = [ours, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        return environment

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        line = _read_line(process, time.monotonic() + self._time_limit)
        try:
            ready = json.loads(line)
        except ValueError:
            ready = {}
        if not isinstance(ready, dict) or ready.get("url") != self.url:
            raise self._not_started(process)

    def _not_started(
        self, process: subprocess.Popen[bytes]
    ) -> exception.MigPlacementError:
        try:
            status = f"it ended with status {process.wait(0.5)}"
        except subprocess.TimeoutExpired:
            status = f"it is not ready after {self._time_limit:g} s"
        tail = self.log_file.read_bytes()[-_TAIL_BYTES:].decode(
            errors="replace"
        )
        return exception.MigPlacementError(
            f"{self._name} did not start: {status}; its last words:"
            f" {tail.strip() or 'none'}",
            where=self.url,
            mend="see what they complain of, or whether the host is too busy",
        )


def _read_line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The first line, or what there is at the deadline or at the end."""
    assert process.stdout is not None  # noqa: S101 - for mypy
    fd = process.stdout.fileno()
    line = b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            break
        chunk = os.read(fd, 4096)
        if not chunk:
            break
        line += chunk
    return line


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
