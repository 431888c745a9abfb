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

"""What a loopback server does in its own process: serve, say so, and end."""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import NoReturn
from typing import TextIO
from wsgiref.types import StartResponse
from wsgiref.types import WSGIApplication
from wsgiref.types import WSGIEnvironment

LOOPBACK = "127.0.0.1"
# How long a request that is being answered may hold up the end.
SHUTDOWN_SECONDS = 2


class Serialized:
    """One request at a time.

    SQLite has one writer, and a reader that becomes a writer while another
    one writes gets "database is locked" at once, however long the timeout.
    A real Placement has MariaDB below it and never says this.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        with self._lock:
            # The whole body under the lock: a generator would read the
            # database after it.
            return list(self._application(environ, start_response))


def claim_stdout() -> TextIO:
    """Take standard output for the line that says "ready".

    Whatever else the process prints goes to standard error from then on: it
    would be taken for that line, and fill a pipe that nobody reads.
    """
    ours = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return ours


def serve(
    application: WSGIApplication,
    port: int,
    *,
    ready: TextIO,
    owner_folder: Path | None,
) -> None:
    """Serve on the loopback until SIGTERM.

    :param port: TCP port, 0 for a free one.
    :param ready: gets one line of JSON when connections are accepted, and
        is closed.
    :param owner_folder: when given, standard input is a pipe from the
        process that owns this one; when it closes without a SIGTERM before,
        the owner died, and the server ends and removes this folder.
    """
    # Not at the top: the process that only starts a server needs none.
    from cheroot import wsgi

    server = wsgi.Server(
        (LOOPBACK, port),
        application,
        numthreads=8,
        request_queue_size=64,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    server.prepare()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    if owner_folder is not None:
        _end_with_the_owner(owner_folder)
    _say_ready(ready, server.bind_addr[1])
    try:
        server.serve()
    finally:
        server.stop()


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _say_ready(ready: TextIO, port: int) -> None:
    line = {"url": f"http://{LOOPBACK}:{port}", "pid": os.getpid()}
    with ready:
        print(json.dumps(line), file=ready)


def _end_with_the_owner(folder: Path) -> None:
    # Not PR_SET_PDEATHSIG: it fires when the *thread* that forked ends.
    threading.Thread(target=_watch_owner, args=(folder,), daemon=True).start()


def _watch_owner(folder: Path) -> None:
    # The owner writes nothing; read() returns when its end is closed.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(2 * SHUTDOWN_SECONDS)
    os._exit(1)
