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
"""python -m tests.chaos: all of it, and the numbers.

CHAOS_HISTORIES (10000), CHAOS_HOURS (of the soak, 24), CHAOS_PROCESSES (one
per core) and CHAOS_SEED, which is printed, say how much and which.
"""

import os
import random
import sys
import time

from tests.chaos import crash_points
from tests.chaos import soak
from tests.chaos import workers
from tests.functional import placement_app


def seed() -> int:
    """CHAOS_SEED, or a new one; printed, so that it can be had again."""
    chosen = os.environ.get("CHAOS_SEED") or random.randrange(2**31)
    print(f"CHAOS_SEED={chosen}", flush=True)
    return int(chosen)


def main() -> int:
    chosen = seed()
    violations = _histories(chosen)
    for server in placement_app.running_server():
        violations += _crash_points(server)
        violations += _soak(server, chosen)
    for each in violations:
        print(f"\nVIOLATION {each}")
    print(f"\n{len(violations)} violations")
    return 1 if violations else 0


def _histories(chosen: int) -> list[str]:
    count = int(os.environ.get("CHAOS_HISTORIES", "10000"))
    processes = int(os.environ.get("CHAOS_PROCESSES", "0"))
    found = workers.run(chosen, count, processes)
    run = found.counted["histories"]
    each = found.seconds / max(run, 1)
    print(f"histories: {run} in {found.seconds:.0f} s, {each:.2f} s each")
    for name, number in sorted(found.counted.items()):
        print(f"    {name}: {number}", flush=True)
    return found.violations


def _crash_points(server: placement_app.TcpServer) -> list[str]:
    violations, total = [], 0
    enumerating = crash_points.CrashPoints(server)
    for scenario in crash_points.SCENARIOS:
        for place in crash_points.PLACES:
            started = time.monotonic()
            found = enumerating.enumerate(scenario, place)
            took = time.monotonic() - started
            print(
                f"crash points: {scenario.name}, {place}: {found.points}"
                f" ({took:.0f} s, {found.writes} writes checked,"
                f" {len(found.violations)} violations)",
                flush=True,
            )
            total += found.points
            violations += found.violations
    print(f"crash points: {total}", flush=True)
    return violations


def _soak(server: placement_app.TcpServer, chosen: int) -> list[str]:
    hours = float(os.environ.get("CHAOS_HOURS", "24"))
    found = soak.soak(server, hours, chosen)
    print(
        f"soak: {found.turns} turns ({found.hours:.1f} hours), {found.faults}"
        f" faults, {found.rounds} times right again; {found.held[0]} at"
        f" first, {found.held[-1]} at last",
        flush=True,
    )
    return found.violations


if __name__ == "__main__":
    sys.exit(main())
