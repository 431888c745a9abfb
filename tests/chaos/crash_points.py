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
"""Kills a real process at every place where it can die, one after another.

Those places are the writes to Placement (a proxy kills when the k-th one
arrives, before or after it is applied) and the mutating NVML calls (the
simulated NVML does). A scenario is run with k = 1, 2, ... until a run ends
without having reached k; nothing is sampled. After each kill nothing more
may be offered than before and nothing that is not there, and a new agent
brings the node to its right state by itself.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from multiprocessing import context
from multiprocessing.process import BaseProcess

from mig_placement.placement import names
from tests.chaos import truth as truths
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import placement_app

_MIXED = {"1g.5gb": 3, "4g.20gb": 1}
_HALVES = {"3g.20gb": 2}
_SMALL = {"1g.5gb": 7}
_HALF = names.class_name("3g.20gb", {})
# Seconds; a process that did not end by then hangs.
_PATIENCE = 40.0
#: Where it dies: at a write to Placement or at an NVML call.
PLACES = ("write before", "write after", "call before", "call after")


class Processes:
    """Processes of the service, forked from one that imported it all."""

    def __init__(self) -> None:
        self._context: context.ForkServerContext = multiprocessing.get_context(
            "forkserver"
        )
        self._context.set_forkserver_preload(
            ["mig_placement.cmd.agent", "mig_placement.cmd.tool",
             "mig_placement.cmd.sync", "mig_placement.cmd.apply",
             "mig_placement.placement.connection", "tests.chaos.crash_points"]
        )  # fmt: skip

    def start(self, node: "Node", *arguments: str) -> BaseProcess:
        """:param arguments: the tool's; none is the agent."""
        process = self._context.Process(
            target=_main,
            args=(str(node.config), node.environment, arguments),
            daemon=True,
        )
        process.start()
        return process


