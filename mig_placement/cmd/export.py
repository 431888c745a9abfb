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
"""export: the present geometry as a layout file."""

import argparse

from cliff import command

from mig_placement.cmd import base
from mig_placement.geometry import export


class Export(base.Mixin, command.Command):
    """Write the present geometry as a layout file, placements included.

    So a node that was made by hand becomes a declared one.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--label",
            default="exported",
            help="label under mig-configs (default: exported)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        node = base.observe(self.settings())
        self.app.stdout.write(export.export(node, parsed_args.label))
