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
"""Topic "restore": the layout brought back, and one that cannot be had."""

import time

from bench import figure
from bench import gpu_node
from mig_placement import cycle
from mig_placement import exception
from mig_placement import restore
from mig_placement.service import nvml

_DELAY_MS = 200
_OVERHEAD_GOAL = 10


def report(options: figure.Options) -> figure.Report:
    """No Placement has a part in it."""
    with gpu_node.without_placement() as node:
        return figure.Report((_overhead(node), _impossible(node)))


def _overhead(node: gpu_node.Node) -> figure.Figure:
    """Empty GPUs brought to the layout, where a call takes its time."""
    node.create_empty()
    node.gpus.set_delay(_DELAY_MS)
    # A GPU instance and its compute instance; GPUs in parallel.
    one_gpu = 2 * gpu_node.INSTANCES * _DELAY_MS / 1000
    began = time.monotonic()
    _apply(node)
    seconds = time.monotonic() - began
    return figure.Figure(
        f"restore of {node.size} GPUs, over that of one ({one_gpu:g} s)",
        (seconds / one_gpu - 1) * 100,
        "%",
        _OVERHEAD_GOAL,
        minimum=0,
    )


def _impossible(node: gpu_node.Node) -> figure.Figure:
    """What it costs to learn that a layout cannot be had."""
    node.create()
    node.declare('{"3g.20gb": 2, "1g.5gb": 1}')
    try:
        _apply(node)
    except exception.LayoutError:
        calls = node.gpus.mutations
    else:
        raise RuntimeError("the impossible layout was applied")
    return figure.Figure(
        "impossible layout", calls, "mutating calls", 0, minimum=0
    )


def _apply(node: gpu_node.Node) -> None:
    library = nvml.Nvml(node.settings())
    observer = cycle.Observer(node.settings(), library)
    seen = observer.look()
    if seen.node is None:
        raise RuntimeError(str(seen.verdict.findings))
    restore.Restorer(node.settings(), library, restore.NoPlacement(), {}).run(
        seen,
        observer.wanted(seen.node),
        frozenset(range(len(seen.node.gpus))),
    )
    library.let_go()
