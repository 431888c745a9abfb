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
"""Tables of rows, as most of the commands print."""

import argparse
import collections.abc
import sys
from typing import Any

from cliff import lister as cliff

from mig_placement import exception
from mig_placement.cmd import base
from mig_placement.cmd import colour
from mig_placement.cmd import fitting


class Lister(base.Mixin, cliff.Lister):
    """A table: for people it fits the terminal, and says that it is empty.

    :cvar if_empty: the line in place of a table without rows.
    """

    if_empty = "no GPU"

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: collections.abc.Sequence[str],
        data: collections.abc.Iterable[collections.abc.Sequence[Any]],
    ) -> int:
        included = base.included(parsed_args, column_names)
        rows = list(data)
        if parsed_args.formatter == "table":
            if not rows and not parsed_args.print_empty:
                self.app.stdout.write(f"{self.if_empty}\n")
                return exception.EXIT_OK
            rows = self._fitted(parsed_args, column_names, rows, included)
        return super().produce_output(parsed_args, column_names, rows)

    def _fitted(
        self,
        parsed_args: argparse.Namespace,
        names: collections.abc.Sequence[str],
        rows: list[collections.abc.Sequence[Any]],
        included: list[int],
    ) -> list[collections.abc.Sequence[Any]]:
        columns = parsed_args.max_width or colour.columns(self.app.stdout)
        if not columns:
            return rows
        # cliff would cut a name at whatever letter does not fit.
        parsed_args.max_width = sys.maxsize
        shown = fitting.fitted(
            [names[i] for i in included],
            [[row[i] for i in included] for row in rows],
            columns,
        )
        return [
            _replaced(row, dict(zip(included, cells, strict=True)))
            for row, cells in zip(rows, shown, strict=True)
        ]


def _replaced(
    row: collections.abc.Sequence[Any],
    cells: collections.abc.Mapping[int, object],
) -> list[Any]:
    return [cells.get(i, cell) for i, cell in enumerate(row)]
