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
"""The figures of a run, as tables for people and as JSON."""

import collections.abc
import dataclasses
import json
import os
import pathlib
import platform

from bench import figure

_Figures = collections.abc.Collection[figure.Figure]


def machine() -> str:
    """Processor, cores and Python of this machine."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        names = [x for x in text.splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip()
    except (OSError, IndexError):
        cpu = platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def text(figures: _Figures) -> str:
    """Simple RST tables: of single figures, and of those that may grow."""
    single = [each for each in figures if each.gpus is None]
    grown = [each for each in figures if each.gpus is not None]
    return "\n\n".join(
        ([_single(single)] if single else [])
        + ([_growth(grown)] if grown else [])
    )


def _single(figures: _Figures) -> str:
    return grid(
        ("figure", "measured", "goal", "minimum", "unit"),
        [
            (
                each.name,
                _measured(each),
                _number(each.goal),
                _number(each.minimum),
                each.unit,
            )
            for each in figures
        ],
    )


def _growth(figures: _Figures) -> str:
    """A row for each figure, a column for each number of GPUs."""
    sizes = sorted({each.gpus for each in figures if each.gpus is not None})
    rows: dict[tuple[str, str], dict[int | None, figure.Figure]] = {}
    for each in figures:
        rows.setdefault((each.name, each.unit), {})[each.gpus] = each
    return grid(
        ("figure, by GPUs", *map(str, sizes), "goal", "minimum", "unit"),
        [
            (
                name,
                *(_measured(row[n]) if n in row else "" for n in sizes),
                _goals(row.values()),
                _range([each.minimum for each in row.values()]),
                unit,
            )
            for (name, unit), row in rows.items()
        ],
    )


def _goals(row: _Figures) -> str:
    """One for all, or those of the sizes that have one."""
    goals = {each.gpus: each.goal for each in row}
    if len(set(goals.values())) == 1:
        return _number(next(iter(goals.values())))
    return ", ".join(
        f"{_number(goal)} at {gpus}"
        for gpus, goal in goals.items()
        if goal is not None
    )


def _range(values: collections.abc.Iterable[float | None]) -> str:
    known = [each for each in values if each is not None]
    if not known:
        return ""
    ends = dict.fromkeys((_number(min(known)), _number(max(known))))
    return " to ".join(ends)


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


def _measured(one: figure.Figure) -> str:
    if one.value is None:
        return "skipped"
    return _number(one.value) + ("" if one.met else " (missed)")


def _number(value: float | None) -> str:
    """As many digits as tell something."""
    if value is None:
        return ""
    if value == round(value) or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 1:
        return f"{value:.1f}"
    return f"{value:.4f}".rstrip("0")


def write_json(figures: _Figures, path: pathlib.Path) -> None:
    value = {
        "machine": machine(),
        "figures": [
            {**dataclasses.asdict(each), "met": each.met} for each in figures
        ],
    }
    path.write_text(json.dumps(value, indent=1) + "\n")
