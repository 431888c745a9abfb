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
"""Debian's MariaDB for the time of a ``with`` block, as no special user."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Self

from bench.agents import processes

_NEEDED = ("mariadbd", "mariadb-install-db")
_USER = "mysql"
_PATIENCE = 60.0
_POLL = 0.1
# Debian puts servers where no ordinary user's PATH leads.
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))

HOW = "apt-get install -y mariadb-server, and pip install pymysql"


def missing() -> str:
    """What of it is not installed; empty where all is."""
    found = [each for each in _NEEDED if not shutil.which(each, path=_PATH)]
    try:
        import pymysql  # noqa: F401 - asks whether it is there
    except ImportError:
        found.append("pymysql")
    return ", ".join(found)


class MariaDb:
    """A server of its own on a socket in a folder of its own.

    With the settings that MariaDB itself has: each commit is on the disk
    before it is answered.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="mig-mariadb-")
        self.folder = pathlib.Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> str:
        """SQLAlchemy's URL of an empty database."""
        socket = self.folder / "socket"
        return (
            "mysql+pymysql://root@localhost/placement"
            f"?unix_socket={socket}&charset=utf8mb4"
        )

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        return processes.cpu(self._process.pid) if self._process else 0.0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> None:
        user = _user()
        if os.geteuid() == 0:
            shutil.chown(self.folder, user)
        common = [
            "--no-defaults",
            f"--user={user}",
            f"--datadir={self.folder / 'data'}",
        ]
        log = (self.folder / "log").open("wb")
        with log:
            subprocess.run(
                [
                    _path("mariadb-install-db"),
                    *common,
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                ],
                stdout=log,
                stderr=log,
                check=True,
            )
            self._process = subprocess.Popen(
                [
                    _path("mariadbd"),
                    *common,
                    f"--socket={self.folder / 'socket'}",
                    f"--pid-file={self.folder / 'pid'}",
                    "--skip-networking",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._make_database()

    def _make_database(self) -> None:
        import pymysql

        until = time.monotonic() + _PATIENCE
        while True:
            try:
                with pymysql.connect(
                    user="root", unix_socket=str(self.folder / "socket")
                ) as session:
                    session.cursor().execute("CREATE DATABASE placement")
                return
            except pymysql.err.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(_POLL)

    def _stop(self) -> None:
        if self._process:
            processes.end(self._process)
        self._temporary.cleanup()


def _user() -> str:
    """Whom it runs as: it refuses to be root."""
    return _USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _path(program: str) -> str:
    found = shutil.which(program, path=_PATH)
    assert found is not None, program
    return found
