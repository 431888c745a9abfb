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
"""Runs these tests: ``python -m tests.nova [dotted name]...``.

There is one process more than cores, since each waits a fifth of its time;
each takes one name after the other, by default module after module.
"""

import collections
import concurrent.futures
import multiprocessing
import os
import pathlib
import sys
import time

from tests.nova import worker

# What takes longest starts first, by the start of its name.
_FIRST = ("random", "mdev", "vfio", "host_gate", "flavors")


def _modules() -> list[str]:
    folder = pathlib.Path(__file__).parent
    found = [f"tests.nova.{path.stem}" for path in folder.glob("test_*.py")]
    return sorted(found, key=_place)


def _place(name: str) -> tuple[int, str]:
    topic = name.removeprefix("tests.nova.test_")
    places = [i for i, each in enumerate(_FIRST) if topic.startswith(each)]
    return min(places, default=len(_FIRST)), name


def main() -> int:
    """Run them all, then print what was counted."""
    began = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    ran = failed = 0
    with concurrent.futures.ProcessPoolExecutor(
        (os.cpu_count() or 1) + 1,
        mp_context=multiprocessing.get_context("spawn"),
    ) as pool:
        names = sys.argv[1:] or _modules()
        tasks = [pool.submit(worker.run, name) for name in names]
        for task in concurrent.futures.as_completed(tasks):
            outcome = task.result()
            print(outcome.text, flush=True)
            counts.update(outcome.counts)
            ran += outcome.ran
            failed += outcome.failed
    print(
        f"VMs booted: {counts['boots']};"
        f" NoValidHost, as expected: {counts['refused']};"
        f" VMs without their slice: {counts['missing']}"
    )
    print(f"Ran {ran} tests in {time.monotonic() - began:.1f}s\n")
    print(f"FAILED ({failed})" if failed else "OK")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
