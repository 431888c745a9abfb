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
"""From the scenarios to figures with goals, and a table of all of them."""

import collections.abc
import dataclasses
import os
import sys

from bench import figure
from bench import table
from bench.agents import mariadb
from bench.agents import scenarios
from bench.agents import summary

# [agent] interval's default, seconds.
_INTERVAL = 60.0
_GPUS = 8
_NAMES = {"mariadb": "MariaDB", "sqlite": "SQLite"}
# The cold starts, as the table has them.
_COLD = {
    "cold": "cold start",
    "vms": "VMs being scheduled",
    "restart": "Placement restarts",
    "no-jitter": "the same, no jitter",
}
_WITH_GOALS = ("cold", "vms")
SCENARIOS = (*_COLD, "steady")


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """Of one database.

    :ivar note: more than figures, as text.
    """

    figures: tuple[figure.Figure, ...]
    note: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Cold:
    """One cold start and what it cost."""

    found: summary.ColdStart
    run: scenarios.Run


def report(options: figure.Options) -> figure.Report:
    """Over every database that can be had."""
    size = scenarios.Size(options.nodes, _GPUS, os.cpu_count() or 1)
    results = [measured(size, kind) for kind in databases("both")]
    return figure.Report(
        tuple(each for one in results for each in one.figures),
        tuple(one.note for one in results),
    )


def say(text: str) -> None:
    """Progress: a thousand agents take their time."""
    print(text, file=sys.stderr, flush=True)


def databases(asked: str) -> list[str]:
    """Those that can be had, of those asked for."""
    wanted = list(_NAMES) if asked == "both" else [asked]
    lacking = mariadb.missing() if "mariadb" in wanted else ""
    if lacking:
        say(f"MariaDB: {lacking} not found ({mariadb.HOW}); SQLite it is")
        return ["sqlite"]
    return wanted


def measured(
    size: scenarios.Size,
    kind: str,
    chosen: collections.abc.Collection[str] = SCENARIOS,
) -> Result:
    """Scenarios over a new database.

    :param kind: of ``databases``.
    :param chosen: of ``SCENARIOS``.
    """
    name = _NAMES[kind]
    with scenarios.fleet(size, kind) as fleet:
        say(f"{name}: {size.nodes} nodes are made")
        fleet.filled()
        alone = summary.start(fleet.alone().logs[0])
        say(f"an agent alone needs {len(alone.sent)} requests")
        cold = {
            each: _cold_start(fleet, each, len(alone.sent))
            for each in _COLD
            if each in chosen
        }
        steady = _steady(fleet, name) if "steady" in chosen else []
    figures = [
        one
        for each in _WITH_GOALS
        if each in cold
        for one in _of_cold_start(cold[each].found, f"{name}, {_COLD[each]}")
    ]
    return Result((*figures, *steady), _note(name, cold))


def _cold_start(fleet: scenarios.Fleet, scenario: str, needed: int) -> _Cold:
    say(_COLD[scenario])
    runs: dict[str, collections.abc.Callable[[], scenarios.Run]] = {
        "cold": fleet.power_cut,
        "vms": fleet.power_cut_with_vms,
        "restart": fleet.power_cut_and_restart,
        "no-jitter": lambda: fleet.power_cut_and_restart(jitter=False),
    }
    run = runs[scenario]()
    made = _Cold(summary.cold_start(run.logs, needed, run.vms), run)
    # Of a run that is cut off this is what remains.
    say(_note("", {scenario: made}))
    return made


def _steady(fleet: scenarios.Fleet, name: str) -> list[figure.Figure]:
    say("nothing happens")
    run, even = fleet.steady()
    _, uneven = fleet.steady(jitter=False)
    return list(_of_steady(run, even, uneven, name))


def _of_cold_start(
    found: summary.ColdStart, name: str
) -> collections.abc.Iterator[figure.Figure]:
    yield figure.Figure(
        f"{name}: all closed, of all open", found.closed_share, "%", 33.3
    )
    yield figure.Figure(f"{name}: wasted requests", found.wasted, "%", 5)
    yield figure.Figure(
        f"{name}: longest wait over median", found.longest_over_median, "", 2
    )
    yield figure.Figure(
        f"{name}: VMs on stale capacity", found.stale_vms, "VMs"
    )


def _of_steady(
    run: scenarios.Run,
    even: summary.Steady,
    uneven: summary.Steady,
    name: str,
) -> collections.abc.Iterator[figure.Figure]:
    per_cycle = even.rate / even.expected
    yield figure.Figure(
        f"{name}, 1,000 nodes, steady", 1000 * per_cycle / _INTERVAL, "req/s"
    )
    yield figure.Figure(
        f"{name}, steady: CPU of Placement",
        1000 * run.placement / run.requests,
        "ms/request",
    )
    yield figure.Figure(
        f"{name}, steady: CPU of the database",
        1000 * run.database / run.requests,
        "ms/request",
    )
    yield figure.Figure(
        f"{name}, steady: busiest tenth over mean", even.busiest, "", 3
    )
    yield figure.Figure(f"{name}, the same without jitter", uneven.busiest, "")


def _note(name: str, cold: collections.abc.Mapping[str, _Cold]) -> str:
    """The cold starts, side by side."""
    columns = {_COLD[key]: dict(_rows(each)) for key, each in cold.items()}
    rows = next(iter(columns.values()), {})
    return table.grid(
        (name, *columns),
        [(row, *(column[row] for column in columns.values())) for row in rows],
    )


def _rows(cold: _Cold) -> collections.abc.Iterator[tuple[str, str]]:
    found, run = cold.found, cold.run
    yield "all closed, s", f"{found.closed:.1f}"
    yield "all wholly reserved, s", f"{found.reserved:.1f}"
    yield "all open, s", f"{found.opened:.1f}"
    yield "median wait, s", f"{found.median_wait:.1f}"
    yield "longest wait, s", f"{found.longest_wait:.1f}"
    yield "requests a node", f"{found.requests / found.nodes:.1f}"
    yield "of them writes", f"{found.writes / found.nodes:.1f}"
    yield "409", str(found.conflicts)
    yield "failed, 409 too", str(found.failed)
    yield "wasted, %", f"{found.wasted:.1f}"
    yield "cycles tried again", str(found.retries)
    yield "VMs scheduled", str(len(run.vms))
    yield "on stale capacity", str(found.stale_vms)
    yield "Placement, CPU s", f"{run.placement:.1f}"
    yield "database, CPU s", f"{run.database:.1f}"
    yield (
        "CPU ms a request, both",
        f"{1000 * (run.placement + run.database) / run.requests:.1f}",
    )
