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
"""Runs the tests of one module in this process, which Nova then owns."""

import dataclasses
import io
import logging
import unittest
import warnings


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of some tests.

    :param text: what unittest said of them.
    :param counts: of ``base.COUNTS``.
    """

    text: str
    ran: int
    failed: int
    counts: dict[str, int]


def run(name: str) -> Outcome:
    """Run the tests of a dotted name."""
    # Of Nova's dependencies; and each test's end tells of its threads.
    warnings.simplefilter("ignore")
    logging.getLogger("nova.thread_pool_factory").setLevel(logging.WARNING)
    # Not at the top: the process that shares out the work stays free of it.
    from tests.nova import base

    # Before a test, each of which has a folder for temporary files.
    base.placement()
    base.COUNTS.clear()
    said = io.StringIO()
    runner = unittest.TextTestRunner(said, verbosity=2, warnings="ignore")
    result = runner.run(unittest.defaultTestLoader.loadTestsFromName(name))
    failed = len(result.failures) + len(result.errors)
    return Outcome(said.getvalue(), result.testsRun, failed, dict(base.COUNTS))
