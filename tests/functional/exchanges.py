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

"""What was asked over HTTP: a log that tests can count in."""

import dataclasses
import json
import re
from collections import Counter
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The status of an exchange whose answer never reached the client.
NO_ANSWER = 0


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One request and the status of its answer."""

    method: str
    path: str
    query: str
    body: bytes
    status: int
    # The class of the fault that was played, for one through the proxy.
    fault: str = ""

    @property
    def route(self) -> str:
        """The path with every uuid as ``{uuid}``."""
        return _UUID.sub("{uuid}", self.path)

    @property
    def is_write(self) -> bool:
        return self.method not in ("GET", "HEAD")

    def json(self) -> Any:
        """The request's body."""
        return json.loads(self.body)


class ExchangeLog:
    """Exchanges in the order of their arrival."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def answered(self, exchange: Exchange, status: int) -> None:
        """Fill in the status, unless the log was cleared meanwhile."""
        for index, known in enumerate(self.exchanges):
            if known is exchange:
                self.exchanges[index] = dataclasses.replace(
                    exchange, status=status
                )
                return

    def matching(self, method: str = "", path: str = "") -> list[Exchange]:
        """Those of a method and of paths in which `path` is found."""
        return [
            exchange
            for exchange in self.exchanges
            if method in ("", exchange.method)
            and re.search(path, exchange.path)
        ]

    def count(self, method: str = "", path: str = "") -> int:
        return len(self.matching(method, path))

    def routes(self) -> Counter[tuple[str, str]]:
        """How often each method and route was asked."""
        return Counter((e.method, e.route) for e in self.exchanges)

    def writes(self) -> list[Exchange]:
        return [e for e in self.exchanges if e.is_write]

    def clear(self) -> None:
        self.exchanges.clear()
