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

"""The fault proxy really does what its faults say."""

import http.client
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.functional import exchanges
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import placement_app

TRAIT = "/traits/CUSTOM_A"


class Client:
    """requests without retries, as strict as a test needs it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update(
            {
                "X-Auth-Token": "admin",
                "OpenStack-API-Version": "placement 1.39",
            }
        )

    def ask(
        self, method: str, path: str, *, timeout: float = 5, **more: Any
    ) -> requests.Response:
        return self._session.request(
            method, self._url + path, timeout=timeout, **more
        )

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def proxy(
    placement_tcp: placement_app.TcpPlacement,
) -> Iterator[faulty_server.FaultProxy]:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        yield proxy
        assert proxy.errors == []


@pytest.fixture
def client(proxy: faulty_server.FaultProxy) -> Iterator[Client]:
    client = Client(proxy.url)
    yield client
    client.close()


def _has_trait(placement: placement_app.Placement) -> bool:
    answer = placement.adapter.get(TRAIT, raise_exc=False)
    return int(answer.status_code) == 204


def test_without_a_rule_the_real_service_answers(
    proxy: faulty_server.FaultProxy,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    session = placement_app.admin_session(proxy.url)
    through = placement_app.make_adapter(session, proxy.url)
    assert through.put(TRAIT).status_code == 201
    assert _has_trait(placement_tcp)
    (seen,) = proxy.log.writes()
    assert (seen.status, seen.fault) == (201, "Forward")


def test_a_lost_answer_was_applied(
    proxy: faulty_server.FaultProxy,
    client: Client,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    rule = proxy.add(faults.Lost(), method="PUT", path="^/traits/", times=1)
    with pytest.raises(requests.ConnectionError):
        client.ask("PUT", TRAIT)
    assert _has_trait(placement_tcp)
    assert proxy.log.exchanges[-1].status == exchanges.NO_ANSWER
    assert client.ask("PUT", TRAIT).status_code == 204
    assert rule.hits == 1


@pytest.mark.parametrize("reset", [True, False])
def test_a_dropped_request_was_not_applied(
    proxy: faulty_server.FaultProxy,
    client: Client,
    placement_tcp: placement_app.TcpPlacement,
    *,
    reset: bool,
) -> None:
    proxy.add(faults.Drop(reset=reset), method="PUT")
    with pytest.raises(requests.ConnectionError):
        client.ask("PUT", TRAIT)
    assert not _has_trait(placement_tcp)


def test_a_reset_comes_in_the_midst_of_an_answer(
    proxy: faulty_server.FaultProxy,
) -> None:
    proxy.add(faults.CutOff())
    host = proxy.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.status == 200
    with pytest.raises(ConnectionResetError):
        _read_to_the_end(answer)
    connection.close()


def _read_to_the_end(answer: http.client.HTTPResponse) -> None:
    while answer.read(1):
        pass


def test_a_cut_off_answer_is_incomplete(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    proxy.add(faults.CutOff(reset=False))
    with pytest.raises(requests.exceptions.RequestException):
        client.ask("GET", "/")


@pytest.mark.parametrize("status", [200, 502, 503])
def test_a_load_balancer_answers_with_html(
    proxy: faulty_server.FaultProxy, client: Client, status: int
) -> None:
    proxy.add(faults.html(status), path="^/resource_providers")
    answer = client.ask("GET", "/resource_providers")
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html"
    assert client.ask("GET", "/").json()["versions"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.error(500), 500),
        (faults.error(409, "placement.concurrent_update"), 409),
        (faults.too_many(3), 429),
        (faults.json_answer([1, 2]), 200),
    ],
)
def test_a_canned_answer_is_sent(
    proxy: faulty_server.FaultProxy,
    client: Client,
    fault: faults.Answer,
    status: int,
) -> None:
    proxy.add(fault, times=1)
    answer = client.ask("GET", "/")
    assert (answer.status_code, answer.content) == (status, fault.body)
    assert client.ask("GET", "/").status_code == 200


def test_json_is_cut_off_under_a_fitting_length(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    proxy.add(faults.broken_json())
    answer = client.ask("GET", "/")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Unterminated"):
        answer.json()


def test_a_refused_connection_is_accepted_again_on_the_same_port(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    assert client.ask("GET", "/").status_code == 200
    proxy.refuse()
    with pytest.raises(requests.ConnectionError, match="refused"):
        client.ask("GET", "/")
    proxy.accept()
    assert client.ask("GET", "/").status_code == 200


def test_a_slow_answer_comes_late_and_is_counted_at_once(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    proxy.add(faults.Slow(0.4), times=2)
    before = time.monotonic()
    assert client.ask("GET", "/").status_code == 200
    assert time.monotonic() - before >= 0.4
    with pytest.raises(requests.Timeout):
        client.ask("GET", "/", timeout=0.2)
    assert proxy.log.count("GET") == 2


def test_a_late_answer_was_applied_before(
    proxy: faulty_server.FaultProxy,
    client: Client,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    proxy.add(faults.Late(60))
    with pytest.raises(requests.Timeout):
        client.ask("PUT", TRAIT, timeout=1)
    assert _has_trait(placement_tcp)


def test_a_stalled_answer_never_ends(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    proxy.add(faults.Stall())
    # The header comes: it is the body that times out, not the answer.
    with (
        client.ask("GET", "/", timeout=1, stream=True) as answer,
        pytest.raises(requests.ConnectionError, match="timed out"),
    ):
        answer.json()


def test_an_endless_answer_goes_on_until_the_client_leaves(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    proxy.add(faults.Endless())
    with client.ask("GET", "/", stream=True) as answer:
        got = 0
        for chunk in answer.iter_content(65536):
            got += len(chunk)
            if got > 1_000_000:
                break
    assert got > 1_000_000


def test_a_trickled_answer_has_all_its_bytes(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    proxy.add(faults.Trickle(pause=0), times=1)
    trickled = client.ask("GET", "/")
    assert trickled.json() == client.ask("GET", "/").json()


def test_a_huge_body_has_the_size_it_says(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    proxy.add(faults.Huge(1_000_000), times=1)
    assert client.ask("GET", "/").json() == "x" * 1_000_000
    proxy.add(faults.gzip_bomb(1_000_000))
    assert client.ask("GET", "/").json() == {"a": "x" * 1_000_000}


def test_a_forwarded_answer_can_be_changed(
    proxy: faulty_server.FaultProxy, client: Client
) -> None:
    def empty(answer: faults.Answer) -> faults.Answer:
        return faults.Answer(answer.status, b"{}", answer.headers)

    moved: list[str] = []
    proxy.add(faults.Forward(change=empty, first=lambda: moved.append("x")))
    assert client.ask("GET", "/").json() == {}
    assert moved == ["x"]


def test_a_service_that_is_down_is_a_503(
    proxy: faulty_server.FaultProxy,
    client: Client,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    placement_tcp.process.stop(kill=True)
    assert client.ask("GET", "/").status_code == 503


def test_closing_ends_what_hangs() -> None:
    with faulty_server.FaultProxy() as proxy:
        proxy.add(faults.Slow(600))
        port = int(proxy.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as hanging:
            hanging.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while not proxy.log.count():
                time.sleep(0.01)
            before = time.monotonic()
            proxy.close()
            assert time.monotonic() - before < 2
            assert hanging.recv(10) == b""
