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

import statistics
import time

from bench import figure
from bench import gate
from bench import gpu_node
from bench import recording

_BOOTS = 3
_GPUS = 8
_GOAL_MS = 1000


def figures(
    node: gpu_node.Node, log: recording.RequestLog
) -> list[figure.Figure]:
    """Placement still offers what has gone with the reboot."""
    node.configure(apply="native")
    seconds = [_boot(node, log) for _ in range(_BOOTS)]
    node.configure(apply="none")
    return [
        figure.Figure(
            "boot to open, empty GPUs, median",
            statistics.median(seconds) * 1000,
            "ms",
            _GOAL_MS if node.size == _GPUS else None,
            gpus=node.size,
        )
    ]


def _boot(node: gpu_node.Node, log: recording.RequestLog) -> float:
    node.create_empty()
    began = time.monotonic()
    with node.agent():
        return log.wait_for(gate.opens(node.root), began).at - began
