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
"""Which existing instance is which declared one."""

import collections.abc
import itertools

import hypothesis
from hypothesis import strategies as st

from mig_placement.geometry import instances
from mig_placement.geometry import matching
from mig_placement.hardware import model
from tests.unit.data import models

_1G = "1g.5gb"
_3G = "3g.20gb"


def _free(
    profile: str, cis: tuple[str, ...] | None = ()
) -> instances.DeclaredInstance:
    return instances.DeclaredInstance(
        profile, None, (profile,) if cis == () else cis
    )


def _fixed(profile: str, start: int, size: int) -> instances.DeclaredInstance:
    place = model.Placement(start, size)
    return instances.DeclaredInstance(profile, place, (profile,))


def test_a_declared_placement_takes_the_instance_that_is_there() -> None:
    free, fixed = _free(_3G), _fixed(_3G, 0, 4)
    at_0 = models.instance(_3G, "0:4")
    at_4 = models.instance(_3G, "4:4")
    found = matching.match((free, fixed), (at_0, at_4))
    assert set(found.pairs) == {(fixed, at_0), (free, at_4)}
    assert (found.missing, found.extra) == ((), ())


def test_an_instance_elsewhere_is_not_the_declared_one() -> None:
    fixed, at_4 = _fixed(_3G, 0, 4), models.instance(_3G, "4:4")
    found = matching.match((fixed,), (at_4,))
    assert (found.missing, found.extra) == ((fixed,), (at_4,))


def test_another_profile_at_the_placement_is_not_the_declared_one() -> None:
    fixed = _fixed(_3G, 0, 4)
    found = matching.match((fixed,), (models.instance("4g.20gb", "0:4"),))
    assert found.missing == (fixed,)


def test_equal_compute_instances_are_paired_first() -> None:
    small = ("1c.3g.20gb", "2c.3g.20gb")
    divided, whole = _free(_3G, small), _free(_3G)
    at_0 = models.instance(_3G, "0:4")
    at_4 = models.instance(_3G, "4:4", cis=("2c.3g.20gb", "1c.3g.20gb"))
    for declared in ((divided, whole), (whole, divided)):
        found = matching.match(declared, (at_0, at_4))
        assert set(found.pairs) == {(whole, at_0), (divided, at_4)}


def test_a_ci_is_named_after_its_gpu_instance() -> None:
    instance = models.instance(
        "1g.5gb+me", "0:1", cis=("1g.5gb", "1c.1g.5gb", "odd", "")
    )
    assert matching.ci_names(instance) == (
        "1g.5gb+me",
        "1g.5gb+me",
        "odd",
        "",
    )
    divided = models.instance("3g.20gb+me", "0:4", cis=("2c.3g.20gb",))
    assert matching.ci_names(divided) == ("2c.3g.20gb+me",)


_CIS = st.sampled_from([(), ("1c.3g.20gb",), ("1c.3g.20gb", "2c.3g.20gb")])
_PLACES = st.none() | st.integers(0, 3)


@st.composite
def _declared(draw: st.DrawFn) -> instances.DeclaredInstance:
    profile = draw(st.sampled_from([_1G, _3G]))
    start = draw(_PLACES)
    cis = draw(st.none() | st.just((profile,)) | _CIS)
    place = None if start is None else model.Placement(start, 1)
    return instances.DeclaredInstance(profile, place, cis)


@st.composite
def _observed(draw: st.DrawFn) -> list[model.GpuInstance]:
    starts = draw(st.lists(st.integers(0, 4), unique=True, max_size=4))
    found = []
    for start in starts:
        profile = draw(st.sampled_from([_1G, _3G]))
        cis = draw(st.none() | _CIS)
        found.append(models.instance(profile, f"{start}:1", cis=cis))
    return found


def _may_be(
    declared: instances.DeclaredInstance, observed: model.GpuInstance
) -> bool:
    return declared.profile == observed.profile and (
        declared.placement in (None, observed.placement)
    )


def _score(
    pairs: collections.abc.Collection[matching.Pair],
) -> tuple[int, int, int]:
    """Pairs, those by placement, and those of equal compute instances."""
    placed = sum(one.placement is not None for one, _ in pairs)
    alike = sum(matching.has_declared_cis(*pair) for pair in pairs)
    return len(pairs), placed, alike


def _best(
    declared: list[instances.DeclaredInstance],
    observed: list[model.GpuInstance],
) -> tuple[int, int, int]:
    """The best score of all ways to pair them."""
    padded = [*observed, *([None] * len(declared))]
    best = (0, 0, 0)
    for way in itertools.permutations(padded, len(declared)):
        pairs = [
            (one, other)
            for one, other in zip(declared, way, strict=True)
            if other is not None and _may_be(one, other)
        ]
        best = max(best, _score(pairs))
    return best


@hypothesis.given(
    st.lists(
        _declared(),
        max_size=4,
        # The solver lets no two lie at one place.
        unique_by=lambda each: each.placement or object(),
    ),
    _observed(),
)
@hypothesis.settings(max_examples=200, deadline=None)
def test_no_other_matching_is_better(
    declared: list[instances.DeclaredInstance],
    observed: list[model.GpuInstance],
) -> None:
    # Asked for or not is the entry's, and so the GPU's, to say.
    hypothesis.assume(
        len({each.compute_instances is None for each in declared}) < 2
    )
    found = matching.match(declared, observed)
    assert all(_may_be(*pair) for pair in found.pairs)
    assert _score(found.pairs) == _best(declared, observed)
    assert len(found.pairs) + len(found.missing) == len(declared)
    assert len(found.pairs) + len(found.extra) == len(observed)
