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
    taken = 0
    for each in fixed:
        mask = _mask(each.placement)
        if each.placement not in by_name[each.profile].placements or (
            taken & mask
        ):
            return
        taken |= mask
    for found in _Search(by_name, demand).ways(taken):
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


def _mask(placement: model.Placement) -> int:
    return ((1 << placement.size) - 1) << placement.start


@dataclasses.dataclass(frozen=True, slots=True)
class _Need:
    """So many of one profile, each at one of these places."""

    count: int
    places: tuple[tuple[int, Located], ...]


class _Search:
    """Depth first; what led nowhere once is not tried again."""

    def __init__(
        self,
        by_name: collections.abc.Mapping[str, model.Profile],
        demand: Demand,
    ) -> None:
        needs = [
            _Need(count, _places(by_name[name]))
            for name, count in demand.items()
            if count > 0
        ]
        # The widest and the least movable first: dead ends show early.
        self._needs = sorted(needs, key=_freedom)
        self._dead: set[tuple[int, int, int, int]] = set()

    def ways(
        self, taken: int
    ) -> collections.abc.Iterator[tuple[Located, ...]]:
        if not self._needs:
            return iter([()])
        return self._place(0, self._needs[0].count, 0, taken)

    def _place(
        self, at: int, left: int, first: int, taken: int
    ) -> collections.abc.Iterator[tuple[Located, ...]]:
        """Ways to place ``left`` of need ``at`` and all needs after it.

        Instances of a profile are alike: each takes a place after the
        one before, so that no set is found twice.
        """
        if not left:
            at += 1
            if at == len(self._needs):
                yield ()
                return
            left, first = self._needs[at].count, 0
        state = at, left, first, taken
        if state in self._dead:
            return
        found = False
        for index in range(first, len(self._needs[at].places) - left + 1):
            mask, located = self._needs[at].places[index]
            if mask & taken:
                continue
            for rest in self._place(at, left - 1, index + 1, taken | mask):
                found = True
                yield (located, *rest)
        if not found:
            self._dead.add(state)


def _places(profile: model.Profile) -> tuple[tuple[int, Located], ...]:
    return tuple(
        (_mask(each), Located(profile.name, each))
        for each in sorted(set(profile.placements))
    )


def _freedom(need: _Need) -> tuple[int, int]:
    widest = max((each.placement.size for _, each in need.places), default=0)
    return -widest, len(need.places) - need.count
