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
"""The figures, each measured by a function of its own."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from bench import node as nodes
from bench import table
from mig_placement import cycle
from mig_placement import exception
from mig_placement.demo import cloud as clouds
from mig_placement.placement import client
from mig_placement.placement import sync
from mig_placement.service import nvml

_STEADY = 200
_EVENTS = 20
_PATIENCE = 30
_DELAY_MS = 200
_BOOTS = 5
# Each look costs the Placement that the agent waits for some 20 ms.
_RARELY = 0.1


def cycles(node: nodes.Node, url: str) -> list[table.Figure]:
    """First sync and steady cycle, in this process."""
    node.create()
    adapter = nodes.counting(url)
    library = nvml.Nvml(node.settings())
    one = cycle.Cycle(
        node.settings(),
        library,
        sync.Synchronizer(client.Client(adapter), nodes.ROOT_NAME),
    )
    one.tell(one.look())
    first = len(adapter.requests)
    one.tell(one.look())
    adapter.requests.clear()
    cpu = time.process_time()
    for _ in range(_STEADY):
        one.tell(one.look())
    milliseconds = (time.process_time() - cpu) * 1000 / _STEADY
    library.let_go()
    writes = sum(method != "GET" for method in adapter.requests)
    return [
        table.Figure("first sync, 8 GPUs", first, "requests", 45),
        table.Figure(
            "steady cycle", len(adapter.requests) / _STEADY, "requests", 1
        ),
        table.Figure("steady cycle", writes / _STEADY, "writes", 0),
        table.Figure("steady cycle, CPU", milliseconds, "ms", 10),
    ]


def closing(node: nodes.Node, url: str) -> list[table.Figure]:
    """From an instance's disappearance to reserved == total."""
    node.create()
    cloud = nodes.root(url)
    agent = node.agent()
    try:
        return [_closing(node, cloud)]
    finally:
        agent.terminate()
        agent.wait(_PATIENCE)


def _closing(node: nodes.Node, cloud: clouds.Cloud) -> table.Figure:
    seconds = []
    for _ in range(_EVENTS):
        if cloud.wait_for("CUSTOM_MIG_1G_5GB", nodes.GPUS) is None:
            raise RuntimeError("the agent did not open the gate")
        began = time.monotonic()
        node.gpus.destroy_instance(0, (0, 1))
        if not cloud.wait_until_reserved():
            raise RuntimeError("the agent did not close the gate")
        seconds.append(time.monotonic() - began)
        node.gpus.create_instance(0, "1g.5gb", 0)
    return table.Figure(
        "instance gone to reserved == total, median",
        statistics.median(seconds) * 1000,
        "ms",
        150,
    )


def restoring(node: nodes.Node, url: str) -> list[table.Figure]:
    """Eight empty GPUs brought to the layout, at 200 ms for each call."""
    node.gpus.create(["A100-40GB"] * nodes.GPUS, mig=True, overwrite=True)
    node.gpus.set_delay(_DELAY_MS)
    slowest = 2 * nodes.INSTANCES * _DELAY_MS / 1000
    began = time.monotonic()
    node.apply()
    seconds = time.monotonic() - began
    return [
        table.Figure(
            f"restore of 8 GPUs, over that of one ({slowest:g} s)",
            (seconds / slowest - 1) * 100,
            "%",
            10,
        )
    ]


def impossible(node: nodes.Node, url: str) -> list[table.Figure]:
    """What it costs to learn that a layout cannot be had."""
    node.create()
    node.declare('{"3g.20gb": 2, "1g.5gb": 1}')
    try:
        node.apply()
    except exception.LayoutError:
        calls = node.gpus.mutations
    else:
        raise RuntimeError("the impossible layout was applied")
    return [table.Figure("impossible layout", calls, "mutating calls", 0)]


def booting(node: nodes.Node, url: str) -> list[table.Figure]:
    """From the agent's start on eight empty GPUs to open in Placement."""
    seconds = []
    cloud = nodes.root(url)
    for _ in range(_BOOTS):
        node.gpus.create(["A100-40GB"] * nodes.GPUS, mig=True, overwrite=True)
        node.native()
        began = time.monotonic()
        agent = node.agent()
        try:
            # From the second boot on Placement offers what has gone.
            for candidates in (0, nodes.GPUS):
                found = cloud.wait_for(
                    "CUSTOM_MIG_1G_5GB", candidates, _RARELY
                )
                if found is None:
                    raise RuntimeError("the agent did not open the gate")
            seconds.append(time.monotonic() - began)
        finally:
            agent.terminate()
            agent.wait(_PATIENCE)
    return [
        table.Figure(
            "agent's start to open, 8 empty GPUs, median",
            statistics.median(seconds) * 1000,
            "ms",
            1500,
        )
    ]


_MEMORY = """
import sys
from mig_placement import agent
from mig_placement import conf
from mig_placement.placement import connection
from mig_placement.placement import sync
from mig_placement.service import wake
from oslo_config import cfg
from oslo_log import log

options = cfg.ConfigOpts()
log.register_options(options)
options = conf.parse(["--config-file=" + sys.argv[1]], conf=options)
log.setup(options, "mig_placement")
settings = conf.settings(options)
synchronizer = sync.Synchronizer(
    connection.connect(options), settings.root_name)
running = agent.Agent(settings, synchronizer, wake.Waker())
for count in range(1, 1001):
    running.tick()
    if count in (100, 1000):
        with open("/proc/self/statm") as file:
            print(int(file.read().split()[1]) * 4096 / 2**20)
"""


def memory(node: nodes.Node, url: str) -> list[table.Figure]:
    """Resident memory of an agent after 1,000 cycles, and its growth."""
    node.create()
    nodes.root(url)
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(node.config)],
        capture_output=True,
        text=True,
        check=True,
    )
    early, late = (float(line) for line in done.stdout.split())
    return [
        table.Figure("agent after 1,000 cycles, resident", late, "MiB", 80),
        table.Figure("growth, 100 to 1,000 cycles", late - early, "MiB", 1),
    ]


def commands(node: nodes.Node, url: str) -> list[table.Figure]:
    """Whole processes, the interpreter's start included."""
    node.create()
    return [
        table.Figure(
            f"{name}, 8 GPUs, whole process",
            statistics.median(node.tool_seconds(name) for _ in range(9))
            * 1000,
            "ms",
            400,
        )
        for name in ("check", "discover")
    ]


Measure = Callable[[nodes.Node, str], list[table.Figure]]
ALL: tuple[Measure, ...] = (
    cycles,
    closing,
    restoring,
    impossible,
    booting,
    memory,
    commands,
)
