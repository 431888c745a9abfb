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
"""When the agent looks again."""

import dataclasses
import itertools

import pytest

from mig_placement import exception
from mig_placement import pace
from mig_placement.geometry import verdict as verdicts
from tests.unit import pictures

_INTERVAL = 60.0
# How long a turn takes.
_TURN = 0.001


def _turns(moment: float, start: float, count: int) -> list[float]:
    """When an agent that is started then looks again."""
    found = []
    now = start
    for _ in range(count):
        now += _TURN + pace.to_own_moment(_INTERVAL, now, moment)
        found.append(now)
    return found


@pytest.mark.parametrize("moment", [0.0, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("start", [0.0, 7.0, 31.0, 59.9, 1e6])
def test_a_turn_is_never_later_than_the_interval(
    moment: float, start: float
) -> None:
    turns = [start, *_turns(moment, start, 4)]
    gaps = [later - now for now, later in itertools.pairwise(turns)]
    assert all(_INTERVAL / 4 <= each <= _INTERVAL + _TURN for each in gaps)
    assert gaps[2:] == pytest.approx([_INTERVAL, _INTERVAL], abs=2 * _TURN)


def test_agents_that_start_together_do_not_stay_together() -> None:
    agents = 100
    later = [_turns(each / agents, 1000.0, 3)[-1] for each in range(agents)]
    in_order = sorted(each % _INTERVAL for each in later)
    gaps = [b - a for a, b in itertools.pairwise(in_order)]
    assert gaps == pytest.approx(
        [_INTERVAL / agents] * (agents - 1), abs=2 * _TURN
    )


def test_each_agent_has_a_moment_of_its_own() -> None:
    moments = {pace.Retry(_INTERVAL).moment for _ in range(10)}
    assert len(moments) == 10
    assert all(0 <= each < 1 for each in moments)


def test_after_a_failure_it_comes_back_at_its_moment() -> None:
    retry = pace.Retry(_INTERVAL)
    retry.failed()
    assert retry.delay() <= 1
    retry.succeeded()
    assert _INTERVAL / 4 <= retry.delay() <= _INTERVAL


_AWAY = exception.PlacementUnreachable.again("gone")
_SICK = verdicts.Finding(verdicts.Reason.INSTANCE_UNHEALTHY, "XID 94")


def _patience(
    findings: tuple[verdicts.Finding, ...] = (),
    unfit: tuple[verdicts.Finding, ...] = (),
    error: exception.MigPlacementError = _AWAY,
) -> float:
    judged = pictures.judged(0, {"1g.5gb": 6}, findings)
    judged = dataclasses.replace(judged, unfit=unfit)
    return pace.patience(pictures.picture(judged), error)


def test_what_is_to_be_closed_is_told_soon_after_an_outage() -> None:
    assert _patience(findings=pictures.MISSING) == 10
    assert _patience(unfit=(_SICK,)) == 10


def test_what_stays_open_can_wait() -> None:
    assert _patience() == float("inf")


def test_refused_credentials_are_not_tried_more_often() -> None:
    refused = exception.PlacementUnauthorized("no", where="x", mend="y")
    assert _patience(pictures.MISSING, error=refused) == float("inf")