def _main(
    config: str, environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    """In a process of its own, which is one of the service from now on."""
    from mig_placement.cmd import agent
    from mig_placement.cmd import tool

    os.environ.update(environment)
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(quiet, descriptor)
    option = f"--config-file={config}"
    main = tool.main if arguments else agent.main
    os._exit(main([option, *arguments]))


class Node(gpu_node.GpuNode):
    """A node whose requests go through a proxy, and the truth about it."""

    def __init__(
        self,
        folder: pathlib.Path,
        placement: placement_app.TcpPlacement,
        proxy: faulty_server.FaultProxy,
    ) -> None:
        super().__init__(folder, placement.options(), placement.cloud)
        self.sections["placement"]["endpoint_override"] = proxy.url
        self.sections["agent"]["interval"] = "0.2"
        self.sections["layout"]["apply"] = "native"
        self.write_config()
        self._database = placement.process.database
        self.truth = truths.Truth(gpu_node.ROOT_NAME, "node")
        self.create_root()

    def declare(self, devices: dict[str, int]) -> None:
        text = ", ".join(f'"{k}": {v}' for k, v in devices.items())
        self.layout.write_text(gpu_node.LAYOUT.replace('"1g.5gb": 7', text))
        self.truth.declared = [devices]

    def make(self, devices: dict[str, int]) -> None:
        """The geometry, on a GPU without any."""
        for profile in sorted(devices, reverse=True):
            for _ in range(devices[profile]):
                self.gpus.create_instance(0, profile)

    def offer(self) -> truths.Offer:
        with contextlib.closing(
            sqlite3.connect(self._database, timeout=30)
        ) as database:
            return truths.offer(database)

    def excess(self) -> dict[truths.Key, tuple[int, int]]:
        return self.truth.excess(self.offer(), self.gpus.summary())

    def is_watched(self) -> bool:
        """Whether an agent had its first turn."""
        path = self.run_dir / "status.json"
        return path.exists() and self.status()["gate"]["state"] == "open"

    def is_right(self) -> bool:
        """All that is declared is offered, and nothing else."""
        seen, node = self.offer(), self.gpus.summary()
        allowed = self.truth.allowed(node)
        offered = {k: v + seen.used[k] for k, v in seen.units.items() if v}
        return (
            bool(allowed)
            and offered == allowed
            and len(seen.ready) == 2
            and not self.truth.excess(seen, node)
        )


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A stretch of work that may be cut off anywhere.

    :ivar prepare: makes the node as it is before, without any fault.
    :ivar is_done: what a run without a kill comes to.
    :ivar arguments: of the tool that does the work; none is the agent.
    :ivar signal: sent to an agent that has opened; then the work starts.
    :ivar settle: what the world does before the node can be right again.
    """

    name: str
    prepare: Callable[[Node], None]
    is_done: Callable[[Node], bool]
    arguments: tuple[str, ...] = ()
    signal: int = 0
    settle: Callable[[Node], None] = lambda node: None

    @property
    def ends(self) -> bool:
        """Whether its process ends by itself."""
        return bool(self.arguments or self.signal)


def _new(node: Node) -> None:
    node.gpus.create(["A100-40GB"], mig=True)
    node.declare(_SMALL)
    node.make(_SMALL)


def _synced(node: Node) -> None:
    _new(node)
    assert node.tool("sync").returncode == 0
    assert node.is_right()


def _rebooted(node: Node) -> None:
    """Placement remembers what was true before."""
    _synced(node)
    node.gpus.reboot()


def _halves(node: Node) -> None:
    node.gpus.create(["A100-40GB"], mig=True)
    node.declare(_HALVES)
    node.make(_HALVES)
    assert node.tool("sync").returncode == 0
    assert node.is_right()


def _changed(node: Node) -> None:
    _halves(node)
    node.declare(_MIXED)


def _draining(node: Node) -> None:
    """A VM has one of the two, and nobody knows which."""
    _halves(node)
    node.cloud.boot({_HALF: 1})
    node.gpus.add_process(0, (0, 4), 4711)
    node.declare(_MIXED)


def _half_free(node: Node) -> None:
    """Nothing is allocated, and a process keeps one of the two."""
    _halves(node)
    node.gpus.add_process(0, (0, 4), 4711)
    node.declare(_MIXED)


def _has_made_room(node: Node) -> bool:
    """What was free is gone, and what fits beside the rest is there."""
    gpu = node.gpus.summary()["gpus"][0]
    return len(gpu["instances"]) == 4 and _waits(node)


def _drained(node: Node) -> None:
    for provider in node.cloud.providers().values():
        for consumer in node.cloud.consumers(provider.uuid):
            node.cloud.delete_vm(consumer)
    for gpu in node.gpus.summary()["gpus"]:
        for process in gpu["processes"]:
            node.gpus.remove_process(0, process["gi_id"], 4711)


def _waits(node: Node) -> bool:
    """The gate is closed, and the agent says what it waits for."""
    path = node.run_dir / "status.json"
    return path.exists() and "waiting" in str(node.status()["restore"])


def _stopping(node: Node) -> None:
    """Its systemd says that the host goes down."""
    _synced(node)
    systemctl = node.folder / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text("#!/bin/sh\necho stopping\nexit 1\n")
    systemctl.chmod(0o755)
    node.environment["PATH"] = f"{systemctl.parent}:{os.environ['PATH']}"


def _has_left(node: Node) -> bool:
    """Nothing of ours is in Placement."""
    providers = node.cloud.providers()
    return list(providers) == [gpu_node.ROOT_NAME] and _offers_nothing(node)


def _offers_nothing(node: Node) -> bool:
    seen = node.offer()
    return not any(seen.units.values()) and not seen.ready


SCENARIOS = (
    Scenario("first sync", _new, Node.is_right, ("sync",)),
    Scenario("restore", _rebooted, Node.is_right),
    Scenario("layout change", _changed, Node.is_right, ("apply",)),
    Scenario("drain", _draining, _waits, settle=_drained),
    Scenario("partial drain", _half_free, _has_made_room, settle=_drained),
    Scenario(
        "shutdown",
        _stopping,
        _offers_nothing,
        signal=signal.SIGTERM,
        settle=lambda node: node.gpus.reboot(),
    ),
    # Whoever starts the agent after it has the host back.
    Scenario("retire", _synced, _has_left, ("retire", "--nova-stopped")),
)


@dataclasses.dataclass
class Found:
    """What an enumeration came to.

    :ivar points: places where the process was killed.
    """

    points: int = 0
    writes: int = 0
    violations: list[str] = dataclasses.field(default_factory=list)


class CrashPoints:
    """Enumerates the places of scenarios, on one Placement."""

    def __init__(self, server: placement_app.TcpServer) -> None:
        self._server = server
        self._processes = Processes()

    def enumerate(self, scenario: Scenario, place: str) -> Found:
        """:param place: one of PLACES."""
        found = Found()
        while True:
            k = found.points + 1
            with self._node() as (node, proxy):
                run = _Run(node, proxy, self._processes, scenario)
                reached = run.cut_off(place, k)
                found.writes += run.watch.writes
                found.violations += [
                    f"{scenario.name}, {place} {k}: {each}"
                    for each in (*run.watch.violations, *proxy.errors)
                ]
            if not reached:
                return found
            found.points = k

    @contextlib.contextmanager
    def _node(self) -> Iterator[tuple[Node, faulty_server.FaultProxy]]:
        placement = self._server.clean()
        with (
            tempfile.TemporaryDirectory(prefix="mig-crash-") as folder,
            faulty_server.FaultProxy(placement.url) as proxy,
        ):
            yield Node(pathlib.Path(folder), placement, proxy), proxy


class _Run:
    """One run of a scenario, killed at one place, and what comes after."""

    def __init__(
        self,
        node: Node,
        proxy: faulty_server.FaultProxy,
        processes: Processes,
        scenario: Scenario,
    ) -> None:
        scenario.prepare(node)
        self.watch = truths.Watch(node.truth, node.offer, node.gpus.summary)
        self._node = node
        self._processes = processes
        self._scenario = scenario
        self._left = 0
        self._after = False
        self._is_due = False
        self._victim: BaseProcess | None = None
        proxy.add(self._forward)

    def cut_off(self, place: str, k: int) -> bool:
        """Whether the k-th such place was reached before the work ended."""
        kind, _, when = place.partition(" ")
        if self._scenario.signal:
            self._start()
            gpu_node.within(self._node.is_watched, _PATIENCE)
            before = self._node.excess()
            self._arm(kind, k, after=when == "after")
            self._signal(self._scenario.signal)
        else:
            before = self._node.excess()
            self._arm(kind, k, after=when == "after")
            self._start(*self._scenario.arguments)
        reached = self._is_killed()
        self._disarm()
        self._judge(before, reached)
        self._comes_back()
        return reached

    def _start(self, *arguments: str) -> None:
        self._victim = self._processes.start(self._node, *arguments)

    def _signal(self, number: int) -> None:
        assert self._victim is not None
        assert self._victim.pid is not None
        os.kill(self._victim.pid, number)

    def _kill(self) -> None:
        # Of the last write the effect may be seen, and the process ended,
        # before this.
        with contextlib.suppress(ProcessLookupError):
            self._signal(signal.SIGKILL)

    def _arm(self, kind: str, k: int, *, after: bool) -> None:
        if kind == "call":
            self._node.gpus.kill_next(k, after=after)
        else:
            self._left, self._after = k, after

    def _disarm(self) -> None:
        self._left = 0
        self._node.gpus.clear_faults()

    def _forward(self, talk: faults.Talk) -> None:
        """The proxy's only rule: watch each write, and kill at one."""
        if talk.method == "GET":
            talk.send(talk.forward())
            return
        self._left -= 1
        self.watch.before()
        # Known before the answer is: whoever sees the write's effect first.
        self._is_due |= self._left == 0
        if self._left == 0 and not self._after:
            self._kill()
            talk.hang_up()
            return
        answer = talk.forward()
        self.watch.after(f"{talk.method} {talk.target}")
        if self._left == 0:
            self._kill()
        talk.send(answer)

    def _is_killed(self) -> bool:
        """Wait for the work's end, or for the process's."""
        assert self._victim is not None
        process, done = self._victim, self._scenario.is_done

        def is_over() -> bool:
            return not process.is_alive() or (
                not self._scenario.ends and done(self._node)
            )

        gpu_node.within(is_over, _PATIENCE)
        killed = self._is_due or process.exitcode == -signal.SIGKILL
        self._end()
        return killed

    def _end(self) -> None:
        assert self._victim is not None
        self._victim.kill()
        self._victim.join()

    def _judge(
        self, before: dict[truths.Key, tuple[int, int]], killed: bool
    ) -> None:
        """What was wrong before the work may be so still, and no more."""
        for key, (units, most) in self._node.excess().items():
            if units > before.get(key, (0, 0))[0]:
                self.watch.violations.append(
                    f"{units} of {key} offered, {most} are there"
                )
        if not killed and not self._scenario.is_done(self._node):
            self.watch.violations.append("without a kill it came to nothing")

    def _comes_back(self) -> None:
        self._scenario.settle(self._node)
        self._start()
        try:
            gpu_node.within(self._node.is_right, _PATIENCE)
        except AssertionError:
            self.watch.violations.append(
                f"stuck: {self._node.offer()}, {self._node.log_text()[-900:]}"
            )
        finally:
            self._end()
