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
"""An agent through hours of faults: nothing leaks, and nothing gets stuck.

Its interval is a tenth of a second in place of a minute, so that
a minute is worth hours of turns. Every few turns something goes wrong;
every few faults all is well for a moment, the node has to be right then,
and what the process holds is counted.
"""

import contextlib
import dataclasses
import pathlib
import random
import tempfile
from collections.abc import Callable

from mig_placement import simulator
from mig_placement.service import marks
from tests.chaos import crash_points
from tests.functional import cloud as clouds
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import placement_app

INTERVAL = 0.1
# [agent] interval of an agent that is not in a hurry, in seconds.
_REAL_INTERVAL = 60.0
_FAULTS_A_ROUND = 4
# Python's allocator, and a log's buffers: what is no leak.
_RSS_SLACK_KIB = 16 * 1024
_DECLARED = {"1g.5gb": 7}

_FAULTS: tuple[faults.Fault, ...] = (
    faults.html(503),
    faults.html(200),
    faults.error(500),
    faults.error(409, "placement.concurrent_update"),
    faults.error(404),
    faults.too_many(),
    faults.broken_json(),
    faults.Drop(),
    faults.Drop(reset=True),
    faults.Lost(),
    faults.CutOff(),
    faults.Late(0.3),
)


@dataclasses.dataclass(frozen=True)
class Held:
    """What a process holds of the machine."""

    files: int
    threads: int
    rss_kib: int


@dataclasses.dataclass
class Report:
    """What a soak came to."""

    turns: int = 0
    faults: int = 0
    rounds: int = 0
    held: list[Held] = dataclasses.field(default_factory=list)
    violations: list[str] = dataclasses.field(default_factory=list)

    @property
    def hours(self) -> float:
        """Of an agent with the usual interval."""
        return self.turns * _REAL_INTERVAL / 3600

    def judge(self) -> None:
        """More at the end than ever after the first rounds is a leak."""
        first = self.held[: max(2, len(self.held) // 4)]
        last = self.held[-1]
        for name, slack in (
            ("files", 2),
            ("threads", 1),
            ("rss_kib", _RSS_SLACK_KIB),
        ):
            most = max(getattr(each, name) for each in first)
            now = getattr(last, name)
            if now > most + slack:
                self.violations.append(f"{name}: {most} first, {now} at last")


def soak(server: placement_app.TcpServer, hours: float, seed: int) -> Report:
    """At least two rounds, and as many as the hours take: the agent's."""
    placement = server.clean()
    with (
        tempfile.TemporaryDirectory(prefix="mig-soak-") as folder,
        faulty_server.FaultProxy(placement.url) as proxy,
    ):
        node = crash_points.Node(pathlib.Path(folder), placement, proxy)
        node.sections["agent"]["interval"] = str(INTERVAL)
        node.sections["placement"]["timeout"] = "2"
        node.write_config()
        node.gpus.create(["A100-40GB"], mig=True)
        node.declare(_DECLARED)
        return _Soak(node, proxy, random.Random(seed)).run(hours)


class _Soak:
    def __init__(
        self,
        node: crash_points.Node,
        proxy: faulty_server.FaultProxy,
        chance: random.Random,
    ) -> None:
        self._node = node
        self._proxy = proxy
        self._chance = chance
        self._report = Report()
        self._disturbances: tuple[Callable[[], object], ...] = (
            lambda: node.gpus.destroy_instance(0, (chance.randrange(7), 1)),
            lambda: node.gpus.clear(0),
            lambda: node.gpus.send_xid(0, 94, (chance.randrange(7), 1)),
            lambda: node.gpus.set_driver(False),
            lambda: node.gpus.reset_gpu(0, force=True),
            lambda: node.gpus.lose_gpu(0),
            lambda: node.layout.write_text("version: v1\nmig-configs: {"),
            lambda: node.cloud.delete_provider(node.provider().uuid),
            lambda: node.cloud.recreate_root(
                node.cloud.providers()[gpu_node.ROOT_NAME].uuid
            ),
            self._inflate,
        )

    def run(self, hours: float) -> Report:
        agent = self._node.start_agent()
        try:
            gpu_node.within(self._node.is_right, 60)
            while self._report.rounds < 2 or self._report.hours < hours:
                self._round(agent.pid)
                if agent.poll() is not None:
                    self._report.violations.append("the agent has ended")
                if self._report.violations:
                    break
        finally:
            self._node.stop_agents()
        self._report.judge()
        return self._report

    def _round(self, pid: int) -> None:
        for _ in range(_FAULTS_A_ROUND):
            times = self._chance.randrange(1, 4)
            self._proxy.add(self._chance.choice(_FAULTS), times=times)
            # The world's refusals are no business of the agent's.
            with contextlib.suppress(
                simulator.SimulatorError, clouds.Refused, KeyError
            ):
                self._chance.choice(self._disturbances)()
            self._turns(self._chance.randrange(1, 6))
            self._report.faults += 1
        self._calm_down()
        try:
            gpu_node.within(self._is_right, 60)
        except AssertionError:
            self._report.violations.append(
                f"stuck: {self._node.offer()} {self._node.log_text()[-900:]}"
            )
        self._report.held.append(_held(pid))
        self._report.rounds += 1

    def _turns(self, count: int) -> None:
        for _ in range(count):
            self._node.turn()
            self._report.turns += 1

    def _inflate(self) -> None:
        provider = self._node.provider()
        self._node.cloud.set_inventories(
            provider.uuid, {gpu_node.CLASS: {"total": 20, "max_unit": 20}}
        )

    def _calm_down(self) -> None:
        """The world is as it should be, but for the instances."""
        self._proxy.heal()
        self._proxy.log.clear()
        self._node.gpus.set_driver(True)
        self._node.gpus.return_gpu(0)
        self._node.declare(_DECLARED)

    def _is_right(self) -> bool:
        """An operator has to release what XIDs made unfit; the last ones
        may be on their way to the agent yet."""
        marks.clear(self._node.run_dir)
        return self._node.is_right()


def _held(pid: int) -> Held:
    process = pathlib.Path("/proc", str(pid))
    lines = (process / "status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return Held(
        files=len(list((process / "fd").iterdir())),
        threads=int(values["Threads"]),
        rss_kib=int(values["VmRSS"].split()[0]),
    )
