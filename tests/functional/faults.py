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

"""What can go wrong between a client and an HTTP service, by name.

A fault is called with the conversation in which it is to happen, see
:mod:`tests.functional.faulty_server`.
"""

import dataclasses
import gzip
import json
from collections.abc import Callable
from collections.abc import Mapping
from typing import Protocol

_HTML = (
    b"<html><head><title>%d</title></head><body>"
    b"<h1>%d The load balancer speaks</h1></body></html>\n"
)
_CHUNK = b"x" * 65536


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole HTTP answer; as a fault, it is sent and nothing forwarded."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __call__(self, talk: "Talk") -> None:
        talk.send(self)


class Talk(Protocol):
    """A conversation with one client about one request."""

    method: str
    target: str
    body: bytes

    def forward(self) -> Answer:
        """Let the real service do it, and take its answer."""

    def send(self, answer: Answer) -> None:
        """Send a whole answer."""

    def send_raw(self, data: bytes, *, status: int) -> None:
        """Send bytes; the connection is of no use afterwards."""

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection, with a RST where `reset`."""

    def pause(self, seconds: float) -> bool:
        """Wait; False when the proxy closes meanwhile."""


Fault = Callable[[Talk], None]


def html(status: int) -> Answer:
    """A page from a load balancer; 200 is the login or maintenance page."""
    return Answer(status, _HTML % (status, status), _type("text/html"))


def error(status: int, code: str = "", detail: str = "") -> Answer:
    """An error as Placement (1.23) gives it.

    :param code: such as ``placement.concurrent_update``.
    """
    one = {"status": status, "title": "Fault", "detail": detail}
    if code:
        one["code"] = code
    body = json.dumps({"errors": [one]}).encode()
    return Answer(status, body, _type("application/json"))


def too_many(retry_after: int = 1) -> Answer:
    """429, as a rate limiter before the API gives it."""
    headers = {"Retry-After": str(retry_after), **_type("text/plain")}
    return Answer(429, b"Too Many Requests\n", headers)


def json_answer(value: object, status: int = 200) -> Answer:
    """Well-formed JSON, which may be not at all what was asked for."""
    body = json.dumps(value).encode()
    return Answer(status, body, _type("application/json"))


def broken_json(status: int = 200) -> Answer:
    """JSON that was cut off, with a Content-Length that fits it."""
    body = b'{"resource_providers": [{"uuid": "'
    return Answer(status, body, _type("application/json"))


def gzip_bomb(size: int, times: int = 1) -> Answer:
    """Some kilobytes that unpack to `size` bytes of JSON.

    :param times: how often it is packed.
    """
    body = b'{"a": "' + b"x" * size + b'"}'
    for _ in range(times):
        body = gzip.compress(body)
    encoding = ", ".join(["gzip"] * times)
    headers = {"Content-Encoding": encoding, **_type("application/json")}
    return Answer(200, body, headers)


@dataclasses.dataclass(frozen=True)
class Forward:
    """No fault: the real service answers; with `change`, another answer.

    :param first: runs before the request is forwarded.
    """

    change: Callable[[Answer], Answer] | None = None
    first: Callable[[], object] | None = None

    def __call__(self, talk: Talk) -> None:
        if self.first:
            self.first()
        answer = talk.forward()
        talk.send(self.change(answer) if self.change else answer)


@dataclasses.dataclass(frozen=True)
class Slow:
    """The request waits for `seconds`, then `then` happens."""

    seconds: float
    then: Fault = dataclasses.field(default_factory=Forward)

    def __call__(self, talk: Talk) -> None:
        if talk.pause(self.seconds):
            self.then(talk)


@dataclasses.dataclass(frozen=True)
class Late:
    """It is applied at once, and the answer comes after `seconds`."""

    seconds: float

    def __call__(self, talk: Talk) -> None:
        answer = talk.forward()
        if talk.pause(self.seconds):
            talk.send(answer)


@dataclasses.dataclass(frozen=True)
class Drop:
    """The connection is closed; nothing was applied."""

    reset: bool = False

    def __call__(self, talk: Talk) -> None:
        talk.hang_up(reset=self.reset)


@dataclasses.dataclass(frozen=True)
class Lost:
    """It is applied, and the answer never comes: the connection closes."""

    reset: bool = False

    def __call__(self, talk: Talk) -> None:
        talk.forward()
        talk.hang_up(reset=self.reset)


@dataclasses.dataclass(frozen=True)
class CutOff:
    """It is applied; half of the answer comes, then a RST (or a close)."""

    reset: bool = True

    def __call__(self, talk: Talk) -> None:
        answer = talk.forward()
        whole = wire_format(answer)
        # Never less than the header: the client must be within the body.
        header = whole.index(b"\r\n\r\n") + 4
        end = header + len(answer.body) // 2
        talk.send_raw(whole[:end], status=answer.status)
        talk.hang_up(reset=self.reset)


@dataclasses.dataclass(frozen=True)
class Stall:
    """A header that promises a body, then silence."""

    def __call__(self, talk: Talk) -> None:
        header = wire_format(Answer(200, b"", _type("application/json")))
        promising = header.replace(b"Content-Length: 0", b"Content-Length: 99")
        talk.send_raw(promising + b'{"a": ', status=200)
        while talk.pause(60):
            pass


@dataclasses.dataclass(frozen=True)
class Endless:
    """A chunked body that never ends.

    :param pause: seconds between two chunks.
    :param chunk: bytes in each.
    """

    pause: float = 0.001
    chunk: int = 65536

    def __call__(self, talk: Talk) -> None:
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        data = b"%x\r\n%b\r\n" % (self.chunk, b" " * self.chunk)
        talk.send_raw(head, status=200)
        while talk.pause(self.pause):
            talk.send_raw(data, status=200)


@dataclasses.dataclass(frozen=True)
class Trickle:
    """The real answer, one byte after another."""

    pause: float = 0.05

    def __call__(self, talk: Talk) -> None:
        answer = talk.forward()
        for byte in wire_format(last(answer)):
            talk.send_raw(bytes([byte]), status=answer.status)
            if not talk.pause(self.pause):
                return


@dataclasses.dataclass(frozen=True)
class Huge:
    """A JSON string of `size` bytes, with its true Content-Length."""

    size: int = 64 * 1024 * 1024

    def __call__(self, talk: Talk) -> None:
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\n"  # as in last()
            b"Content-Length: %d\r\n\r\n" % (self.size + 2)
        )
        talk.send_raw(head + b'"', status=200)
        for start in range(0, self.size, len(_CHUNK)):
            talk.send_raw(_CHUNK[: self.size - start], status=200)
        talk.send_raw(b'"', status=200)


def wire_format(answer: Answer) -> bytes:
    """An answer as it goes over the wire."""
    lines = [
        f"HTTP/1.1 {answer.status} {'OK' if answer.status < 400 else 'No'}"
    ]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.status != 204:
        lines.append(f"Content-Length: {len(answer.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + answer.body


def last(answer: Answer) -> Answer:
    """The same, and it says that the connection closes, or a client would
    ask again on it."""
    return dataclasses.replace(
        answer, headers={**answer.headers, "Connection": "close"}
    )


def _type(content_type: str) -> dict[str, str]:
    return {"Content-Type": content_type}
