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
"""mig-placement, the operator's tool."""

import argparse
import importlib.metadata
import sys
from typing import Any

from cliff import app
from cliff import commandmanager

from mig_placement import exception
from mig_placement import version
from mig_placement.cmd import config_options

# Loaded when called: only some need the SDK, which takes long to import.
_COMMANDS = {
    "profiles": "mig_placement.cmd.discover:Profiles",
    "discover": "mig_placement.cmd.discover:Discover",
    "check": "mig_placement.cmd.check:Check",
    "plan": "mig_placement.cmd.plan:Plan",
    "apply": "mig_placement.cmd.apply:Apply",
    "export": "mig_placement.cmd.export:Export",
    "fleet": "mig_placement.cmd.fleet:Fleet",
    "flavors": "mig_placement.cmd.flavors:Flavors",
    "sync": "mig_placement.cmd.sync:Sync",
    "status": "mig_placement.cmd.status:Status",
    "hold": "mig_placement.cmd.hold:Place",
    "release": "mig_placement.cmd.hold:Release",
    "retire": "mig_placement.cmd.retire:Retire",
    "nova-config": "mig_placement.cmd.nova_config:NovaConfig",
    "simulate create": "mig_placement.cmd.simulate:Create",
    "simulate show": "mig_placement.cmd.simulate:Show",
    "simulate reboot": "mig_placement.cmd.simulate:Reboot",
    "simulate mode": "mig_placement.cmd.simulate:Mode",
    "simulate sriov": "mig_placement.cmd.simulate:Sriov",
    "simulate reset": "mig_placement.cmd.simulate:Reset",
    "simulate add": "mig_placement.cmd.simulate:Add",
    "simulate remove": "mig_placement.cmd.simulate:Remove",
    "simulate xid": "mig_placement.cmd.simulate:Xid",
    "simulate lose": "mig_placement.cmd.simulate:Lose",
    "simulate return": "mig_placement.cmd.simulate:Return",
    "demo": "mig_placement.cmd.demo:Demo",
}


class _Commands(commandmanager.CommandManager):
    """The commands above, without a search through all of Python's."""

    def __init__(self) -> None:
        super().__init__()
        for name, target in _COMMANDS.items():
            self.commands[name] = importlib.metadata.EntryPoint(
                name=name, value=target, group="mig_placement"
            )


class Tool(app.App):
    """The frame that cliff gives: options, help, output formats."""

    # Warnings and errors; -v adds what is written to Placement.
    DEFAULT_VERBOSE_LEVEL = 0

    def __init__(self) -> None:
        super().__init__(
            description=__doc__.strip(),
            version=version.version(),
            command_manager=_Commands(),
            deferred_help=True,
        )

    def build_option_parser(
        self, *args: Any, **kwargs: Any
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().build_option_parser(
            *args, **kwargs
        )
        config_options.add(
            parser,
            "configuration {}, as of every OpenStack service; may be given"
            " more than once",
        )
        return parser

    def interact(self) -> None:
        """Without a command cliff would open a shell; show the help."""
        sys.exit(self.run_subcommand(["help"]))

    def config_arguments(self) -> list[str]:
        """What oslo.config is to parse."""
        return config_options.given(self.options)


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return int(Tool().run(arguments))
    except BrokenPipeError:
        # The reader, a pager for instance, has seen enough.
        return exception.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
