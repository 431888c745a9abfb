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
"""The scenarios, each over the same Placement with the same nodes in it."""

import collections.abc
import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import tempfile
import threading
import time
from typing import Any
from typing import Protocol

from bench.agents import cloud
from bench.agents import crew
from bench.agents import mariadb
from bench.agents import summary
from bench.agents import workers

# What the operator's command takes on a node (s).
RESTORE = 5.0
# Placement is away for so long (s), besides its own start.
DOWN = 3.0
# A Placement on a busy machine answers so many steady requests per second.
STEADY_RATE = 10.0
SHORTEST_INTERVAL = 4.0
# Intervals: until all agents have found their moments, and those watched.
SETTLING = 3
WATCHED = 3
_PATIENCE = 20.0
_POLL = 0.2
# VMs per second.
VM_RATE = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What came of one scenario.

    :ivar placement: processor seconds of Placement's workers.
    :ivar database: those of MariaDB; 0 with SQLite, which has no process.
    """

    logs: tuple[crew.Log, ...]
    placement: float
    database: float
    vms: tuple[cloud.Vm, ...] = ()
    vm_requests: int = 0

    @property
    def requests(self) -> int:
        return sum(len(each.sent) for each in self.logs) + self.vm_requests


class Database(Protocol):
    """What Placement keeps its data in."""

    @property
    def connection(self) -> str: ...

    def cpu(self) -> float: ...


class Sqlite:
    """A file; one worker, for SQLite has one writer."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.connection = f"sqlite:///{folder / 'placement.sqlite'}"

    def cpu(self) -> float:
        return 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """How much of it all."""

    nodes: int
    gpus: int
    workers: int


class Fleet:
    """A Placement, and agents of so many nodes when they are wanted."""

    def __init__(
        self, size: Size, database: Database, folder: pathlib.Path
    ) -> None:
        self.size = size
        self.placement = workers.Workers(database.connection, size.workers)
        self._database = database
        self._folder = folder

    def run(
        self,
        meanwhile: contextlib.AbstractContextManager[Any] | None = None,
        *,
        nodes: int | None = None,
        **orders: Any,
    ) -> Run:
        """Let an agent of each node run, all at once.

        :param nodes: how many of them, if not all.
        :param orders: more of ``crew.Orders``.
        """
        dealt = self._deal(nodes or self.size.nodes)
        with contextlib.ExitStack() as stack:
            crews = [self._crew(stack, each, orders) for each in dealt]
            for pipe in crews:
                pipe.recv()
            before = self.cpu()
            if meanwhile:
                stack.enter_context(meanwhile)
            for pipe in crews:
                pipe.send("go")
            logs = [log for pipe in crews for log in pipe.recv()]
            spent = self.cpu()
        return Run(tuple(logs), spent[0] - before[0], spent[1] - before[1])

    def cpu(self) -> tuple[float, float]:
        """Seconds of Placement's workers and of the database so far."""
        return self.placement.cpu(), self._database.cpu()

    def _deal(self, nodes: int) -> list[tuple[int, ...]]:
        """Nodes for each processor core."""
        cores = min(os.cpu_count() or 1, nodes)
        return [tuple(range(first, nodes, cores)) for first in range(cores)]

    def _crew(
        self,
        stack: contextlib.ExitStack,
        numbers: tuple[int, ...],
        orders: dict[str, Any],
    ) -> Any:
        """Our end of its pipe."""
        # A fork would take the threads' locks with it.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        given = crew.Orders(
            self.placement.url,
            self._folder,
            numbers,
            self.size.gpus,
            **orders,
        )
        process = context.Process(
            target=crew.work, args=(given, theirs), daemon=True
        )
        process.start()
        theirs.close()
        stack.callback(_end, process)
        return ours

    def filled(self) -> Run:
        """All nodes for the first time, as they should be."""
        cloud.make_roots(self.placement.url, self.size.nodes)
        return self.run()

    def alone(self) -> Run:
        """A cold start that nothing disturbs, once what only the first one
        of a cloud writes is there: traits for the reasons."""
        self.run(nodes=1, restore=0.0)
        return self.run(nodes=1, restore=0.0)

    def steady(self, *, jitter: bool = True) -> tuple[Run, summary.Steady]:
        """Nothing happens. The run is that of the intervals watched."""
        interval = max(SHORTEST_INTERVAL, self.size.nodes / STEADY_RATE)
        window = _Window(self, interval)
        run = self.run(
            window.watching(),
            interval=interval,
            seconds=interval * (SETTLING + WATCHED),
            jitter=jitter,
        )
        seen = summary.steady(run.logs, interval, window.began, window.ended)
        return window.of(run), seen

    def power_cut(self) -> Run:
        """All nodes lost their instances; Placement offers them all."""
        return self.run(restore=RESTORE)

    def power_cut_with_vms(self) -> Run:
        """The same, while VMs are being scheduled."""
        scheduler = cloud.Scheduler(self.placement.url, VM_RATE)
        run = self.run(scheduler.running(), restore=RESTORE)
        return dataclasses.replace(
            run, vms=tuple(scheduler.vms), vm_requests=scheduler.requests
        )

    def power_cut_and_restart(self, *, jitter: bool = True) -> Run:
        """The same, and Placement restarts when all have been closed, and
        are busy with reading what they have."""
        return self.run(self._restarting(), restore=RESTORE, jitter=jitter)

    @contextlib.contextmanager
    def _restarting(self) -> collections.abc.Iterator[None]:
        thread = threading.Thread(target=self._restart, daemon=True)
        thread.start()
        yield
        thread.join()

    def _restart(self) -> None:
        while cloud.open_nodes(self.placement.url):
            time.sleep(_POLL)
        self.placement.stop()
        time.sleep(DOWN)
        self.placement.start()


def _end(process: multiprocessing.process.BaseProcess) -> None:
    """It ends by itself once it has told what it did."""
    process.join(_PATIENCE)
    process.terminate()


class _Window:
    """Looks at the processor time at both ends of the intervals watched."""

    def __init__(self, fleet: Fleet, interval: float) -> None:
        self._fleet = fleet
        self._interval = interval
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.began = self.ended = 0.0
        self._spent = (0.0, 0.0)

    @contextlib.contextmanager
    def watching(self) -> collections.abc.Iterator[None]:
        self._thread.start()
        yield
        self._thread.join()

    def _watch(self) -> None:
        time.sleep(self._interval * SETTLING)
        self.began, before = time.monotonic(), self._fleet.cpu()
        # Not to the very end: the agents are told to go then.
        time.sleep(self._interval * WATCHED * 0.99)
        self.ended, after = time.monotonic(), self._fleet.cpu()
        self._spent = (after[0] - before[0], after[1] - before[1])

    def of(self, run: Run) -> Run:
        """What of the run was in it."""
        logs = tuple(
            dataclasses.replace(
                each,
                sent=tuple(
                    one
                    for one in each.sent
                    if self.began <= one.began < self.ended
                ),
            )
            for each in run.logs
        )
        return Run(logs, *self._spent)


@contextlib.contextmanager
def fleet(size: Size, kind: str) -> collections.abc.Iterator[Fleet]:
    """A Placement over a new database.

    :param kind: ``sqlite`` or ``mariadb``.
    """
    # Each real node writes to a disk of its own; here all would to one.
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="mig-bench-", dir=memory)
            )
        )
        database: Database
        if kind == "mariadb":
            database = stack.enter_context(mariadb.MariaDb())
        else:
            database = Sqlite(folder)
            size = dataclasses.replace(size, workers=1)
        made = Fleet(size, database, folder)
        stack.enter_context(made.placement)
        yield made
