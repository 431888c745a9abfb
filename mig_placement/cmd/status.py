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
"""status: what the agent last saw and did, each GPU's slices drawn."""

import argparse
import collections.abc
import sys
from typing import Any

from cliff import columns
from cliff import show

from mig_placement import exception
from mig_placement.cmd import base
from mig_placement.cmd import colour
from mig_placement.cmd import drawing
from mig_placement.service import lock
from mig_placement.service import status

_Value = collections.abc.Mapping[str, Any]

_OF_STATE = {
    "ok": None,
    "unknown": None,
    "missing": drawing.Mark.MISSING,
    "extra": drawing.Mark.EXTRA,
    "amiss": drawing.Mark.AMISS,
    "moves": drawing.Mark.MOVES,
}
# What the drawing has; a table below it need not say it again.
_DRAWN = frozenset({"gate", "since", "reasons", "hold", "next", "gpus"})


class _Reasons(columns.FormattableColumn[Any]):
    def human_readable(self) -> str:
        return "\n".join(_reasons(self._value))

    def machine_readable(self) -> Any:
        return self._value


class _Lines(columns.FormattableColumn[Any]):
    def human_readable(self) -> str:
        return "\n".join(self._value)

    def machine_readable(self) -> Any:
        return self._value


class _Gpus(columns.FormattableColumn[Any]):
    def human_readable(self) -> str:
        lines = drawing.gpus([_gpu(each) for each in self._value])
        return colour.text(lines, coloured=False).rstrip()

    def machine_readable(self) -> Any:
        return self._value


class Status(base.Mixin, show.ShowOne):
    """Show what the agent last saw and did.

    Exit status 0: the gate is open; 3: it is closed or not known, or no
    agent runs to keep it true.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[object, ...]]:
        settings = self.settings()
        value = _cleaned(status.read(settings.run_dir))
        runs = lock.agent_runs(settings.run_dir)
        if not runs and "next" in value:
            value["next"] = "nothing: no agent runs"
        fields, lines = _understood(value, runs, self._columns())
        if not runs:
            print(
                "mig-placement: no agent runs on this node, this is what the"
                " last one saw; start mig-placement-agent",
                file=sys.stderr,
            )
        if not runs or fields["gate"] != "open":
            self.exit_status = exception.EXIT_MISMATCH
        if parsed_args.formatter == "table" and not parsed_args.columns:
            self._draw(lines)
            fields = {k: v for k, v in fields.items() if k not in _DRAWN}
        return tuple(fields), tuple(fields.values())

    def _columns(self) -> int | None:
        return colour.columns(self.app.stdout)

    def _draw(self, lines: list[drawing.Line]) -> None:
        stream = self.app.stdout
        coloured = colour.is_wanted(stream)
        while lines and not lines[-1]:
            lines.pop()
        stream.write(colour.text([*lines, ()], coloured=coloured))


def _cleaned(value: Any) -> Any:
    """The value with nothing in its texts that a terminal obeys."""
    if isinstance(value, str):
        return drawing.plain(value)
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {_cleaned(k): _cleaned(v) for k, v in value.items()}
    return value


def _understood(
    value: _Value, runs: bool, width: int | None
) -> tuple[dict[str, object], list[drawing.Line]]:
    """The fields and the drawing.

    :raises ConfigError: the file is none that this version writes.
    """
    try:
        return _fields(value, runs), _drawn(value, width)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise exception.ConfigError(
            f"it is of another version ({error!r})",
            where="the status file",
            mend="restart mig-placement-agent",
        ) from error


def _fields(value: _Value, runs: bool) -> dict[str, object]:
    placement = value["placement"]
    return {
        "host": value["host"],
        "agent": f"running (pid {value['pid']})" if runs else "stopped",
        "updated": value["updated"],
        "gate": value["gate"]["state"],
        "since": value["gate"]["since"],
        "reasons": _Reasons(value["gate"]["reasons"]),
        "hold": value["hold"],
        "next": value["next"],
        "layout": value["layout"]["label"] or "",
        "layout_file": value["layout"]["file"],
        "placement": "in step" if placement["in_step"] else "not in step",
        "placement_trouble": placement["trouble"],
        "placement_last_success": placement["last_success"],
        "compute_service": value.get("compute_service", ""),
        "restore": _Lines(value["restore"]),
        "nova": _Lines(value["nova"]),
        "gpus": _Gpus(value["gpus"]),
    }


def _drawn(value: _Value, width: int | None) -> list[drawing.Line]:
    """The gate, why, what comes next, and the GPUs."""
    gate, trouble = value["gate"], value["placement"]["trouble"]
    gpus = [_gpu(each) for each in value["gpus"]]
    of_gpus = {f"{r['reason']}: {r['detail']}" for r in _of_gpus(value)}
    head = [
        f"gate: {gate['state']} since {gate['since']}",
        *(f"  {r}" for r in _reasons(gate["reasons"]) if r not in of_gpus),
        *([f"  {trouble}"] if trouble else []),
        f"next: {value['next']}",
    ]
    return [
        *((drawing.Span(line),) for line in head),
        (),
        *drawing.gpus(gpus, width),
    ]


def _of_gpus(value: _Value) -> list[dict[str, str]]:
    """The reasons that a GPU below shows, worded as the gate's."""
    return [
        {**each, "detail": f"GPU {gpu['index']}: {each['detail']}"}
        for gpu in value["gpus"]
        for each in (*gpu["reasons"], *gpu["unfit"])
    ]


def _reasons(values: collections.abc.Iterable[_Value]) -> list[str]:
    return [f"{each['reason']}: {each['detail']}" for each in values]


def _gpu(value: _Value) -> drawing.Gpu:
    gate = "closed" if value["reasons"] else "open"
    return drawing.Gpu(
        f"GPU {value['index']} {value['pci_address']} {value['product']}:"
        f" {gate}",
        int(value["slices"]),
        tuple(_cell(each) for each in value["declared"]),
        tuple(_cell(each) for each in value["instances"]),
        tuple(dict.fromkeys(_reasons([*value["reasons"], *value["unfit"]]))),
    )


def _cell(value: _Value) -> drawing.Cell:
    found = {
        _OF_STATE[value["state"]],
        drawing.Mark.SICK if value.get("xids") else None,
        drawing.Mark.HELD if value.get("vgpus") else None,
        drawing.Mark.IN_USE if value.get("processes") else None,
    }
    marks = frozenset(mark for mark in found if mark is not None)
    start, size = int(value["start"]), int(value["size"])
    return drawing.Cell(value["profile"], start, size, marks)
