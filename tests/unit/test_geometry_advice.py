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
"""What an operator is told of a demand that is impossible."""

import time

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement.geometry import advice
from mig_placement.geometry import solver
from mig_placement.hardware import model
from tests.unit.data import models

_A100 = models.profiles(models.A100)


def _at(profile: str, start: int, size: int) -> solver.Located:
    return solver.Located(profile, model.Placement(start, size))


@pytest.mark.parametrize(
    ("name", "demand", "expected"),
    [
        (
            models.A100,
            {"3g.20gb": 2, "1g.5gb": 1},
            "2x 3g.20gb fill all 8 memory slices, 1g.5gb does not fit",
        ),
        (
            models.A100,
            {"1g.5gb": 1, "7g.40gb": 1},
            "1x 7g.40gb fills all 8 memory slices, 1g.5gb does not fit",
        ),
        (
            models.A100,
            {"1g.5gb": 4, "4g.20gb": 1},
            "1x 4g.20gb + 3x 1g.5gb take 7 of 8 memory slices and leave no"
            " place for another 1g.5gb (which can start at 0, 1, 2, 3, 4, 5,"
            " 6)",
        ),
        (
            models.A100,
            {"1g.5gb": 8},
            "at most 7x 1g.5gb fit on it, not 8",
        ),
        (
            models.A100,
            {"1g.5gb": 10**9, "7g.40gb": 1},
            "at most 7x 1g.5gb fit on it, not 1000000000",
        ),
        (
            models.A100,
            {"1g.5gb+me": 2},
            "1x 1g.5gb+me takes the only JPEG engine, another 1g.5gb+me"
            " needs 1",
        ),
        (
            models.H100,
            {"1g.10gb+me": 2},
            "1x 1g.10gb+me takes the only OFA engine, another 1g.10gb+me"
            " needs 1",
        ),
        (
            models.RTX,
            {"1g.24gb": 1, "1g.24gb+me.all": 1},
            "1x 1g.24gb+me.all takes all 4 decoders, 1g.24gb needs 1",
        ),
        (
            models.RTX,
            {"2g.48gb+gfx": 2, "1g.24gb": 1},
            "2x 2g.48gb+gfx fill all 12 memory slices, 1g.24gb does not fit",
        ),
    ],
)
def test_the_reason_is_said_in_slices_or_engines(
    name: str, demand: dict[str, int], expected: str
) -> None:
    assert advice.explain(models.profiles(name), demand) == expected


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        (
            [_at("3g.20gb", 1, 4)],
            "3g.20gb cannot lie at 1:4, only at 0:4, 4:4",
        ),
        (
            [_at("3g.20gb", 0, 4), _at("1g.5gb", 2, 1)],
            "3g.20gb at 0:4 and 1g.5gb at 2:1 overlap",
        ),
        (
            [_at("1g.5gb", 3, 1)],
            "1g.5gb at 3:1 takes 1 of 8 memory slices and leaves no place"
            " for 4g.20gb (which can start at 0)",
        ),
    ],
)
def test_placements_that_stand_against_it_are_named(
    fixed: list[solver.Located], expected: str
) -> None:
    assert advice.explain(_A100, {"4g.20gb": 1}, fixed) == expected


def test_the_nearest_that_fit_come_with_the_fewest_free_slices_first() -> None:
    near = advice.nearest(_A100, {"3g.20gb": 2, "1g.5gb": 1})
    assert near == [
        {"3g.20gb": 2},
        {"3g.20gb": 1, "1g.5gb": 1},
        {"3g.20gb": 1, "1g.10gb": 1, "1g.5gb": 1},
    ]


@st.composite
def _impossible(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    name = draw(st.sampled_from(models.NAMES))
    names = [profile.name for profile in models.profiles(name)]
    demand = draw(
        st.dictionaries(
            st.sampled_from(names),
            st.integers(1, 9) | st.integers(1, 10**6),
            min_size=1,
            max_size=4,
        )
    )
    hypothesis.assume(solver.solve(models.profiles(name), demand) is None)
    return name, demand


@hypothesis.given(_impossible())
@hypothesis.settings(max_examples=60, deadline=None)
def test_what_is_offered_fits_and_nothing_nearer_does(
    case: tuple[str, dict[str, int]],
) -> None:
    name, demand = case
    profiles = models.profiles(name)
    began = time.process_time()
    near = advice.nearest(profiles, demand)
    assert advice.explain(profiles, demand)
    assert time.process_time() - began < 1
    assert len(near) == 3
    for offered in near:
        assert solver.solve(profiles, offered) is not None
    distances = [advice._distance(offered, demand) for offered in near]
    assert distances == sorted(distances)
    # One instance less of anything is nearer than distance 2.
    for each in demand:
        less = {**demand, each: demand[each] - 1}
        if solver.solve(profiles, less) is not None and any(less.values()):
            assert distances[0] == 1


@hypothesis.given(_impossible())
@hypothesis.settings(max_examples=60, deadline=None)
def test_the_reason_never_falls_back_on_that_it_does_not_fit(
    case: tuple[str, dict[str, int]],
) -> None:
    name, demand = case
    said = advice.explain(models.profiles(name), demand)
    assert "do not fit together" not in said


def test_a_large_unknown_gpu_does_not_stop_the_search_for_advice() -> None:
    profiles = [
        model.Profile(
            name=f"{size}g.{size}gb",
            profile_id=size,
            enum=size,
            slices=size,
            memory_mib=size,
            multiprocessors=size,
            max_instances=64 // size,
            engines=model.Engines(),
            placements=tuple(
                model.Placement(at, size) for at in range(0, 65 - size, size)
            ),
        )
        for size in (1, 2, 3, 4, 8, 16)
    ]
    began = time.process_time()
    assert advice.nearest(profiles, {"1g.1gb": 64, "16g.16gb": 4})
    assert time.process_time() - began < 10


def test_a_geometry_is_counted_as_operators_write_it() -> None:
    assert advice.counted({"3g.20gb": 1, "1g.5gb": 3}) == (
        "1x 3g.20gb + 3x 1g.5gb"
    )
    assert advice.counted({}) == "nothing"
