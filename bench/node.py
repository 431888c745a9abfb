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
"""Topic "node": one agent and its node, at several numbers of GPUs."""

import sys

from bench import booting
from bench import closing
from bench import figure
from bench import gpu_node
from bench import idle
from bench import steady
from bench import ticking

SIZES = (1, 2, 4, 8, 16)
_WARM = 100
_CYCLES = 200
# Growth takes longer to be seen, and is looked for at one size alone.
_MANY_CYCLES = 1000
_LONG_AT = 8


def report(options: figure.Options) -> figure.Report:
    found: list[figure.Figure] = []
    cycles: dict[int, float] = {}
    for size in SIZES:
        print(f"bench: node, GPUs: {size}", file=sys.stderr)
        with gpu_node.with_placement(size) as (node, log):
            ticks = ticking.run(
                node.config,
                warm=_WARM,
                steady=_MANY_CYCLES if size == _LONG_AT else _CYCLES,
            )
            cycles[size] = ticks.cpu
            found += steady.figures(node, log, ticks)
            if size == _LONG_AT:
                found.append(steady.growth(node, ticks))
            found += closing.figures(node, log)
            found += booting.figures(node, log)
    found += idle.figures(cycles)
    return figure.Report(tuple(found))
