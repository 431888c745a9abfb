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
"""Histories in processes of their own, one for each core.

``python -m tests.chaos.workers --seed 7 --count 50 3 5`` runs the chunks 3
and 5 of the run with the seed 7, and prints a line of JSON for each. A
chunk is the same whoever runs it, so that one that failed can be had again.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence

from mig_placement.placement import model
from mig_placement.placement import plan

#: Histories in a chunk: SQLAlchemy learns for some of them.
CHUNK = 50


@dataclasses.dataclass
class Result:
    """What some histories came to."""

    counted: Counter[str] = dataclasses.field(default_factory=Counter)
    violations: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def run(
    seed: int,
    histories: int,
    processes: int | None = None,
    *,
    chunk: int = CHUNK,
    broken: bool = False,
) -> Result:
    """So many histories, over all cores.

    :param broken: with the order of writes reversed, see ``open_first``.
    """
    processes = processes or os.cpu_count() or 1
    chunks = range((histories + chunk - 1) // chunk)
    shares = [chunks[first::processes] for first in range(processes)]
    started = time.monotonic()
    total = Result()
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        for one in pool.map(
            lambda share: _in_process(seed, share, chunk, broken),
            [share for share in shares if share],
        ):
            total.counted += one.counted
            total.violations += one.violations
    total.seconds = time.monotonic() - started
    return total


def _in_process(
    seed: int, chunks: Sequence[int], count: int, broken: bool
) -> Result:
    command = [sys.executable, "-m", "tests.chaos.workers"]
    command += ["--seed", str(seed), "--count", str(count)]
    command += ["--broken"] if broken else []
    result = Result()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [*command, *map(str, chunks)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as worker,
    ):
        assert worker.stdout is not None
        for line in worker.stdout:
            said = json.loads(line)
            result.counted += Counter(said["counted"])
            result.violations += said["violations"]
            _tell(result, said["violations"])
        if worker.wait():
            errors.seek(0)
            text = errors.read()[-2000:]
            result.violations.append(f"a worker died: {text}")
    return result


def _tell(result: Result, new: Sequence[str]) -> None:
    """Ten thousand histories take an hour: how it goes so far."""
    run, found = result.counted["histories"], len(result.violations)
    for text in (*new, f"one worker: {run} histories, {found} violations"):
        print(text, file=sys.stderr, flush=True)


def open_first(tree: model.Tree, desired: model.Desired) -> plan.Action | None:
    """``plan.next_action`` in the wrong order, for the test of the test."""
    # What is opened has to be there: that is as ever.
    return (
        plan._prepare(tree, desired)
        or plan._open_root(tree, desired)
        or plan._open_provider(tree, desired)
        or plan._close_inventory(tree, desired)
        or plan._close_trait(tree, desired)
        or plan._close_root(tree, desired)
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=CHUNK)
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("chunks", type=int, nargs="+")
    args = parser.parse_args(argv)
    # Imported here: the parent needs no Placement of its own.
    from tests.chaos import histories
    from tests.chaos import world

    logging.disable(logging.CRITICAL)
    world.make_quick()
    if args.broken:
        setattr(plan, "next_action", open_first)  # noqa: B010 (for mypy)
    placement = world.Placement()
    for chunk in args.chunks:
        world.COUNTED.clear()
        found: list[str] = []
        try:
            # No two runs share a chunk's seed, and none is next to another.
            histories.run(placement, args.seed * 1_000_003 + chunk, args.count)
        except BaseException as error:
            text = "\n".join([str(error), *getattr(error, "__notes__", [])])
            again = f"--seed {args.seed} --count {args.count} {chunk}"
            found.append(f"[{again}] {text}")
        line = {"counted": world.COUNTED, "violations": found}
        print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
