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
"""From the agent's start after a reboot to the node being offered."""

import collections.abc
import dataclasses
import statistics
import time

from bench import figure
from bench import gate
from bench import gpu_node
from bench import recording

_BOOTS = 3
_GPUS = 8
_GOAL_MS = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class _Boot:
    """An agent's start, whose node was open before.

    :ivar closed: seconds until what has gone is no longer offered.
    :ivar opened: seconds until all is made and offered again.
    :ivar requests: until then.
    """

    closed: float
    opened: float
    requests: int


def figures(
    node: gpu_node.Node, log: recording.RequestLog
) -> collections.abc.Iterator[figure.Figure]:
    """Placement still offers what has gone with the reboot."""
    node.configure(apply="native")
    boots = [_boot(node, log) for _ in range(_BOOTS)]
    node.configure(apply="none")
    closed = statistics.median(each.closed for each in boots)
    opened = statistics.median(each.opened for each in boots)
    requests = statistics.median(each.requests for each in boots)
    goal = _GOAL_MS if node.size == _GPUS else None
    for name, value, unit, at_most in (
        ("boot to closed, median", closed * 1000, "ms", None),
        ("boot to open, empty GPUs, median", opened * 1000, "ms", goal),
        ("boot to open, empty GPUs", requests, "requests", None),
    ):
        yield figure.Figure(name, value, unit, at_most, gpus=node.size)


def _boot(node: gpu_node.Node, log: recording.RequestLog) -> _Boot:
    node.create_empty()
    began = time.monotonic()
    with node.agent():
        closed = log.wait_for(gate.closes(node.root), began).at
        opened = log.wait_for(gate.opens(node.root), closed).at
    before = log.between(began, opened)
    return _Boot(closed - began, opened - began, len(before) + 1)
