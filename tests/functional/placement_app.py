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

"""A real Placement in this process, and one over TCP, clean per test."""

import contextlib
import dataclasses
import io
import re
import sqlite3
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse
from wsgiref.types import WSGIApplication
from wsgiref.types import WSGIEnvironment

import requests
import wsgiadapter
from keystoneauth1 import adapter as ksa_adapter
from keystoneauth1 import noauth
from keystoneauth1 import session as ksa_session
from keystoneauth1 import token_endpoint

from mig_placement.demo import placement_server
from tests.functional import cloud
from tests.functional import exchanges

MICROVERSION = "1.39"
# Never resolved: requests hands this prefix to the application.
IN_PROCESS_URL = "http://placement.test"


@dataclasses.dataclass
class _Hook:
    method: str
    path: re.Pattern[str]
    action: Callable[[], object]
    times: int


class Recorder(exchanges.ExchangeLog):
    """Notes every request on its way to the real application.

    It can also let the world move just before a request is answered, which
    is how somebody else gets between our read and our write.
    """

    def __init__(self, application: WSGIApplication) -> None:
        super().__init__()
        self._application = application
        self._hooks: list[_Hook] = []
        #: Called around every write, the second before the client hears.
        self.before_write: Callable[[], object] = lambda: None
        self.after_write: Callable[[exchanges.Exchange], object] = (
            lambda exchange: None
        )

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self._run_hooks(method, path)
        is_write = method not in ("GET", "HEAD")
        if is_write:
            self.before_write()
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body)

        def noting(status: str, *args: Any) -> Any:
            query = environ.get("QUERY_STRING", "")
            code = int(status.split()[0])
            self.exchanges.append(
                exchanges.Exchange(method, path, query, body, code)
            )
            return start_response(status, *args)

        answer = self._application(environ, noting)
        if is_write:
            self.after_write(self.exchanges[-1])
        return answer

    def before(
        self,
        method: str,
        path: str,
        action: Callable[[], object],
        *,
        times: int = 1,
    ) -> None:
        """Run `action` before the next `times` such requests.

        :param path: a regular expression, searched for in the path.
        """
        self._hooks.append(_Hook(method, re.compile(path), action, times))

    def clear(self) -> None:
        super().clear()
        self._hooks.clear()

    def _run_hooks(self, method: str, path: str) -> None:
        for hook in list(self._hooks):
            if hook.method == method and hook.path.search(path):
                hook.times -= 1
                if hook.times <= 0:
                    self._hooks.remove(hook)
                hook.action()


class PlacementApp:
    """The application in this process; its database is in memory.

    Placement keeps its database in a global: one per process.
    """

    def __init__(self) -> None:
        self.application = placement_server.load_application("sqlite://")
        self._fresh = sqlite3.connect(":memory:", check_same_thread=False)
        self.remember()

    def remember(self) -> None:
        """What there is now is what a reset brings back."""
        self.copy(self._fresh)

    def copy(self, to: sqlite3.Connection) -> None:
        with live_connection() as live:
            live.backup(to)

    def reset(self, to: sqlite3.Connection | None = None) -> None:
        """Make the database as it was after Placement's start (2 ms)."""
        with live_connection() as live:
            (to or self._fresh).backup(live)

    def close(self) -> None:
        self._fresh.close()


@contextlib.contextmanager
def live_connection() -> Iterator[sqlite3.Connection]:
    """The one connection that an in-memory database has."""
    from placement import db_api

    pooled = db_api.get_placement_engine().raw_connection()
    try:
        yield pooled.driver_connection
    finally:
        pooled.close()


@dataclasses.dataclass
class Placement:
    """What a test gets: a client's session, and the rest of the world."""

    url: str
    session: ksa_session.Session
    cloud: cloud.Cloud

    @property
    def adapter(self) -> ksa_adapter.Adapter:
        """An adapter as the agent has one, as administrator."""
        return make_adapter(self.session, self.url)


@dataclasses.dataclass
class InProcessPlacement(Placement):
    """In this process; `recorder` sees the requests of `session` only."""

    recorder: Recorder

    def session_as(self, roles: str) -> ksa_session.Session:
        """A recorded session with these roles and no others."""
        return ksa_session.Session(
            auth=noauth.NoAuth(endpoint=self.url),
            session=wsgi_transport(self.recorder),
            additional_headers={"X-Roles": roles},
        )

    def session_without_token(self) -> ksa_session.Session:
        """A recorded session that Placement answers with 401."""
        return ksa_session.Session(session=wsgi_transport(self.recorder))


@dataclasses.dataclass
class TcpPlacement(Placement):
    """In a process of its own; `process` can be stopped and restarted."""

    process: placement_server.PlacementProcess

    def options(self) -> dict[str, str]:
        """What belongs into ``[placement]`` of a configuration file."""
        return self.process.options()


def wsgi_transport(application: WSGIApplication) -> requests.Session:
    """A requests session whose requests go to the application."""
    transport = requests.Session()
    transport.trust_env = False
    transport.mount(IN_PROCESS_URL, wsgiadapter.WSGIAdapter(application))
    return transport


def admin_session(
    url: str, transport: requests.Session | None = None
) -> ksa_session.Session:
    """A session as auth type ``admin_token`` makes it."""
    auth = token_endpoint.Token(url, placement_server.ADMIN_TOKEN)
    return ksa_session.Session(auth=auth, session=transport)


def make_adapter(
    session: ksa_session.Session, url: str
) -> ksa_adapter.Adapter:
    return ksa_adapter.Adapter(
        session,
        service_type="placement",
        endpoint_override=url,
        default_microversion=MICROVERSION,
    )


def in_process(app: PlacementApp) -> InProcessPlacement:
    """A clean Placement in this process."""
    app.reset()
    recorder = Recorder(app.application)
    outside = admin_session(IN_PROCESS_URL, wsgi_transport(app.application))
    return InProcessPlacement(
        url=IN_PROCESS_URL,
        session=admin_session(IN_PROCESS_URL, wsgi_transport(recorder)),
        cloud=cloud.Cloud(make_adapter(outside, IN_PROCESS_URL)),
        recorder=recorder,
    )


class TcpServer:
    """A Placement over TCP whose database is made new for each test."""

    def __init__(self, process: placement_server.PlacementProcess) -> None:
        self._process = process
        self._fresh = sqlite3.connect(":memory:")
        with _open(process.database) as live:
            live.backup(self._fresh)

    def clean(self) -> TcpPlacement:
        """The server, running, with a new database."""
        with _open(self._process.database) as live:
            self._fresh.backup(live)
        self._process.start()
        url = self._process.url
        return TcpPlacement(
            url=url,
            session=admin_session(url),
            cloud=cloud.Cloud(make_adapter(admin_session(url), url)),
            process=self._process,
        )


def _open(database: Path) -> contextlib.closing[sqlite3.Connection]:
    # closing(): sqlite3's own context manager only ends the transaction.
    return contextlib.closing(sqlite3.connect(database, timeout=30))


def running_server() -> Iterator[TcpServer]:
    """For a fixture: a server that ends with it."""
    with placement_server.PlacementProcess() as process:
        yield TcpServer(process)
