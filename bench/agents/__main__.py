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
"""python -m bench.agents [NODES]: a fleet's agents against one Placement.

Real agents of so many simulated nodes, in one process for each core, and
Placement in worker processes of its own: over MariaDB, which the bench starts
where it is installed, and over SQLite with a single worker.
"""

import argparse
import os
import pathlib
import signal
import sys
from types import FrameType
from typing import NoReturn

from bench import figure
from bench import table
from bench.agents import report
from bench.agents import scenarios


def main() -> int:
    args = _parser().parse_args()
    # So that MariaDB goes with us.
    signal.signal(signal.SIGTERM, _leave)
    size = scenarios.Size(args.nodes, args.gpus, args.workers)
    found: list[figure.Figure] = []
    notes = []
    for kind in report.databases(args.database):
        result = report.measured(size, kind, args.only)
        found += result.figures
        notes.append(result.note)
    print(table.text(found))
    print("\n" + "\n\n".join(notes))
    print(
        f"\n{table.machine()}; {args.nodes} nodes of {args.gpus} GPUs; on"
        f" MariaDB {args.workers} workers of Placement, on SQLite one"
    )
    if args.json:
        table.write_json(found, args.json)
    return 0 if all(each.met for each in found) else 1


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.agents", description=__doc__)
    parser.add_argument("nodes", nargs="?", type=int, default=50)
    parser.add_argument("--gpus", type=int, default=8, help="of each node")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="processes of Placement on MariaDB",
    )
    parser.add_argument(
        "--database",
        default="both",
        choices=["mariadb", "sqlite", "both"],
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=report.SCENARIOS,
        choices=report.SCENARIOS,
        help="some of the scenarios; a thousand agents take minutes for each",
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
