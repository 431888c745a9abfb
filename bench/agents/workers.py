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
"""Placement as operators run it: worker processes behind one port."""

import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

from bench.agents import processes
from mig_placement.demo import serving


class Workers:
    """Placement's worker processes for the time of a ``with`` block.

    :param connection: SQLAlchemy's URL of the database.
    :param count: processes; one alone where the database is SQLite.
    """

    def __init__(self, connection: str, count: int) -> None:
        self._connection = connection
        self._count = count
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Never listens: it keeps the port ours while all workers are down.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((serving.LOOPBACK, 0))
        self._port = self._socket.getsockname()[1]
        self.url = f"http://{serving.LOOPBACK}:{self._port}"
        self._running: list[subprocess.Popen[bytes]] = []
        self._spent = 0.0

    def start(self) -> None:
        """Until all are ready."""
        # The first brings the database to head; two at once would quarrel.
        self._await(self._started())
        for each in [self._started() for _ in range(self._count - 1)]:
            self._await(each)

    def stop(self) -> None:
        self._spent = self.cpu()
        stopped, self._running = self._running, []
        for each in stopped:
            processes.end(each)

    def cpu(self) -> float:
        """Seconds of processor time so far, stopped workers included."""
        pids = [each.pid for each in self._running]
        return self._spent + sum(map(processes.cpu, pids))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._socket.close()

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bench.agents.worker",
                f"--connection={self._connection}",
                f"--port={self._port}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("Placement did not start")
