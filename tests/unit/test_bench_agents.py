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
"""From what a fleet's agents did to figures."""

import pytest

from bench.agents import cloud
from bench.agents import crew
from bench.agents import summary
from bench.agents import wire

_Effect = wire.Effect


def _sent(
    ended: float, effect: wire.Effect = _Effect.NONE, status: int = 200
) -> wire.Sent:
    method = "PUT" if effect else "GET"
    return wire.Sent(ended - 0.5, ended, method, status, effect)


def _log(number: int, *sent: wire.Sent, started: float = 100.0) -> crew.Log:
    return crew.Log(number, started, sent, cycles=1, retries=0)


def _cold(number: int, late: float = 0.0) -> crew.Log:
    """Closed after 2 s, reserved after 4, open after 10."""
    return _log(
        number,
        _sent(101),
        _sent(102 + late, _Effect.CLOSES_NODE),
        _sent(104 + late, _Effect.RESERVES),
        _sent(109 + late, _Effect.OFFERS),
        _sent(110 + late, _Effect.OPENS_NODE),
        # The next cycle: of no interest.
        _sent(170 + late),
    )


def test_times_are_those_of_the_last_agent() -> None:
    found = summary.cold_start([_cold(0), _cold(1, late=3)], needed=5)
    assert (found.closed, found.reserved, found.opened) == (5, 7, 13)
    assert found.closed_share == pytest.approx(100 * 5 / 13)
    assert (found.requests, found.writes) == (10, 8)
    assert (found.median_wait, found.longest_wait) == (11.5, 13)


def test_what_one_alone_does_not_ask_for_is_wasted() -> None:
    disturbed = _log(
        1,
        _sent(101),
        _sent(102, _Effect.CLOSES_NODE, status=409),
        _sent(103),
        _sent(104, _Effect.CLOSES_NODE),
        _sent(105, _Effect.RESERVES),
        _sent(106, status=wire.NO_ANSWER),
        _sent(109, _Effect.OFFERS),
        _sent(110, _Effect.OPENS_NODE),
    )
    found = summary.cold_start([_cold(0), disturbed], needed=5)
    assert (found.conflicts, found.failed) == (1, 2)
    assert found.wasted == pytest.approx(100 * 3 / 13)
    assert found.closed == 4


def test_a_write_whose_answer_was_lost_had_its_effect() -> None:
    lost = _log(
        0,
        _sent(102, _Effect.CLOSES_NODE, status=wire.NO_ANSWER),
        _sent(104, _Effect.RESERVES),
        _sent(110, _Effect.OPENS_NODE),
    )
    assert summary.start(lost).closed == 102


def test_an_agent_that_never_opened_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="opens the node"):
        summary.start(_log(0, _sent(102, _Effect.CLOSES_NODE)))


def test_a_vm_is_on_stale_capacity_where_it_came_before_the_closing() -> None:
    root = cloud.root_uuid(0)
    vms = [cloud.Vm(101.9, root), cloud.Vm(102.1, root)]
    assert summary.cold_start([_cold(0)], 5, vms).stale_vms == 1


def test_steady_agents_that_come_together_have_a_busy_tenth() -> None:
    together = [_log(each, _sent(100.5), _sent(110.5)) for each in range(10)]
    apart = [
        _log(each, _sent(100.5 + each), _sent(110.5 + each))
        for each in range(10)
    ]
    for logs, busiest in ((together, 10), (apart, 1)):
        found = summary.steady(logs, 10.0, 100.0, 120.0)
        assert (found.rate, found.expected) == (1, 1)
        assert found.busiest == pytest.approx(busiest)
