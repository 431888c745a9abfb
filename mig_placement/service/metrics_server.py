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
"""A small HTTP server for the metrics; imported only where they are served."""

import collections.abc
import contextlib
import http.server
import logging
import socket
import socketserver
import sys
import threading
import time
from typing import Any

from mig_placement.conf import metrics as options
from mig_placement.service import measures
from mig_placement.service import metrics

LOG = logging.getLogger(__name__)

# Seconds for which a client may keep us waiting, and how many at a time.
_PATIENCE = 5.0
_MOST = 8


def serve(
    listen: options.Listen, measured: measures.Measures
) -> collections.abc.Callable[[], None]:
    """Serve until what is returned is called.

    :raises OSError: it cannot listen there.
    """
    server = _Server(listen, measured)
    threading.Thread(
        target=server.serve_forever, name="metrics", daemon=True
    ).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


def _hang_up(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET /metrics, and nothing else."""

    timeout = _PATIENCE
    server: "_Server"

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        body, media_type = self.server.page()
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "mig-placement"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: what a client sends has no place in the log."""


class _Server(http.server.ThreadingHTTPServer):
    """:raises OSError: it cannot listen there."""

    daemon_threads = True
    # Else closing waits for a client that keeps us waiting.
    block_on_close = False

    def __init__(
        self, listen: options.Listen, measured: measures.Measures
    ) -> None:
        if listen.is_ipv6:
            self.address_family = socket.AF_INET6
        self._listen = listen
        self._free = threading.BoundedSemaphore(_MOST)
        self._until: dict[socket.socket, float] = {}
        self._measured = measured
        super().__init__((listen.address, listen.port), _Handler)

    def page(self) -> tuple[bytes, str]:
        return metrics.page(self._measured)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the DNS for a name that nobody needs.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self._listen), 0

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            # No thread was to be had, and so none gives it back.
            self._free.release()
            raise

    def process_request_thread(
        self, request: Any, client_address: Any
    ) -> None:
        self._until[request] = time.monotonic() + _PATIENCE
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self._until[request]
            self._free.release()

    def service_actions(self) -> None:
        """Hang up on who takes too long: a socket's time-out is for each
        read, and a byte now and then puts it off for ever."""
        now = time.monotonic()
        for request, until in self._until.copy().items():
            if now > until:
                _hang_up(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.debug("a request for metrics failed: %s", sys.exception())
