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
"""What all commands of the tool share: settings, errors, exit statuses."""

import argparse
import collections.abc
import importlib.metadata
import sys
from typing import Any

from stevedore import extension

from mig_placement import conf
from mig_placement import exception
from mig_placement.hardware import model
from mig_placement.hardware import session
from mig_placement.service import nvml


class Mixin:
    """Turns our exceptions into one line and the right exit status."""

    app: Any
    cmd_name: str | None
    exit_status = exception.EXIT_OK
    formatter_namespace: str

    def run(self, parsed_args: argparse.Namespace) -> int:
        try:
            status: int = super().run(parsed_args)  # type: ignore[misc]
        except exception.MigPlacementError as error:
            print(f"mig-placement: {error}", file=sys.stderr)
            return error.exit_status
        return self.exit_status or status

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: collections.abc.Sequence[str],
        data: Any,
    ) -> int:
        """:raises ConfigError: none of the columns asked for is there."""
        included(parsed_args, column_names)
        status: int = super().produce_output(  # type: ignore[misc]
            parsed_args, column_names, data
        )
        return status

    def get_epilog(self) -> str:
        """None: to find out whose plugin a command is, cliff would read
        the metadata of every installed distribution (100 ms)."""
        return ""

    def _load_hooks(self) -> None:
        """None: to find them, cliff would read all metadata once more."""
        name, self.cmd_name = self.cmd_name, None
        super()._load_hooks()  # type: ignore[misc]
        self.cmd_name = name

    def _load_formatter_plugins(self) -> extension.ExtensionManager[Any]:
        """Cliff's own alone, for the same reason."""
        found = importlib.metadata.distribution("cliff").entry_points
        return extension.ExtensionManager.make_test_instance(
            [
                _formatter(point)
                for point in found.select(group=self.formatter_namespace)
            ]
        )

    def settings(self) -> conf.Settings:
        """:raises ConfigError: the configuration cannot be used."""
        return conf.settings(conf.parse(self.app.config_arguments()))


def _formatter(
    point: importlib.metadata.EntryPoint,
) -> extension.Extension[Any]:
    kind = point.load()
    return extension.Extension(point.name, point, kind, kind())


def included(
    parsed_args: argparse.Namespace,
    names: collections.abc.Sequence[str],
) -> list[int]:
    """Which columns ``-c`` asks for, in cliff's reading of their names.

    :raises ConfigError: none of them is there.
    """
    asked = {_normal(name) for name in parsed_args.columns}
    found = [
        i for i, n in enumerate(names) if not asked or _normal(n) in asked
    ]
    if not found:
        raise exception.ConfigError(
            "no such column",
            where=f"-c {parsed_args.columns[0]}",
            mend=f"use one of {', '.join(names)}",
        )
    return found


def _normal(name: str) -> str:
    return name.lower().strip().replace(" ", "_")


def observe(settings: conf.Settings) -> model.Node:
    """The node now, read-only.

    :raises HardwareError: NVML gives no usable answer.
    """
    nvml.choose_library(settings)
    with session.Session(functions=nvml.functions(settings)) as opened:
        return opened.observe()
