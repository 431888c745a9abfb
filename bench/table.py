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
"""The figures of a run, as a table for people and as JSON."""

import dataclasses
import json
import os
import pathlib
import platform


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    :ivar value: in ``unit``; a count, milliseconds or MiB.
    :ivar goal: the most that it may be; None where nothing is promised.
    :ivar at_least: the goal is the least that it may be.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.goal is None:
            return True
        if self.at_least:
            return self.value >= self.goal
        return self.value <= self.goal


def machine() -> str:
    """Processor, cores and Python of this machine."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        names = [x for x in text.splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip()
    except (OSError, IndexError):
        cpu = platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def text(figures: list[Figure]) -> str:
    """A simple RST table."""
    return grid(
        ("figure", "measured", "goal", "unit"),
        [
            (each.name, _number(each.value), _goal(each), each.unit)
            for each in figures
        ],
    )


def grid(head: tuple[str, ...], body: list[tuple[str, ...]]) -> str:
    """A simple RST table of cells."""
    rows = [head, *body]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    mark = "" if figure.met else " (missed)"
    return f"{_number(figure.goal)}{mark}"


def write_json(figures: list[Figure], path: pathlib.Path) -> None:
    value = {
        "machine": machine(),
        "figures": [dataclasses.asdict(each) for each in figures],
    }
    path.write_text(json.dumps(value, indent=1) + "\n")
