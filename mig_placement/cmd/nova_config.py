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
"""nova-config: what nova.conf must say for the node's layout."""

import argparse
import collections.abc
import pathlib
import sys

from mig_placement import conf
from mig_placement import exception
from mig_placement.cmd import base
from mig_placement.cmd import lister
from mig_placement.geometry import layout
from mig_placement.geometry import layout_file
from mig_placement.nova import check
from mig_placement.nova import config_files
from mig_placement.nova import needed
from mig_placement.nova import render
from mig_placement.placement import names
from mig_placement.service import files
from mig_placement.service import way as ways

_COLUMNS = ("Section", "Option", "Have", "Need", "Why")


class NovaConfig(lister.Lister):
    """Print the nova.conf fragment for this node's layout.

    With --check nova.conf is compared with it instead, and nothing is
    written. Exit status 0: done, or no difference; 3: there are some; 2:
    there is no such fragment, or nova.conf cannot be parsed.
    """

    if_empty = "no difference"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--part",
            choices=[each.value for each in needed.Part],
            help="only what nova-compute reads, or only what the control"
            " plane does; default: both",
        )
        action = parser.add_mutually_exclusive_group()
        action.add_argument(
            "--output",
            metavar="FILE",
            type=pathlib.Path,
            help="write it there, in one step; a file that says the same"
            " already is left alone",
        )
        action.add_argument(
            "--check",
            metavar="FILE",
            nargs="+",
            action="extend",
            help="show where these differ from it: files, and directories"
            " as of --config-dir, in the order that Nova is given them",
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        parts = _parts(parsed_args.part)
        config = _needed(self.settings())
        if not parsed_args.check:
            self._give(render.render(config, parts), parsed_args.output)
            return _COLUMNS, []
        found = config_files.read(parsed_args.check)
        rows: list[tuple[str, ...]] = [
            (each.section, each.option, each.have, each.need, each.why)
            for each in check.check(config, found, parts)
        ]
        if rows:
            self.exit_status = exception.EXIT_MISMATCH
        return _COLUMNS, rows

    def _give(self, text: str, path: pathlib.Path | None) -> None:
        if path is None:
            self.app.stdout.write(text)
        elif files.write_text(path, text):
            self.app.stdout.write(f"{path}: written; restart Nova\n")
        else:
            self.app.stdout.write(f"{path}: unchanged\n")

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: collections.abc.Sequence[str],
        data: collections.abc.Iterable[collections.abc.Sequence[object]],
    ) -> int:
        """Only a comparison is a table."""
        if not parsed_args.check:
            return exception.EXIT_OK
        status: int = super().produce_output(parsed_args, column_names, data)
        return status


def _parts(part: str | None) -> frozenset[needed.Part]:
    return needed.BOTH if part is None else frozenset({needed.Part(part)})


def _needed(settings: conf.Settings) -> needed.NovaConfig:
    names.check_overrides(settings.classes)
    declared = layout_file.load(settings.layout_file)
    node = base.observe(settings)
    wanted = layout.resolve(declared, settings.host, settings.label, node)
    rules = needed.Rules(ways.way(settings), settings.classes)
    config = needed.needed(node, wanted, rules)
    note = needed.untold(node, config)
    if note:
        print(f"mig-placement: {note}", file=sys.stderr)
    return config
