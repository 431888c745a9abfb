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
"""The best placements against all placements that there are."""

import collections
import collections.abc
import dataclasses
import functools
import itertools
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement.geometry import layout
from mig_placement.geometry import target
from mig_placement.hardware import model
from tests.unit.data import models

Located = target.Located
Geometry = frozenset[Located]
Shape = tuple[str, ...] | None
Multiset = frozenset[tuple[str, int]]


def _scan(
    profiles: tuple[model.Profile, ...], at: int, end: int
) -> collections.abc.Iterator[Geometry]:
    """From left to right: what begins at this slice, or nothing."""
    if at >= end:
        yield frozenset()
        return
    yield from _scan(profiles, at + 1, end)
    for profile in profiles:
        for place in profile.placements:
            if place.start == at:
                for rest in _scan(profiles, place.stop, end):
                    yield rest | {Located(profile.name, place)}


def _allowed(
    geometry: Geometry, by_name: collections.abc.Mapping[str, model.Profile]
) -> bool:
    have = [by_name[each.profile] for each in geometry]
    engines = ("decoders", "encoders", "jpeg", "ofa")
    return all(
        have.count(each) <= each.max_instances for each in have
    ) and all(
        sum(getattr(each.engines, kind) for each in have)
        <= max(getattr(each.engines, kind) for each in by_name.values())
        for kind in engines
    )


@functools.cache
def _geometries(name: str) -> tuple[Geometry, ...]:
    profiles = models.profiles(name)
    by_name = {profile.name: profile for profile in profiles}
    end = max(place.stop for p in profiles for place in p.placements)
    return tuple(
        sorted(
            (g for g in _scan(profiles, 0, end) if _allowed(g, by_name)),
            key=sorted,
        )
    )


@functools.cache
def _possible(name: str) -> frozenset[Geometry]:
    return frozenset(_geometries(name))


def _multiset(profiles: collections.abc.Iterable[str]) -> Multiset:
    return frozenset(collections.Counter(profiles).items())


@functools.cache
def _by_multiset(name: str) -> dict[Multiset, list[Geometry]]:
    found = collections.defaultdict(list)
    for geometry in _geometries(name):
        found[_multiset(each.profile for each in geometry)].append(geometry)
    return dict(found)


@dataclasses.dataclass(frozen=True)
class _Case:
    name: str
    gpu: model.Gpu
    declared: tuple[layout.DeclaredInstance, ...]
    pinned: Geometry
    in_use: Geometry

    @property
    def existing(self) -> dict[Located, model.GpuInstance]:
        return {target.located(each): each for each in self.gpu.instances}

    @property
    def stay(self) -> Geometry:
        return self.pinned & frozenset(self.existing)

    def find(self) -> target.Target:
        return target.find(self.gpu, self.declared, self.pinned, self.in_use)


def _shapes(profile: model.Profile) -> st.SearchStrategy[tuple[str, ...]]:
    whole: list[tuple[str, ...]] = [(), (profile.name,)]
    singles = [
        (f"1c.{profile.name}",) * count
        for count in range(1, profile.slices + 1)
        if profile.slices > 1
    ]
    doubles = [
        (f"2c.{profile.name}", *single)
        for single in [(), *singles]
        if 2 + len(single) <= profile.slices and profile.slices > 2
    ]
    return st.sampled_from(whole + singles + doubles)


