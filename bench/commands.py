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
"""Topic "commands": each command of the tool as a whole process."""

import statistics
import sys
import time

from bench import figure
from bench import gate
from bench import gpu_node

_COMMANDS = (
    "check",
    "discover",
    "profiles",
    "status",
    "plan",
    "export",
    "flavors",
    "nova-config",
    "fleet",
    "--help",
)
_GOAL_MS = 250
_WITH_GOAL = frozenset({"check", "discover"})
_TIMES = 9


def report(options: figure.Options) -> figure.Report:
    """With the agent beside them, as on a node in service."""
    with gpu_node.with_placement() as (node, log):
        began = time.monotonic()
        with node.agent():
            log.wait_for(gate.opens(node.root), began)
            # Round after round: what disturbs, disturbs them all.
            rounds = [_round(node, each) for each in range(_TIMES)]
    medians = {
        name: statistics.median(each[name] for each in rounds) * 1000
        for name in ("", *_COMMANDS)
    }
    return figure.Report(tuple(_figures(medians, node.size)))


def _round(node: gpu_node.Node, first: int) -> dict[str, float]:
    """:param first: which command is: the one after a pause is slower."""
    empty = gpu_node.seconds([sys.executable, "-c", "pass"])
    order = _COMMANDS[first:] + _COMMANDS[:first]
    return {"": empty} | {name: node.tool_seconds(name) for name in order}


def _figures(medians: dict[str, float], gpus: int) -> list[figure.Figure]:
    """The minimum is the interpreter that does nothing."""
    nothing = medians.pop("")
    return [
        figure.Figure(
            f"{name}, {gpus} GPUs, whole process",
            milliseconds,
            "ms",
            _GOAL_MS if name in _WITH_GOAL else None,
            minimum=nothing,
        )
        for name, milliseconds in medians.items()
    ]
