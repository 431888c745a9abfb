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
"""python -m bench [TOPIC...]: measure, print tables, write JSON where asked.

Without a topic it measures them all. The exit status is 1 where a goal is
missed.
"""

import argparse
import pathlib
import signal
import sys

from bench import commands
from bench import figure
from bench import fleet
from bench import node
from bench import nova
from bench import restoring
from bench import table
from bench import transitions
from bench.agents import report as agents

TOPICS: dict[str, figure.Topic] = {
    "node": node.report,
    "commands": commands.report,
    "restore": restoring.report,
    "transitions": transitions.report,
    "nova": nova.report,
    "fleet": fleet.report,
    "agents": agents.report,
}


def main() -> int:
    args = _parser().parse_args()
    # So that the servers it started go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = figure.Options(nodes=args.nodes)
    found: list[figure.Figure] = []
    for topic in args.topics or TOPICS:
        report = TOPICS[topic](options)
        found += report.figures
        print(f"{topic}\n\n{table.text(report.figures)}\n")
        for note in report.notes:
            print(f"{note}\n")
        sys.stdout.flush()
    print(f"{table.machine()}; Placement on loopback")
    if args.json:
        table.write_json(found, args.json)
    return 0 if all(each.met for each in found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "topics",
        nargs="*",
        type=_known,
        metavar="TOPIC",
        help=", ".join(TOPICS),
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument(
        "--nodes", type=int, default=50, help="of the simulated fleets"
    )
    return parser


def _known(topic: str) -> str:
    if topic not in TOPICS:
        raise argparse.ArgumentTypeError(f"{topic!r}: not of {list(TOPICS)}")
    return topic


if __name__ == "__main__":
    sys.exit(main())