@st.composite
def _cases(draw: st.DrawFn, *, divided: bool = True) -> _Case:
    name = draw(st.sampled_from(models.NAMES))
    by_name = {profile.name: profile for profile in models.profiles(name)}
    geometries = st.sampled_from(_geometries(name))

    def shape(profile: str) -> tuple[str, ...]:
        if divided and draw(st.booleans()):
            return draw(_shapes(by_name[profile]))
        return (profile,)

    existing, wanted = sorted(draw(geometries)), sorted(draw(geometries))
    # Often what is wanted is, in part, what exists.
    declared = [
        layout.DeclaredInstance(
            each.profile,
            each.placement if draw(st.integers(0, 4)) == 0 else None,
            draw(st.just(None) | st.just(shape(each.profile)))
            if divided
            else (each.profile,),
        )
        for each in wanted
    ]
    gpu = models.gpu(
        name,
        instances=tuple(
            models.instance(
                each.profile, str(each.placement), shape(each.profile)
            )
            for each in existing
        ),
    )
    subsets = (
        st.sets(st.sampled_from(existing)) if existing else st.just(set())
    )
    pinned = frozenset(draw(subsets)) if draw(st.booleans()) else frozenset()
    return _Case(
        name, gpu, tuple(declared), pinned, pinned | frozenset(draw(subsets))
    )


def _subsets(of: Geometry) -> collections.abc.Iterator[Geometry]:
    for count in range(len(of) + 1):
        yield from map(frozenset, itertools.combinations(of, count))


def _wholes(case: _Case) -> list[Geometry]:
    fixed = {
        Located(each.profile, each.placement)
        for each in case.declared
        if each.placement is not None
    }
    counts = _multiset(each.profile for each in case.declared)
    ways = _by_multiset(case.name).get(counts, [])
    return [whole for whole in ways if whole >= fixed]


Disturbance = tuple[int, int, int, int]
Effort = tuple[int, int, int]


def _disturbance(case: _Case, whole: Geometry, now: Geometry) -> Disturbance:
    gone = frozenset(case.existing) - now
    return (
        len(whole - now),
        len(now - whole),
        len(gone),
        len(gone & case.in_use),
    )


def _slices(ci: str) -> int:
    """Of a compute instance; one that fills its GPU instance is 0."""
    compute, dot, _ = ci.partition("c.")
    return int(compute) if dot else 0


def _kept(
    instance: model.GpuInstance, shape: Shape, pinned: bool
) -> tuple[int, int]:
    """Whether it waits, and calls, of a GPU instance that is kept."""
    if shape is None:
        return 0, 0
    have = collections.Counter(
        _slices(each.profile) for each in instance.compute_instances
    )
    want = collections.Counter(map(_slices, shape))
    gone, new = (have - want).total(), want - have
    if pinned and gone:
        return 1, 0
    if not pinned and have & want and set(new) - {1}:
        return 0, have.total() + want.total()
    return 0, gone + new.total()


def _effort(
    case: _Case,
    now: Geometry,
    shapes: collections.abc.Mapping[Located, Shape],
) -> Effort:
    waits = calls = 0
    for slot, instance in case.existing.items():
        if slot not in now:
            calls += 1 + len(instance.compute_instances)
    for slot in now:
        if slot not in case.existing:
            calls += 1 + len(shapes[slot] or ())
        else:
            cost = _kept(
                case.existing[slot], shapes.get(slot), slot in case.pinned
            )
            waits, calls = waits + cost[0], calls + cost[1]
    return waits, calls, -_free_block(case, now)


def _free_block(case: _Case, now: Geometry) -> int:
    end = max(
        place.stop
        for profile in models.profiles(case.name)
        for place in profile.placements
    )
    blocks = [
        model.Placement(start, size)
        for start in range(end)
        for size in range(end - start + 1)
    ]
    return max(
        block.size
        for block in blocks
        if not any(block.overlaps(each.placement) for each in now)
    )


def _dealings(
    case: _Case, whole: Geometry, now: Geometry
) -> collections.abc.Iterator[dict[Located, Shape]]:
    """Every way to say which declared instance is which slot."""
    fixed = {
        Located(each.profile, each.placement): each.compute_instances
        for each in case.declared
        if each.placement is not None
    }
    slots = sorted((whole & now) - set(fixed))
    ways = []
    for profile in sorted({each.profile for each in slots}):
        free = [
            each.compute_instances
            for each in case.declared
            if each.profile == profile and each.placement is None
        ]
        count = sum(slot.profile == profile for slot in slots)
        if len(set(free)) == 1:
            ways.append({tuple(free[:count])})
        else:
            ways.append(set(itertools.permutations(free, count)))
    for way in itertools.product(*ways):
        dealt = dict(zip(slots, itertools.chain(*way), strict=True))
        yield dealt | {slot: fixed[slot] for slot in set(fixed) & now}


