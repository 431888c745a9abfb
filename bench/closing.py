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
"""From an event on the node to nothing of it being offered."""

import collections.abc
import dataclasses
import random
import statistics
import time
import uuid

from bench import figure
from bench import gate
from bench import gpu_node
from bench import recording
from mig_placement import cycle
from mig_placement import remote
from mig_placement.placement import client
from mig_placement.placement import refusals
from mig_placement.placement import sync
from mig_placement.service import nvml

EVENTS = 100
_MEDIAN_GOAL_MS = 60
_P99_GOAL_MS = 150
_WRITES = 20
_PLACE = (0, 1)
# The agent is asleep again, and in no step with us.
_PAUSES = (0.03, 0.1)


def figures(
    node: gpu_node.Node, log: recording.RequestLog
) -> collections.abc.Iterator[figure.Figure]:
    yield figure.Figure(
        "writes until nothing is offered",
        _writes(node),
        "writes",
        1,
        minimum=1,
        gpus=node.size,
    )
    one_write = _one_write(node)
    closings = _closings(node, log)
    closed = [each.closed for each in closings]
    exact = [each.exact for each in closings]
    for name, seconds, goal, least in (
        ("closed, median", _median(closed), _MEDIAN_GOAL_MS, one_write),
        ("closed, 99th percentile", _p99(closed), _P99_GOAL_MS, one_write),
        # The root's trait first, then every GPU's inventory.
        (
            "reserved == total, median",
            _median(exact),
            None,
            one_write * (1 + node.size),
        ),
    ):
        yield figure.Figure(
            f"event to {name}",
            seconds * 1000,
            "ms",
            goal,
            minimum=least * 1000,
            gpus=node.size,
        )


def _median(seconds: list[float]) -> float:
    return figure.percentile(seconds, 50)


def _p99(seconds: list[float]) -> float:
    return figure.percentile(seconds, 99)


@dataclasses.dataclass(frozen=True, slots=True)
class _Closing:
    """Seconds from an event on.

    :ivar closed: to the write after which nothing is offered.
    :ivar exact: to the one after which every GPU is wholly reserved.
    """

    closed: float
    exact: float


class _Asking:
    """An adapter that asks after each write what is still offered."""

    def __init__(self, node: gpu_node.Node) -> None:
        self._inner = gpu_node.adapter(node.url)
        self._cloud = node.cloud
        self.candidates: list[int] = []

    def request(
        self, url: str, method: str, **kwargs: object
    ) -> remote.Response:
        response = self._inner.request(url, method, **kwargs)
        if method != "GET":
            self.candidates.append(self._cloud.candidates(gpu_node.CLASS))
        return response


def _writes(node: gpu_node.Node) -> int:
    """Made by a cycle that sees an instance less, until all is closed."""
    node.create()
    asking = _Asking(node)
    library = nvml.Nvml(node.settings())
    one = cycle.Cycle(
        node.settings(),
        library,
        sync.Synchronizer(client.Client(asking), node.name),
    )
    one.tell(one.look())
    node.gpus.destroy_instance(0, _PLACE)
    asking.candidates.clear()
    one.tell(one.look())
    library.let_go()
    return asking.candidates.index(0) + 1


def _one_write(node: gpu_node.Node) -> float:
    """Seconds that this Placement takes for a write, whoever asks."""
    adapter = gpu_node.adapter(node.url)
    headers = {
        "OpenStack-API-Version": f"placement {refusals.SERVICE.microversion}"
    }
    provider = str(uuid.uuid4())
    adapter.request(
        "/resource_providers",
        "POST",
        headers=headers,
        json={"name": "write", "uuid": provider},
    )
    seconds = []
    for generation in range(_WRITES):
        began = time.monotonic()
        adapter.request(
            f"/resource_providers/{provider}/traits",
            "PUT",
            headers=headers,
            json={
                "resource_provider_generation": generation,
                # Another one each time, or it would be none.
                "traits": ["COMPUTE_NODE"] * (generation % 2 == 0),
            },
        )
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def _closings(
    node: gpu_node.Node, log: recording.RequestLog
) -> list[_Closing]:
    node.create()
    began = time.monotonic()
    with node.agent():
        log.wait_for(gate.opens(node.root), began)
        return [_closing(node, log, event) for event in range(EVENTS)]


def _closing(
    node: gpu_node.Node, log: recording.RequestLog, event: int
) -> _Closing:
    """Destroy an instance; as soon as the node is closed make it again."""
    gpu = event % node.size
    time.sleep(random.uniform(*_PAUSES))
    began = time.monotonic()
    node.gpus.destroy_instance(gpu, _PLACE)
    closed = log.wait_for(gate.closes(node.root), began).at
    node.gpus.create_instance(gpu, gpu_node.PROFILE, _PLACE[0])
    opened = log.wait_for(gate.opens(node.root), closed).at
    reserved = filter(gate.reserves, log.between(closed, opened))
    return _Closing(closed - began, max(x.at for x in reserved) - began)
