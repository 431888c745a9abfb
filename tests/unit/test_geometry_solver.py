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
"""The solver against every geometry that each known model can have."""

import collections
import collections.abc
import dataclasses
import functools
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement.geometry import solver
from mig_placement.hardware import model
from tests.unit.data import models

Geometry = frozenset[solver.Located]
Multiset = frozenset[tuple[str, int]]

_A100 = models.profiles(models.A100)
_RTX = models.profiles(models.RTX)


def _scan(
    profiles: tuple[model.Profile, ...], at: int, end: int
) -> collections.abc.Iterator[tuple[solver.Located, ...]]:
    """From left to right: what begins at this slice, or nothing."""
    if at >= end:
        yield ()
        return
    yield from _scan(profiles, at + 1, end)
    for profile in profiles:
        for place in profile.placements:
            if place.start == at:
                for rest in _scan(profiles, place.stop, end):
                    yield (solver.Located(profile.name, place), *rest)


def _allowed(
    geometry: tuple[solver.Located, ...], by_name: dict[str, model.Profile]
) -> bool:
    have = [by_name[each.profile] for each in geometry]
    for profile in by_name.values():
        if have.count(profile) > profile.max_instances:
            return False
    for kind in ("decoders", "encoders", "jpeg", "ofa"):
        most = max(getattr(p.engines, kind) for p in by_name.values())
        if sum(getattr(p.engines, kind) for p in have) > most:
            return False
    return True


@functools.cache
def _geometries(name: str) -> dict[Multiset, set[Geometry]]:
    """All geometries of a model, by brute force, by what is in them."""
    profiles = models.profiles(name)
    by_name = {profile.name: profile for profile in profiles}
    end = max(place.stop for p in profiles for place in p.placements)
    found = collections.defaultdict(set)
    for geometry in _scan(profiles, 0, end):
        if _allowed(geometry, by_name):
            counts = collections.Counter(each.profile for each in geometry)
            found[frozenset(counts.items())].add(frozenset(geometry))
    return dict(found)


def test_3x_1g_and_4g_fit_on_an_a100() -> None:
    found = solver.solve(_A100, {"1g.5gb": 3, "4g.20gb": 1})
    assert found is not None
    assert {str(each) for each in found} == {
        "4g.20gb at 0:4",
        "1g.5gb at 4:1",
        "1g.5gb at 5:1",
        "1g.5gb at 6:1",
    }


def test_2x_3g_and_1g_do_not_fit_on_an_a100() -> None:
    assert solver.solve(_A100, {"3g.20gb": 2, "1g.5gb": 1}) is None


@pytest.mark.parametrize("name", models.NAMES)
def test_every_geometry_is_found_and_none_twice(name: str) -> None:
    for multiset, expected in _geometries(name).items():
        ways = [
            frozenset(way)
            for way in solver.assignments(
                models.profiles(name), dict(multiset)
            )
        ]
        assert set(ways) == expected
        assert len(ways) == len(expected)


@pytest.mark.parametrize("name", models.NAMES)
def test_one_instance_more_than_what_fits_does_not_fit(name: str) -> None:
    possible = _geometries(name)
    profiles = models.profiles(name)
    for multiset in possible:
        for profile in profiles:
            counts = collections.Counter(dict(multiset))
            counts[profile.name] += 1
            fits = frozenset(counts.items()) in possible
            assert (solver.solve(profiles, counts) is not None) is fits


@st.composite
def _demands(
    draw: st.DrawFn,
) -> tuple[str, dict[str, int], list[solver.Located]]:
    name = draw(st.sampled_from(models.NAMES))
    profiles = models.profiles(name)
    places = [
        solver.Located(profile.name, place)
        for profile in profiles
        for place in profile.placements
    ]
    demand = draw(
        st.dictionaries(
            st.sampled_from([profile.name for profile in profiles]),
            st.integers(0, 5),
            max_size=3,
        )
    )
    fixed = draw(st.lists(st.sampled_from(places), max_size=4))
    return name, demand, fixed


@hypothesis.given(_demands())
@hypothesis.settings(max_examples=300, deadline=None)
def test_a_demand_with_fixed_instances_is_as_brute_force_says(
    case: tuple[str, dict[str, int], list[solver.Located]],
) -> None:
    name, demand, fixed = case
    counts = solver.total(demand, fixed)
    expected = {
        geometry
        for geometry in _geometries(name).get(frozenset(counts.items()), ())
        if geometry >= set(fixed) and len(set(fixed)) == len(fixed)
    }
    ways = list(solver.assignments(models.profiles(name), demand, fixed))
    assert {frozenset(way) for way in ways} == expected
    assert len(ways) == len(expected)
    found = solver.solve(models.profiles(name), demand, fixed)
    assert (found is None) is (not expected)


def test_nothing_is_always_possible() -> None:
    assert solver.solve(_A100, {}) == ()
    assert solver.solve(_A100, {"1g.5gb": 0}) == ()
    assert solver.solve((), {}) == ()


def test_an_unknown_profile_is_never_possible() -> None:
    assert solver.solve(_A100, {"1g.6gb": 1}) is None


def test_a_fixed_instance_must_lie_where_its_profile_may() -> None:
    wrong = solver.Located("3g.20gb", model.Placement(1, 4))
    assert solver.solve(_A100, {}, [wrong]) is None


@pytest.mark.parametrize(
    ("demand", "fits"),
    [
        ({"1g.24gb+me.all": 1, "1g.24gb": 1}, False),
        ({"1g.24gb+me.all": 1, "1g.24gb-me": 3}, True),
        ({"1g.24gb+me": 1, "1g.24gb": 3}, True),
        ({"1g.24gb+me": 2}, False),
        ({"2g.48gb+me.all": 1, "2g.48gb-me": 1}, True),
        ({"2g.48gb+me.all": 1, "2g.48gb": 1}, False),
    ],
)
def test_media_engines_are_shared_out_once(
    demand: dict[str, int], fits: bool
) -> None:
    assert (solver.solve(_RTX, demand) is not None) is fits


@pytest.mark.parametrize("count", [1000, 10**100])
def test_a_count_beyond_the_maximum_is_refused_at_once(count: int) -> None:
    began = time.process_time()
    assert solver.solve(_A100, {"1g.5gb": count}) is None
    assert time.process_time() - began < 1


def test_nvmls_maximum_counts_though_slices_are_free() -> None:
    (profile,) = (each for each in _A100 if each.name == "1g.5gb")
    scarce = [dataclasses.replace(profile, max_instances=2)]
    at_4 = solver.Located("1g.5gb", model.Placement(4, 1))
    assert solver.solve(scarce, {"1g.5gb": 2}) is not None
    assert solver.solve(scarce, {"1g.5gb": 3}) is None
    assert solver.solve(scarce, {"1g.5gb": 2}, [at_4]) is None


def test_slices_may_be_many() -> None:
    """64 slices and a demand that misses by one: the dead ends are cut."""
    wide = model.Profile(
        name="2g.2gb",
        profile_id=1,
        enum=1,
        slices=2,
        memory_mib=2048,
        multiprocessors=2,
        max_instances=64,
        engines=model.Engines(),
        placements=tuple(model.Placement(at, 3) for at in range(62)),
    )
    assert solver.solve([wide], {"2g.2gb": 21}) is not None
    assert solver.solve([wide], {"2g.2gb": 22}) is None
