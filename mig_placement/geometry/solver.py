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
"""Which instances a GPU can have together, and where; exact and pure.

A geometry is possible when every instance has a placement of its profile,
no two overlap, no profile has more than NVML's maximum, and the media
engines do not exceed those of the whole GPU. Engines are counted and
have no place; so the search is for placements alone.
"""

import collections
import collections.abc
import dataclasses
import itertools
import operator

from mig_placement.hardware import model

Profiles = collections.abc.Sequence[model.Profile]
Demand = collections.abc.Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Located:
    """A GPU instance: its profile's name and its placement."""

    profile: str
    placement: model.Placement

    def __str__(self) -> str:
        return f"{self.profile} at {self.placement}"


def assignments(
    profiles: Profiles,
    demand: Demand,
    fixed: collections.abc.Collection[Located] = (),
) -> collections.abc.Iterator[tuple[Located, ...]]:
    """Every way to place the demand beside what is fixed.

    Each is the fixed ones and then the others; two differ in more than
    their order. A demand beyond a limit is refused before any search.
    """
    by_name = {profile.name: profile for profile in profiles}
    if not _within_limits(by_name, demand, fixed):
        return
    fixed_at = sorted(each.placement for each in fixed)
    if any(
        each.placement not in by_name[each.profile].placements
        for each in fixed
    ) or any(
        one.overlaps(other) for one, other in itertools.pairwise(fixed_at)
    ):
        return
    search = _Search(by_name, demand, fixed_at)
    for found in search.ways(0, search.counts):
        yield (*fixed, *found)


def solve(
    profiles: Profiles,
    demand: Demand,
    fixed: collections.abc.Collection[Located] = (),
) -> tuple[Located, ...] | None:
    """One way to place the demand beside what is fixed; None: no way."""
    return next(assignments(profiles, demand, fixed), None)


def total_slices(profiles: Profiles) -> int:
    """Memory slices of the GPU, in the unit of placements."""
    return max(
        (place.stop for each in profiles for place in each.placements),
        default=0,
    )


ENGINES = ("decoders", "encoders", "jpeg", "ofa")


def engines_of(profile: model.Profile) -> tuple[int, ...]:
    """Media engines of a profile, in the order of ENGINES."""
    have = profile.engines
    return have.decoders, have.encoders, have.jpeg, have.ofa


def engine_budget(profiles: Profiles) -> tuple[int, ...]:
    """Media engines of the GPU: NVML tells them only of profiles."""
    rows = [engines_of(profile) for profile in profiles]
    return tuple(max(kind) for kind in zip(*rows, strict=True))


def total(
    demand: Demand, fixed: collections.abc.Iterable[Located] = ()
) -> collections.Counter[str]:
    """All instances by profile."""
    counts = collections.Counter(each.profile for each in fixed)
    counts.update(demand)
    return +counts


def _within_limits(
    by_name: collections.abc.Mapping[str, model.Profile],
    demand: Demand,
    fixed: collections.abc.Iterable[Located],
) -> bool:
    counts = total(demand, fixed)
    if any(
        name not in by_name or count > by_name[name].max_instances
        for name, count in counts.items()
    ):
        return False
    budget = engine_budget(list(by_name.values()))
    needs = [
        [kind * count for kind in engines_of(by_name[name])]
        for name, count in counts.items()
    ]
    return all(
        sum(need) <= most for *need, most in zip(*needs, budget, strict=True)
    )


_Counts = tuple[int, ...]


class _Search:
    """From left to right; what led nowhere once is not tried again.

    Instances that do not overlap have one order, by their start. So every
    set of them is found once, and what can follow depends on nothing but
    the slice reached and the counts left.
    """

    def __init__(
        self,
        by_name: collections.abc.Mapping[str, model.Profile],
        demand: Demand,
        fixed: collections.abc.Sequence[model.Placement],
    ) -> None:
        wanted = [name for name, count in demand.items() if count > 0]
        self.counts = tuple(demand[name] for name in wanted)
        self._candidates = sorted(
            (
                (kind, Located(name, place))
                for kind, name in enumerate(wanted)
                for place in set(by_name[name].placements)
                if not any(place.overlaps(other) for other in fixed)
            ),
            # The widest first: the narrow ones find a place beside them.
            key=lambda each: (
                each[1].placement.start,
                -each[1].placement.size,
                each,
            ),
        )
        self._sizes = tuple(
            min((p.size for p in by_name[name].placements), default=0)
            for name in wanted
        )
        self._end = total_slices(list(by_name.values()))
        self._dead: set[tuple[int, _Counts]] = set()

    def ways(
        self, at: int, counts: _Counts
    ) -> collections.abc.Iterator[tuple[Located, ...]]:
        """Ways to place the counts at slice ``at`` or after it."""
        if not any(counts):
            yield ()
            return
        if (at, counts) in self._dead or self._end - at < self._width(counts):
            return
        found = False
        for kind, located in self._candidates:
            if counts[kind] and located.placement.start >= at:
                left = (*counts[:kind], counts[kind] - 1, *counts[kind + 1 :])
                for rest in self.ways(located.placement.stop, left):
                    found = True
                    yield (located, *rest)
        if not found:
            self._dead.add((at, counts))

    def _width(self, counts: _Counts) -> int:
        """Slices that the counts take at least."""
        return sum(map(operator.mul, counts, self._sizes))
