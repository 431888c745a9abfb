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
"""The slice of the chaos that every run of the tests has.

``tox -e chaos`` runs all of it: see :mod:`tests.chaos.__main__`.
"""

import os

import pytest

from tests.chaos import __main__ as chaos
from tests.chaos import crash_points
from tests.chaos import soak
from tests.chaos import workers
from tests.functional import placement_app

# Both halves of a chunk, so that two cores have something to do.
_CHUNK = 10


def test_nothing_is_offered_that_is_not_there() -> None:
    histories = int(os.environ.get("CHAOS_SLICE", "40"))
    found = workers.run(chaos.seed(), histories, chunk=_CHUNK)
    assert not found.violations, found.violations[0]
    assert found.counted["histories"] >= histories
    assert found.counted["writes checked"] > histories


def test_the_machine_finds_an_order_of_writes_that_opens_first() -> None:
    """Else its silence about the right order would say nothing."""
    found = workers.run(1, 200, chunk=100, processes=2, broken=True)
    assert any("opened" in each for each in found.violations)


@pytest.mark.parametrize(
    ("scenario", "place"),
    [("shutdown", "write before"), ("restore", "write after")],
)
def test_an_agent_may_die_at_any_write(
    scenario: str, place: str, placement_server: placement_app.TcpServer
) -> None:
    (chosen,) = (s for s in crash_points.SCENARIOS if s.name == scenario)
    found = crash_points.CrashPoints(placement_server).enumerate(chosen, place)
    assert not found.violations, found.violations
    assert found.points >= 3


def test_a_short_soak_leaks_nothing_and_gets_stuck_nowhere(
    placement_server: placement_app.TcpServer,
) -> None:
    found = soak.soak(placement_server, 0.5, chaos.seed())
    assert not found.violations, found.violations
    assert found.rounds >= 2


def test_a_leak_would_be_seen() -> None:
    few = soak.Held(files=9, threads=2, rss_kib=60_000)
    many = soak.Held(files=19, threads=9, rss_kib=90_000)
    report = soak.Report(held=[few] * 8 + [many])
    report.judge()
    assert len(report.violations) == 3
