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
"""What is measured: figures, and a topic's report of them."""

import collections.abc
import dataclasses
import math


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    :ivar value: in ``unit``; None where it was not measured.
    :ivar goal: the most that it may be; None where nothing is promised.
    :ivar at_least: the goal is the least that it may be.
    :ivar minimum: what nobody could go below, where that is known.
    :ivar gpus: of a node of so many, where it is measured on several.
    """

    name: str
    value: float | None
    unit: str
    goal: float | None = None
    _: dataclasses.KW_ONLY
    at_least: bool = False
    minimum: float | None = None
    gpus: int | None = None

    @property
    def met(self) -> bool:
        if self.goal is None or self.value is None:
            return True
        if self.at_least:
            return self.value >= self.goal
        return self.value <= self.goal


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a topic found.

    :ivar notes: more than figures, as text to be printed below the tables.
    """

    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What a run is told.

    :ivar nodes: of a simulated fleet.
    """

    nodes: int


Topic = collections.abc.Callable[[Options], Report]


def percentile(
    values: collections.abc.Iterable[float], percent: float
) -> float:
    """The smallest value that so many percent do not exceed.

    :raises ValueError: there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]
