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

"""A proxy before a real service that plays faults by rule.

Without a rule that fits, a request goes to the real service and its answer
comes back. Rules are asked in the order in which they were added::

    with FaultProxy(placement_tcp.url) as proxy:
        proxy.add(faults.Lost(), method="PUT", path="/inventories$", times=1)
        ...  # give proxy.url to a client
        assert proxy.log.count("PUT", "/inventories$") == 2
"""

import contextlib
import dataclasses
import http.client
import http.server
import re
import socket
import socketserver
import ssl
import struct
import threading
from types import TracebackType
from typing import Any
from typing import cast
from typing import Self
from urllib import parse

from mig_placement.demo import server_process
from mig_placement.demo.serving import LOOPBACK
from tests.functional import exchanges
from tests.functional import faults

# The real service is on the loopback; this ends a test that would hang.
_UPSTREAM_SECONDS = 30
# Meant for one connection (RFC 9110, 7.6.1), or set anew by wire_format().
_HOP_BY_HOP = {"connection", "content-length", "keep-alive",
               "transfer-encoding"}  # fmt: skip


@dataclasses.dataclass(eq=False)
class Rule:
    """A fault for the requests that match; `hits` counts them."""

    fault: faults.Fault
    method: str
    path: re.Pattern[str]
    times: int | None
    hits: int = 0

    def takes(self, method: str, target: str) -> bool:
        return (
            self.method in ("", method)
            and (self.times is None or self.hits < self.times)
            and self.path.search(target) is not None
        )


class FaultProxy:
    """A loopback server before `upstream`.

    :param upstream: the real service's URL; without one, a request that no
        rule takes gets a load balancer's 503.
    :param tls: with which it speaks HTTPS.
    """

    def __init__(
        self,
        upstream: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._upstream = parse.urlsplit(upstream) if upstream else None
        self._port = server_process.ReservedPort()
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{LOOPBACK}:{self._port.number}"
        self.log = exchanges.ExchangeLog()
        #: What went wrong in the proxy itself; a test may look.
        self.errors: list[BaseException] = []
        #: How many there have been.
        self.connections = 0

    def add(
        self,
        fault: faults.Fault,
        *,
        method: str = "",
        path: str = "",
        times: int | None = None,
    ) -> Rule:
        """Play `fault` for requests that match.

        :param method: empty for any.
        :param path: a regular expression, searched for in path and query.
        :param times: how often; None for always.
        """
        rule = Rule(fault, method, re.compile(path), times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        with self._lock:
            self._rules.remove(rule)

    def heal(self) -> None:
        """Forget all rules and accept connections again."""
        with self._lock:
            self._rules.clear()
        self.accept()

    def refuse(self) -> None:
        """Refuse connections, and break those that there are."""
        if self._listener and self._thread:
            self._listener.end()
            self._thread.join()
        self._listener = self._thread = None

    def accept(self) -> None:
        """Accept connections, on the same port as ever."""
        if self._listener:
            return
        self._listener = _Listener((LOOPBACK, self._port.number), self)
        if self._tls:
            self._listener.socket = self._tls.wrap_socket(
                self._listener.socket, server_side=True
            )
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        self.refuse()
        self._port.release()

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def fault_for(self, method: str, target: str) -> faults.Fault:
        """The fault to play, counted."""
        with self._lock:
            for rule in self._rules:
                if rule.takes(method, target):
                    rule.hits += 1
                    return rule.fault
        return faults.Forward()

    def ask_upstream(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> faults.Answer:
        """What the real service says; 503 where there is none."""
        if not self._upstream:
            return faults.html(503)
        connection = http.client.HTTPConnection(
            self._upstream.netloc, timeout=_UPSTREAM_SECONDS
        )
        try:
            target = self._upstream.path.rstrip("/") + target
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            kept = _end_to_end(answer.headers)
            return faults.Answer(answer.status, answer.read(), kept)
        except ConnectionError:
            return faults.html(503)
        finally:
            connection.close()


class _Listener(socketserver.ThreadingTCPServer):
    """One span of time in which connections are accepted."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.ending = threading.Event()
        self.connections: set[socket.socket] = set()
        self.resets: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def end(self) -> None:
        """Stop listening, break all connections, wait for all threads."""
        self.ending.set()
        self.shutdown()
        self.socket.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def shutdown_request(self, request: Any) -> None:
        if request in self.resets:
            # No shutdown(): the client would see an orderly end first.
            self.resets.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """A client's connection; the :class:`faults.Talk` of each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    method: str
    target: str
    body: bytes

    def setup(self) -> None:
        super().setup()
        self._listener = cast(_Listener, self.server)
        self._listener.connections.add(self.connection)
        self._listener.proxy.connections += 1

    def finish(self) -> None:
        self._listener.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        # A client that goes away in the midst is what many tests want.
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _converse(self) -> None:
        self.method, self.target = self.command, self.path
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        proxy = self._listener.proxy
        fault = proxy.fault_for(self.method, self.target)
        # On arrival: a client that gave up is counted as well.
        self._exchange = self._arrived(fault)
        proxy.log.exchanges.append(self._exchange)
        try:
            fault(self)
        except ConnectionError:
            self.close_connection = True
        except Exception as error:
            self.close_connection = True
            proxy.errors.append(error)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _converse  # noqa: N815

    def _arrived(self, fault: faults.Fault) -> exchanges.Exchange:
        path, _, query = self.target.partition("?")
        return exchanges.Exchange(
            self.method,
            path,
            query,
            self.body,
            exchanges.NO_ANSWER,
            fault=type(fault).__name__,
        )

    def forward(self) -> faults.Answer:
        headers = _end_to_end(self.headers)
        return self._listener.proxy.ask_upstream(
            self.method, self.target, headers, self.body
        )

    def send(self, answer: faults.Answer) -> None:
        self._answered(answer.status)
        self.wfile.write(faults.wire_format(answer))

    def send_raw(self, data: bytes, *, status: int) -> None:
        self._answered(status)
        self.close_connection = True
        self.wfile.write(data)

    def _answered(self, status: int) -> None:
        # Before the bytes go out, so that the client's test can rely on it.
        self._listener.proxy.log.answered(self._exchange, status)

    def hang_up(self, *, reset: bool = False) -> None:
        self.close_connection = True
        if reset:
            # Lingering for 0 s makes close() send a RST.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            self._listener.resets.add(self.connection)

    def pause(self, seconds: float) -> bool:
        return not self._listener.ending.wait(seconds)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The proxy has a log of its own."""


def _end_to_end(headers: Any) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _HOP_BY_HOP
    }
