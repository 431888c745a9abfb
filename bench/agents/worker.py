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
"""One of Placement's worker processes: a request at a time, as mod_wsgi's.

``python -m bench.agents.worker --connection URL --port PORT`` prints a line
when it is ready, and serves until SIGTERM or the end of standard input.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from cheroot import wsgi

from mig_placement.demo import placement_server
from mig_placement.demo import serving

# A connection for each agent of a worker waits here, not in the agents.
_BACKLOG = 4096


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.agents.worker")
    parser.add_argument("--connection", required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    ready = serving.claim_stdout()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    application = placement_server.load_application(args.connection)
    server = wsgi.Server(
        (serving.LOOPBACK, args.port),
        application,
        numthreads=1,
        request_queue_size=_BACKLOG,
        shutdown_timeout=1,
        # So that the kernel deals the connections out to all workers.
        reuse_port=True,
    )
    server.keep_alive_conn_limit = None  # type: ignore[assignment]
    server.prepare()
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_watch_owner, daemon=True).start()
    with ready:
        print("ready", file=ready)
    try:
        server.serve()
    finally:
        server.stop()


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _watch_owner() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
