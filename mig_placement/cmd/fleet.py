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
"""fleet: all nodes' GPUs, as Placement has them."""

import argparse
import collections.abc
import datetime
import pathlib
import re
import sys
from typing import Any

from mig_placement import conf
from mig_placement import exception
from mig_placement.cmd import lister
from mig_placement.page import fleet as pages
from mig_placement.placement import client as clients
from mig_placement.placement import connection
from mig_placement.placement import fleet
from mig_placement.placement import fleet_reader
from mig_placement.placement import names
from mig_placement.service import files

_UNITS = ("Total", "Used", "Reserved", "Free")
_GPU_COLUMNS = (
    "Node",
    "GPU",
    "Class",
    *_UNITS,
    "Gate",
    "Reason",
    "Layout",
)
_NODE_COLUMNS = ("Node", "GPUs", "Open", "Class", *_UNITS)
_CLASS_COLUMNS = ("Class", "GPUs", "Open", *_UNITS)
# Of a whole fleet, the same trouble comes many times.
_MOST_LINES = 10

_Rows = list[tuple[object, ...]]
_Table = tuple[tuple[str, ...], _Rows]


class Fleet(lister.Lister):
    """Show the GPUs of all nodes, class by class, from Placement alone.

    It takes two requests for each GPU, 16 for a node of eight, and one for
    each different reason, layout and product in the cloud. GPUs that a
    filter leaves out for their gate or layout are not asked for.

    Exit status 3: with --blocked, something is; 5: something could not be
    read, the rest is shown.
    """

    if_empty = "no GPU is as asked for"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_filters(parser)
        parser.add_argument(
            "--by",
            choices=("gpu", "node", "class"),
            default="gpu",
            help="a row for each class of each GPU, the default; or the"
            " totals of each node, or of the fleet",
        )
        parser.add_argument(
            "--html",
            type=pathlib.Path,
            metavar="FILE",
            help="write a map of the GPUs and their slices to a file, one page"
            " that needs no other, in place of the table",
        )
        parser.add_argument(
            "--requests",
            type=_workers,
            default=fleet_reader.WORKERS,
            metavar="N",
            help="so many at a time, 1 to 32; default:"
            f" {fleet_reader.WORKERS}",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        reader = fleet_reader.Reader(
            self.placement(), parsed_args.requests, _progress()
        )
        found = reader.read(_filter(parsed_args))
        _tell(found)
        if found.troubled:
            self.exit_status = exception.EXIT_NO_PLACEMENT
        elif parsed_args.blocked and found.gpus:
            self.exit_status = exception.EXIT_MISMATCH
        self._summary = fleet.summary(found)
        if parsed_args.html:
            now = datetime.datetime.now(datetime.UTC)
            files.write_text(parsed_args.html, pages.page(found, now))
        return _TABLES[parsed_args.by](found)

    def placement(self) -> clients.Client:
        """:raises ConfigError: the credentials are not complete."""
        return connection.connect(conf.parse(self.app.config_arguments()))

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: collections.abc.Sequence[str],
        data: collections.abc.Iterable[collections.abc.Sequence[Any]],
    ) -> int:
        """People get the sums in a line; machines get rows alone."""
        status = exception.EXIT_OK
        if not parsed_args.html:
            status = super().produce_output(parsed_args, column_names, data)
        if parsed_args.html or parsed_args.formatter == "table":
            self.app.stdout.write(f"{self._summary}\n")
        return status


def by_gpu(found: fleet.Fleet) -> _Table:
    """A row for each class of each GPU; one for a GPU without any."""
    return _GPU_COLUMNS, [
        (
            gpu.node,
            gpu.address,
            *_cells(row),
            "open" if gpu.is_open else "blocked",
            _reason(gpu),
            gpu.layout,
        )
        for gpu in found.gpus
        for row in (gpu.rows or (None,))
    ]


def by_node(found: fleet.Fleet) -> _Table:
    """A row for each class of each node."""
    return _NODE_COLUMNS, [
        (node.name, *_counts(node.gpus), *_cells(row))
        for node in found.nodes
        for row in (fleet.totals(node.gpus) or (None,))
    ]


def by_class(found: fleet.Fleet) -> _Table:
    """A row for each class; the GPUs are those that have it."""
    return _CLASS_COLUMNS, [
        (row.name, *_counts(_with_class(found.gpus, row.name)), *_units(row))
        for row in fleet.totals(found.gpus)
    ]


_TABLES: dict[str, collections.abc.Callable[[fleet.Fleet], _Table]] = {
    "gpu": by_gpu,
    "node": by_node,
    "class": by_class,
}


def _with_class(
    gpus: collections.abc.Iterable[fleet.Gpu], name: str
) -> tuple[fleet.Gpu, ...]:
    return tuple(g for g in gpus if any(row.name == name for row in g.rows))


def _counts(gpus: tuple[fleet.Gpu, ...]) -> tuple[int, int]:
    return len(gpus), sum(gpu.is_open for gpu in gpus)


def _cells(row: fleet.ClassRow | None) -> tuple[object, ...]:
    return ("",) * 5 if row is None else (row.name, *_units(row))


def _units(row: fleet.ClassRow) -> tuple[int, ...]:
    return row.total, row.used, row.reserved, row.free


def _reason(gpu: fleet.Gpu) -> str:
    """The trouble itself, with its mend, is on standard error."""
    return " ".join((*gpu.reasons, *(("(not read)",) if gpu.trouble else ())))


def _filter(parsed_args: argparse.Namespace) -> fleet.Filter:
    return fleet.Filter(
        parsed_args.blocked,
        frozenset(parsed_args.classes),
        parsed_args.layout or "",
    )


def _class_name(text: str) -> str:
    return names.class_name(text, {}) if names.is_profile(text) else text


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--blocked",
        action="store_true",
        help="only GPUs whose gate is closed",
    )
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        type=_class_name,
        metavar="CLASS",
        help="only this resource class, for example CUSTOM_MIG_1G_5GB, or"
        " that of a profile where it is not mapped; may be given more than"
        " once",
    )
    parser.add_argument(
        "--layout",
        metavar="LABEL",
        help="only GPUs whose node has this label of the layout file",
    )


def _workers(text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= 32:
        raise argparse.ArgumentTypeError("is to be 1 to 32")
    return int(text)


def _progress() -> fleet_reader.Progress:
    """A line that counts, where a person looks on."""
    if not sys.stderr.isatty():
        return lambda done, of: None
    return _count


def _count(done: int, of: int) -> None:
    # Cleared at the end: the table comes in its place.
    line = "" if done == of else f"{done} of {of} GPUs"
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()


def _tell(found: fleet.Fleet) -> None:
    """What is missing in the table, on standard error."""
    lines = [
        *found.notes,
        *(f"{g.node} {g.address}: {g.trouble}" for g in found.troubled),
    ]
    for line in lines[:_MOST_LINES]:
        print(f"mig-placement: {exception.one_line(line)}", file=sys.stderr)
    if len(lines) > _MOST_LINES:
        print(
            f"mig-placement: and {len(lines) - _MOST_LINES} more like these",
            file=sys.stderr,
        )