@dataclasses.dataclass
class _Best:
    """What brute force found: the keys, and all that have them."""

    disturbance: Disturbance
    effort: Effort
    choices: set[tuple[Geometry, tuple[str, ...]]]


def _brute_force(case: _Case) -> _Best:
    choices = [
        (_disturbance(case, whole, now), whole, now)
        for whole in _wholes(case)
        for built in _subsets(whole)
        if (now := built | case.stay) in _possible(case.name)
    ]
    least = min(each[0] for each in choices)
    efforts = [
        (min(_effort(case, now, s) for s in _dealings(case, whole, now)), each)
        for each in choices
        for disturbance, whole, now in [each]
        if disturbance == least
    ]
    effort = min(each[0] for each in efforts)
    return _Best(
        least,
        effort,
        {
            (now, tuple(sorted(each.profile for each in whole - now)))
            for cost, (_, whole, now) in efforts
            if cost == effort
        },
    )


@hypothesis.given(_cases())
@hypothesis.settings(max_examples=500, deadline=None)
def test_no_placement_is_better_than_the_one_found(case: _Case) -> None:
    best = _brute_force(case)
    found = case.find()
    assert (found.instances, found.missing) in best.choices
    assert _effort(case, found.instances, found.shapes) == best.effort


@pytest.mark.parametrize("name", models.NAMES)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=40, deadline=None)
def test_every_model_keeps_as_many_instances_as_can_be(
    name: str, data: st.DataObject
) -> None:
    before, wanted = (
        data.draw(st.sampled_from(_geometries(name))) for _ in range(2)
    )
    case = _plain(name, before, wanted)
    most = max(len(whole & before) for whole in _wholes(case))
    found = case.find()
    assert len(found.instances & before) == most
    assert found.instances in _wholes(case)
    assert not found.missing


def _plain(
    name: str,
    before: collections.abc.Iterable[Located],
    wanted: collections.abc.Iterable[Located],
    pinned: collections.abc.Iterable[Located] = (),
) -> _Case:
    """Everything is declared without a placement and undivided."""
    gpu = models.gpu(
        name,
        instances=tuple(
            models.instance(each.profile, str(each.placement))
            for each in sorted(before)
        ),
    )
    declared = tuple(
        layout.DeclaredInstance(each.profile, None, (each.profile,))
        for each in sorted(wanted)
    )
    return _Case(name, gpu, declared, frozenset(pinned), frozenset(pinned))


@hypothesis.given(_cases())
@hypothesis.settings(max_examples=200, deadline=None)
def test_a_layout_that_can_be_had_now_is_had_now(case: _Case) -> None:
    reachable = [whole for whole in _wholes(case) if whole >= case.stay]
    if reachable:
        assert case.find().instances in reachable


@hypothesis.given(_cases())
@hypothesis.settings(max_examples=200, deadline=None)
def test_what_is_pinned_and_exists_stays(case: _Case) -> None:
    assert case.stay <= case.find().instances


@hypothesis.given(_cases())
@hypothesis.settings(max_examples=200, deadline=None)
def test_every_declared_shape_is_given_once(case: _Case) -> None:
    found = case.find()
    given = collections.Counter(
        (slot.profile, shape) for slot, shape in found.shapes.items()
    )
    asked = collections.Counter(
        (each.profile, each.compute_instances) for each in case.declared
    )
    assert given <= asked
    assert (asked - given).total() == len(found.missing)
    assert set(found.shapes) <= found.instances


def _located(*texts: str) -> Geometry:
    """``3g.20gb@0:4``."""
    found = set()
    for text in texts:
        profile, _, place = text.partition("@")
        start, size = map(int, place.split(":"))
        found.add(Located(profile, model.Placement(start, size)))
    return frozenset(found)


