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
"""From what agents did to figures of a cold start; pure."""

import collections
import collections.abc
import dataclasses
import statistics

from bench.agents import cloud
from bench.agents import crew
from bench.agents import wire

_CONFLICT = 409
_PARTS = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """One agent's way from its start to its node being open.

    :ivar closed: monotonic seconds; when the write that closes the node was
        answered.
    :ivar reserved: when the last GPU was wholly reserved, too.
    :ivar opened: when the node's root got its trait again.
    :ivar sent: the requests until then.
    """

    number: int
    began: float
    closed: float
    reserved: float
    opened: float
    sent: tuple[wire.Sent, ...]

    @property
    def wait(self) -> float:
        return self.opened - self.began


@dataclasses.dataclass(frozen=True, slots=True)
class ColdStart:
    """Of all agents together; times in seconds from the first's start."""

    nodes: int
    closed: float
    reserved: float
    opened: float
    requests: int
    writes: int
    conflicts: int
    failed: int
    wasted: float
    median_wait: float
    longest_wait: float
    retries: int
    stale_vms: int

    @property
    def closed_share(self) -> float:
        """Of the time to all open, in percent."""
        return 100 * self.closed / self.opened

    @property
    def longest_over_median(self) -> float:
        return self.longest_wait / self.median_wait


def start(log: crew.Log) -> Start:
    """:raises RuntimeError: the node was not closed, or not opened."""
    closed = _first(log.sent, wire.Effect.CLOSES_NODE, log.started)
    opened = _first(log.sent, wire.Effect.OPENS_NODE, closed)
    sent = tuple(each for each in log.sent if each.ended <= opened)
    reserves = [
        each.ended
        for each in sent
        if each.effect is wire.Effect.RESERVES and each.done
    ]
    return Start(log.number, log.started, closed, max(reserves), opened, sent)


def _first(
    sent: collections.abc.Iterable[wire.Sent],
    effect: wire.Effect,
    after: float,
) -> float:
    """When it had its effect. Where none of them was answered, Placement
    was stopped between the write and its answer: the last."""
    tried = [e for e in sent if e.effect is effect and e.ended > after]
    done = [each.ended for each in tried if each.done]
    if not tried:
        raise RuntimeError(f"no request that {effect}")
    return done[0] if done else tried[-1].ended


def cold_start(
    logs: collections.abc.Sequence[crew.Log],
    needed: int,
    vms: collections.abc.Iterable[cloud.Vm] = (),
) -> ColdStart:
    """
    :param needed: requests of an agent that nothing disturbs.
    :param vms: those that were scheduled meanwhile.
    """
    starts = [start(each) for each in logs]
    began = min(each.began for each in starts)
    sent = [one for each in starts for one in each.sent]
    waits = [each.wait for each in starts]
    return ColdStart(
        nodes=len(starts),
        closed=max(each.closed for each in starts) - began,
        reserved=max(each.reserved for each in starts) - began,
        opened=max(each.opened for each in starts) - began,
        requests=len(sent),
        writes=sum(each.method != "GET" for each in sent),
        conflicts=sum(each.status == _CONFLICT for each in sent),
        failed=sum(not each.done for each in sent),
        wasted=100 * max(0, len(sent) - needed * len(starts)) / len(sent),
        median_wait=statistics.median(waits),
        longest_wait=max(waits),
        retries=sum(each.retries for each in logs),
        stale_vms=_stale(starts, vms),
    )


def _stale(
    starts: collections.abc.Iterable[Start],
    vms: collections.abc.Iterable[cloud.Vm],
) -> int:
    """VMs that landed on a node before it was closed."""
    closed = {cloud.root_uuid(each.number): each.closed for each in starts}
    return sum(each.at < closed[each.root] for each in vms)


@dataclasses.dataclass(frozen=True, slots=True)
class Steady:
    """What agents ask for when nothing happens.

    :ivar rate: requests per second.
    :ivar expected: by the formula: one for each node and interval.
    :ivar busiest: requests in the busiest tenth of the interval, over
        those of a mean one.
    """

    rate: float
    expected: float
    busiest: float


def steady(
    logs: collections.abc.Collection[crew.Log],
    interval: float,
    began: float,
    ended: float,
) -> Steady:
    """Of whole intervals between two moments (monotonic seconds)."""
    times = [
        one.began
        for each in logs
        for one in each.sent
        if began <= one.began < ended
    ]
    tenths = collections.Counter(
        int((each - began) / interval * _PARTS) for each in times
    )
    mean = len(times) / ((ended - began) / interval * _PARTS)
    return Steady(
        rate=len(times) / (ended - began),
        expected=len(logs) / interval,
        busiest=max(tenths.values()) / mean,
    )
