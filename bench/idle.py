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
"""The service while nothing happens: its memory, and what its waiting costs.

Between two cycles a thread wakes to look at files and to ask NVML for events.
"""

import collections.abc
import contextlib
import pathlib
import resource
import tempfile
import time

from bench import figure
from bench import gate
from bench import gpu_node
from bench import recording
from mig_placement.conf import agent as options

_IDLE = 10.0
# After the gate is open the status is still written.
_SETTLED = 2.0
_MEMORY_GOAL_MIB = 70
_SHARE_GOAL = 0.05
_INTERVAL = next(
    each.default for each in options.OPTS if each.name == "interval"
)


def figures(
    cycles: collections.abc.Mapping[int, float],
) -> collections.abc.Iterator[figure.Figure]:
    """All sizes at once: they all sleep.

    :param cycles: seconds of a core that a steady cycle costs, by size.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mig-bench-") as folder,
        recording.RecordedPlacement() as placement,
        contextlib.ExitStack() as agents,
    ):
        pids = {
            size: _start(pathlib.Path(folder), placement, size, agents)
            for size in cycles
        }
        time.sleep(_SETTLED)
        waiting = _waiting(pids)
        for size, pid in pids.items():
            yield _memory(size, pid)
            yield _share(size, waiting[size] + cycles[size] / _INTERVAL)


def _start(
    folder: pathlib.Path,
    placement: recording.RecordedPlacement,
    size: int,
    agents: contextlib.ExitStack,
) -> int:
    name = f"bench-{size}.example.org"
    node = gpu_node.Node(folder / name, placement.url, size, name)
    node.create()
    node.create_root()
    began = time.monotonic()
    process = agents.enter_context(node.agent())
    placement.log.wait_for(gate.opens(node.root), began)
    return process.pid


def _waiting(pids: collections.abc.Mapping[int, int]) -> dict[int, float]:
    """Seconds of a core in each second of waiting, by size."""
    before = {size: _cpu(pid) for size, pid in pids.items()}
    time.sleep(_IDLE)
    return {
        size: (_cpu(pid) - before[size]) / _IDLE for size, pid in pids.items()
    }


def _cpu(pid: int) -> float:
    """Seconds of a core that a process has had so far.

    By the kernel's clock of that process (clock_getcpuclockid(3)); in
    /proc/PID/stat all of what is measured here would be a tick or two.
    """
    return time.clock_gettime(~pid << 3 | 2)


def _memory(size: int, pid: int) -> figure.Figure:
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return figure.Figure(
        "agent, resident",
        pages * resource.getpagesize() / 2**20,
        "MiB",
        _MEMORY_GOAL_MIB,
        gpus=size,
    )


def _share(size: int, share: float) -> figure.Figure:
    return figure.Figure(
        f"agent's CPU at its interval of {_INTERVAL} s",
        share * 100,
        "% of a core",
        _SHARE_GOAL,
        gpus=size,
    )