def test_a_greedy_choice_of_the_first_place_would_destroy_one_more() -> None:
    """The 2g that is wanted may lie at 0, 2 or 4; only at 4 it is kept."""
    before = _located("1g.5gb@0:1", "2g.10gb@4:2")
    wanted = _located("1g.5gb@0:1", "2g.10gb@2:2")
    assert _plain(models.A100, before, wanted).find().instances == before


def test_an_unused_instance_goes_rather_than_one_stays_beyond() -> None:
    """Of two 3g one is declared and one is in use: it is that one."""
    before = _located("3g.20gb@0:4", "3g.20gb@4:4")
    used = _located("3g.20gb@0:4")
    found = _plain(models.A100, before, used, pinned=used).find()
    assert found.instances == used


def test_of_two_that_a_limit_allows_one_of_the_existing_one_is_kept() -> None:
    """No known model has so low a limit: three places, two instances."""
    profile = dataclasses.replace(
        models.profiles(models.A100)[0],
        name="1g.1gb",
        max_instances=2,
        placements=tuple(model.Placement(start, 1) for start in range(3)),
    )
    pinned, kept = _located("1g.1gb@0:1"), _located("1g.1gb@2:1")
    gpu = models.gpu(
        profiles=(profile,),
        instances=(
            models.instance("1g.1gb", "0:1"),
            models.instance("1g.1gb", "2:1"),
        ),
    )
    wanted = [
        layout.DeclaredInstance(profile.name, each, (profile.name,))
        for each in profile.placements[1:]
    ]
    found = target.find(gpu, wanted, pinned, pinned)
    assert found.instances == pinned | kept
    assert found.missing == ("1g.1gb",)


def test_the_instance_with_the_declared_cis_is_the_one_that_is_kept() -> None:
    divided = models.instance("3g.20gb", "0:4", ("1c.3g.20gb",) * 3)
    whole = models.instance("3g.20gb", "4:4")
    gpu = models.gpu(instances=(divided, whole))
    wanted = [layout.DeclaredInstance("3g.20gb", None, ("3g.20gb",))]
    assert target.find(gpu, wanted).instances == _located("3g.20gb@4:4")


def test_of_two_in_use_the_declared_one_is_that_with_the_declared_cis() -> (
    None
):
    divided = models.instance("3g.20gb", "0:4", ("1c.3g.20gb",) * 3)
    whole = models.instance("3g.20gb", "4:4")
    gpu = models.gpu(instances=(divided, whole))
    both = _located("3g.20gb@0:4", "3g.20gb@4:4")
    wanted = [layout.DeclaredInstance("3g.20gb", None, ("3g.20gb",))]
    found = target.find(gpu, wanted, both, both)
    assert found.instances == both
    assert set(found.shapes) == _located("3g.20gb@4:4")


def test_the_largest_free_block_is_left() -> None:
    found = _plain(models.A100, (), _located("1g.5gb@0:1")).find()
    assert target.largest_free_block(found.instances, 8) == 7


def test_a_layout_that_is_impossible_here_destroys_nothing() -> None:
    before = _located("1g.5gb@0:1")
    seven = _located("7g.40gb@0:8")
    case = _plain(models.A100, before, [*seven, *seven])
    assert case.find() == target.Target(before, ("7g.40gb", "7g.40gb"))


def _counts(name: str) -> list[_Case]:
    """The layouts with the most placements, beside what blocks them."""
    worst = sorted(_by_multiset(name).values(), key=len)[-5:]
    small = [g for g in _geometries(name) if len(g) == 3][::199]
    return [
        _plain(name, before, ways[0], pinned)
        for ways in worst
        for before in small
        for pinned in (frozenset[Located](), before, frozenset([min(before)]))
    ]


@pytest.mark.parametrize("name", models.NAMES)
def test_no_layout_takes_long(name: str) -> None:
    seconds = []
    for case in _counts(name):
        began = time.process_time()
        case.find()
        seconds.append(time.process_time() - began)
    assert max(seconds) < 0.05
