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
"""Runs these tests: ``python -m tests.nova [unittest's arguments]``."""

import logging
import sys
import unittest
import warnings

from tests.nova import base


def main() -> int:
    """Run them all, then print what was counted."""
    # Of Nova's dependencies; and each test's end tells of its threads.
    warnings.simplefilter("ignore")
    logging.getLogger("nova.thread_pool_factory").setLevel(logging.WARNING)
    base.start_placement()
    try:
        program = unittest.main(
            module=None,
            argv=["tests.nova", *(sys.argv[1:] or _all())],
            verbosity=2,
            warnings="ignore",
            exit=False,
        )
    finally:
        base.stop_placement()
    counts = base.COUNTS
    print(
        f"VMs booted: {counts['boots']};"
        f" NoValidHost, as expected: {counts['refused']};"
        f" VMs without their slice: {counts['missing']}"
    )
    return 0 if program.result.wasSuccessful() else 1


def _all() -> list[str]:
    return ["discover", "--start-directory=tests/nova", "--top-level-dir=."]


if __name__ == "__main__":
    sys.exit(main())
