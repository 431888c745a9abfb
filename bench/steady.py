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
"""A steady cycle and the first one: requests, processor, NVML, memory."""

import collections.abc

from bench import figure
from bench import gpu_node
from bench import recording
from bench import ticking

# What the goals are promised for.
_GPUS = 8
_FIRST_SYNC_GOAL = 45
_CPU_GOAL_MS = 5
_GROWTH_GOAL_MIB = 1
# The root by its name, its tree and its traits, which are kept.
_READS = 3
_ROOT_WRITES = 1
# A provider, its traits and its inventory: each a request of its own.
_WRITES_PER_GPU = 3


def figures(
    node: gpu_node.Node, log: recording.RequestLog, ticks: ticking.Ticks
) -> collections.abc.Iterator[figure.Figure]:
    """Of an agent that was the first of its node."""
    yield _first_sync(node, ticks.first_cycle(log))
    requests = ticks.steady_cycles(log)
    yield figure.Figure(
        "steady cycle",
        len(requests) / ticks.count,
        "requests",
        1,
        minimum=1,
        gpus=node.size,
    )
    yield figure.Figure(
        "steady cycle",
        sum(each.is_write for each in requests) / ticks.count,
        "writes",
        0,
        minimum=0,
        gpus=node.size,
    )
    yield from _in_the_process(node, ticks)


def _first_sync(
    node: gpu_node.Node, requests: list[recording.Request]
) -> figure.Figure:
    names = sum(_makes_a_name(each) for each in requests)
    return figure.Figure(
        "first sync",
        len(requests),
        "requests",
        _at_the_promised_size(node, _FIRST_SYNC_GOAL),
        minimum=_READS + names + _WRITES_PER_GPU * node.size + _ROOT_WRITES,
        gpus=node.size,
    )


def _makes_a_name(request: recording.Request) -> bool:
    """A trait or a class that this Placement has not seen before."""
    return request.is_write and request.path.startswith(
        ("/traits/", "/resource_classes/")
    )


def _in_the_process(
    node: gpu_node.Node, ticks: ticking.Ticks
) -> collections.abc.Iterator[figure.Figure]:
    yield figure.Figure(
        "steady cycle, CPU",
        ticks.cpu * 1000,
        "ms",
        _at_the_promised_size(node, _CPU_GOAL_MS),
        gpus=node.size,
    )
    yield figure.Figure(
        "of it within the simulated NVML",
        ticks.inside * 1000,
        "ms",
        gpus=node.size,
    )
    yield figure.Figure(
        "steady cycle, NVML",
        sum(ticks.nvml.values()),
        "calls",
        gpus=node.size,
    )


def growth(node: gpu_node.Node, ticks: ticking.Ticks) -> figure.Figure:
    """Of an agent's memory, over as many cycles as were steady."""
    return figure.Figure(
        f"agent's growth over {ticks.count:,} cycles, {node.size} GPUs",
        ticks.late - ticks.early,
        "MiB",
        _GROWTH_GOAL_MIB,
        minimum=0,
    )


def _at_the_promised_size(node: gpu_node.Node, goal: float) -> float | None:
    return goal if node.size == _GPUS else None
