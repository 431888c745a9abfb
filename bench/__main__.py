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
"""python -m bench: measure, print the table, write JSON where asked."""

import argparse
import pathlib
import sys
import tempfile

from bench import figures
from bench import node
from bench import table
from bench import transitions
from mig_placement.demo import placement_server


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    args = parser.parse_args()
    found = [each for measure in figures.ALL for each in _measured(measure)]
    calls = _transitions()
    found += transitions.figures(calls)
    print(table.text(found))
    print(f"\nMutating NVML calls\n\n{transitions.text(calls)}")
    print(f"\n{table.machine()}; Placement on loopback")
    if args.json:
        table.write_json(found, args.json)
    return 0 if all(each.met for each in found) else 1


def _measured(measure: figures.Measure) -> list[table.Figure]:
    """Each with a Placement and a node of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="mig-bench-") as folder,
        placement_server.PlacementProcess() as placement,
    ):
        node.root(placement.url)
        return measure(
            node.Node(pathlib.Path(folder), placement.url), placement.url
        )


def _transitions() -> list[transitions.Calls]:
    """On a node of their own; no Placement has a part in it."""
    with tempfile.TemporaryDirectory(prefix="mig-bench-") as folder:
        return transitions.measured(node.Node(pathlib.Path(folder), ""))


if __name__ == "__main__":
    sys.exit(main())
