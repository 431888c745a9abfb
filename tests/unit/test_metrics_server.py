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

"""The metrics' HTTP server, on loopback."""

import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

from mig_placement.conf import metrics as options
from mig_placement.demo import server_process
from mig_placement.service import measures
from mig_placement.service import metrics_server

_PATIENCE = 1.0
_MOST = 8


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(metrics_server, "_PATIENCE", _PATIENCE)
    reserved = server_process.ReservedPort()
    listen = options.Listen("127.0.0.1", reserved.number)
    stop = metrics_server.serve(listen, measures.Measures())
    yield reserved.number
    stop()
    reserved.release()


def _is_served(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        return bool(urllib.request.urlopen(url, timeout=5).read())
    except OSError:
        return False


def test_who_drips_does_not_keep_the_others_out(port: int) -> None:
    slow = [
        socket.create_connection(("127.0.0.1", port)) for _ in range(_MOST)
    ]
    until = time.monotonic() + 4 * _PATIENCE
    served = False
    while not served and time.monotonic() < until:
        for each in slow:
            try:
                each.sendall(b"G")
            except OSError:
                served = _is_served(port)
        time.sleep(_PATIENCE / 5)
    for each in slow:
        each.close()
    assert served
