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
"""Agents of many nodes in the threads of one process.

The agents are the service's own, loop, retries, keeper and all; theirs are a
thread, a connection and a folder each. Only NVML is not (hardware.py).
"""

import dataclasses
import logging
import pathlib
import signal
import tempfile
import threading
import time
from typing import Any

from bench.agents import cloud
from bench.agents import hardware
from bench.agents import wire
from mig_placement import agent
from mig_placement import conf
from mig_placement import pace
from mig_placement.placement import client
from mig_placement.placement import sync
from mig_placement.service import measures
from mig_placement.service import wake

_POLL = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Orders:
    """What a crew is to do.

    :ivar numbers: of its nodes.
    :ivar jitter: whether the agents differ in when they come back.
    :ivar restore: seconds that the instances take; None where they are
        there.
    :ivar seconds: for how long; None until all are open.
    :ivar limit: seconds after which it ends in any case.
    """

    url: str
    folder: pathlib.Path
    numbers: tuple[int, ...]
    gpus: int
    jitter: bool = True
    interval: float = 60.0
    restore: float | None = None
    seconds: float | None = None
    limit: float = 3600.0


@dataclasses.dataclass(frozen=True, slots=True)
class Log:
    """What one agent did.

    :ivar cycles: turns of its loop.
    :ivar retries: of them, those that failed.
    """

    number: int
    started: float
    sent: tuple[wire.Sent, ...]
    cycles: int
    retries: int


class _Even:
    """In the place of ``random`` in the agent: all wait equally long."""

    def uniform(self, low: float, high: float) -> float:
        return high


class Bell(wake.Waker):
    """Without a descriptor: select(2) takes none above 1,023."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._ends = False

    def wake(self) -> None:
        self._rung.set()

    def end(self) -> None:
        """Let the agent end, the gate as it is."""
        self._ends = True
        self._rung.set()

    def sleep(self, seconds: float) -> frozenset[int]:
        self._rung.wait(max(seconds, 0))
        self._rung.clear()
        return frozenset({signal.SIGHUP} if self._ends else ())


class Member:
    """One agent and its node."""

    def __init__(
        self, number: int, orders: Orders, both: hardware.Seen
    ) -> None:
        self.number = number
        name = cloud.root_name(number)
        settings = _settings(both.settings, orders, number)
        self.wire = wire.Wire(orders.url, cloud.root_uuid(number))
        self._measured = measures.Measures()
        self._bell = Bell()
        self._started = 0.0
        self._agent = agent.Agent(
            settings,
            sync.Synchronizer(
                client.Client(self.wire, self._measured.request), name
            ),
            self._bell,
            measured=self._measured,
            library=hardware.Hardware(
                settings, both, settings.run_dir.parent / "made"
            ),
        )
        if not orders.jitter:
            self._agent._retry.moment = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        self._started = time.monotonic()
        self._agent.run()

    @property
    def is_open(self) -> bool:
        """As the agent itself says."""
        status = self._measured.status
        return status is not None and status["gate"]["state"] == "open"

    def end(self) -> None:
        self._bell.end()

    def log(self) -> Log:
        """What it did, once it has ended."""
        self._thread.join()
        return Log(
            self.number,
            self._started,
            tuple(self.wire.sent),
            sum(self._measured.cycles().counts),
            self._measured.count("retries"),
        )


def _settings(
    base: conf.Settings, orders: Orders, number: int
) -> conf.Settings:
    folder = orders.folder / f"node{number}"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "made"
    if orders.restore is None:
        made.touch()
    else:
        made.unlink(missing_ok=True)
    return dataclasses.replace(
        base,
        host=f"node{number}",
        root_name=cloud.root_name(number),
        run_dir=folder / "run",
        state_dir=folder / "state",
        interval=orders.interval,
        apply="none" if orders.restore is None else "command",
        apply_command=hardware.command(made, orders.restore or 0.0),
    )


def work(orders: Orders, pipe: Any) -> None:
    """In a process of its own: make the agents, wait, let them run."""
    logging.disable(logging.CRITICAL)
    if not orders.jitter:
        setattr(pace, "random", _Even())  # noqa: B010 - mypy knows a module
    own = pathlib.Path(tempfile.mkdtemp(dir=orders.folder))
    both = hardware.seen(own, orders.gpus)
    members = [Member(number, orders, both) for number in orders.numbers]
    pipe.send("ready")
    pipe.recv()
    for each in members:
        each.start()
    _wait(orders, members)
    for each in members:
        each.end()
    pipe.send([each.log() for each in members])


def _wait(orders: Orders, members: list[Member]) -> None:
    if orders.seconds is not None:
        time.sleep(orders.seconds)
        return
    until = time.monotonic() + orders.limit
    while time.monotonic() < until:
        if all(each.is_open for each in members):
            return
        time.sleep(_POLL)
