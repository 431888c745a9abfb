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
"""--config-file and --config-dir, for oslo.config to parse."""

import argparse

_NAMES = ("file", "dir")


def add(parser: argparse.ArgumentParser, told: str) -> None:
    """:param told: the help, with {} for ``file`` or ``dir``."""
    for name in _NAMES:
        parser.add_argument(
            f"--config-{name}",
            metavar=name.upper(),
            action="append",
            default=[],
            help=told.format(name),
        )


def given(parsed: argparse.Namespace) -> list[str]:
    """What was given, as arguments of oslo.config."""
    return [
        f"--config-{name}={value}"
        for name in _NAMES
        for value in getattr(parsed, f"config_{name}")
    ]
