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
"""What one agent asked of Placement, and what of it closed and opened."""

import dataclasses
import enum
import time
from typing import Any

from keystoneauth1 import adapter
from keystoneauth1 import session
from keystoneauth1 import token_endpoint

from mig_placement import remote
from mig_placement import transport
from mig_placement.demo import placement_server
from mig_placement.placement import names

NO_ANSWER = 0


class Effect(enum.StrEnum):
    """What a write does to the node's gate."""

    NONE = ""
    CLOSES_NODE = "closes the node"
    OPENS_NODE = "opens the node"
    RESERVES = "reserves a GPU"
    OFFERS = "offers a GPU"


@dataclasses.dataclass(frozen=True, slots=True)
class Sent:
    """One request.

    :ivar began: monotonic seconds, the same clock in all processes.
    :ivar ended: when it was answered.
    :ivar status: of the answer; NO_ANSWER where none came.
    """

    began: float
    ended: float
    method: str
    status: int
    effect: Effect = Effect.NONE

    @property
    def done(self) -> bool:
        return 200 <= self.status < 300


class Wire:
    """An agent's adapter that writes down what goes through it."""

    def __init__(self, url: str, root: str) -> None:
        self._inner = _adapter(url)
        self._root = root
        self.sent: list[Sent] = []

    def request(self, url: str, method: str, **kwargs: Any) -> remote.Response:
        began = time.monotonic()
        status = NO_ANSWER
        effect = _effect(self._root, url, kwargs.get("json"))
        try:
            response: remote.Response = self._inner.request(
                url, method, **kwargs
            )
            status = response.status_code
        finally:
            ended = time.monotonic()
            self.sent.append(Sent(began, ended, method, status, effect))
        return response


def _adapter(url: str) -> adapter.Adapter:
    """As the agent makes its own, and with a connection of its own."""
    own = session.Session(
        auth=token_endpoint.Token(url, placement_server.ADMIN_TOKEN)
    )
    transport.guard(own)
    return adapter.Adapter(
        own, service_type="placement", endpoint_override=url
    )


def _effect(root: str, url: str, body: Any) -> Effect:
    if url == f"/resource_providers/{root}/traits" and body:
        is_open = names.NODE_READY in body["traits"]
        return Effect.OPENS_NODE if is_open else Effect.CLOSES_NODE
    if url.endswith("/inventories") and body:
        offers = any(
            each["reserved"] < each["total"]
            for each in body["inventories"].values()
        )
        return Effect.OFFERS if offers else Effect.RESERVES
    return Effect.NONE
