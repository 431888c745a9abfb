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

import collections.abc
import dataclasses
import random
import time

from mig_placement import exception
from mig_placement.geometry import verdict as verdicts
from mig_placement.placement import desired

_FIRST_RETRY = 1.0
# While Placement may offer what the node does not have, it is asked again
# this soon after it comes back, for however long it was away.
_CLOSE_RETRY = 10.0


def to_own_moment(interval: float, now: float, moment: float) -> float:
    """Seconds to the agent's own moment within an interval; pure.

    At least a quarter of it, and all of it from the third turn on.

    :param moment: the part of the interval at which it is.
    """
    left = interval - (now - moment * interval) % interval
    return left if left >= interval / 4 else left + interval / 2


@dataclasses.dataclass(slots=True)
class Retry:
    """How long to wait, after failures in a row too (seconds).

    :ivar moment: of all agents that were started together, after a power
        cut for instance, each has one of its own, so that Placement is not
        asked by all of them at once every minute from then on.
    """

    most: float
    count: collections.abc.Callable[[], None] = lambda: None
    failures: int = 0
    at_most: float = float("inf")
    moment: float = dataclasses.field(default_factory=random.random)

    def failed(self, at_most: float = float("inf")) -> None:
        self.failures += 1
        self.count()
        self.at_most = at_most

    def succeeded(self) -> None:
        self.failures = 0

    def delay(self) -> float:
        if not self.failures:
            return to_own_moment(self.most, time.monotonic(), self.moment)
        grown = _FIRST_RETRY * 2.0 ** min(self.failures - 1, 20)
        # Jitter: a thousand agents lost the same Placement just now.
        limit = min(self.most, self.at_most)
        return min(limit, grown) * random.uniform(0.5, 1)  # noqa: S311


def patience(
    seen: desired.Picture, error: exception.MigPlacementError
) -> float:
    """Seconds within which to try again to tell what was seen; pure.

    Credentials that are refused are not tried more often for it.
    """
    away = exception.PlacementUnreachable, exception.PlacementConflict
    closes = _closes(seen.verdict) and isinstance(error, away)
    return _CLOSE_RETRY if closes else float("inf")


def _closes(verdict: verdicts.Verdict) -> bool:
    # A node as declared may have instances that are not to be offered.
    return not verdict.matches or any(gpu.unfit for gpu in verdict.gpus)
