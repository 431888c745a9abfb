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
"""Compute instances into the fewest GPU instances."""

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement.geometry import packing


@pytest.mark.parametrize(
    ("sizes", "capacity", "expected"),
    [
        ([], 3, []),
        ([1, 1, 1], 3, [(1, 1, 1)]),
        ([1, 2], 3, [(2, 1)]),
        ([1, 1, 1, 1], 3, [(1, 1, 1), (1,)]),
        ([2, 2], 3, [(2,), (2,)]),
        ([3, 2, 2], 7, [(3, 2, 2)]),
        # The first that fits for each, largest first, would need three.
        ([4, 4, 3, 3, 3, 3], 10, [(4, 3, 3), (4, 3, 3)]),
    ],
)
def test_the_fewest_bins_are_used(
    sizes: list[int], capacity: int, expected: list[tuple[int, ...]]
) -> None:
    assert packing.pack(sizes, capacity, 7) == expected


@pytest.mark.parametrize(
    ("sizes", "most"), [([4], 7), ([1] * 1024, 7), ([2, 2, 2], 2), ([1], 0)]
)
def test_what_does_not_fit_is_refused(sizes: list[int], most: int) -> None:
    assert packing.pack(sizes, 3, most) is None


def _fewest(sizes: list[int], capacity: int) -> int:
    """By trying every way to number the bins."""
    for count in range(len(sizes) + 1):
        for bins in itertools.product(range(count), repeat=len(sizes)):
            if all(
                sum(s for s, b in zip(sizes, bins, strict=True) if b == one)
                <= capacity
                for one in range(count)
            ):
                return count
    raise AssertionError("a size above the capacity")


@hypothesis.given(st.lists(st.integers(1, 4), max_size=6), st.integers(4, 8))
def test_it_is_as_exact_as_brute_force(
    sizes: list[int], capacity: int
) -> None:
    bins = packing.pack(sizes, capacity, 6)
    assert bins is not None
    assert len(bins) == _fewest(sizes, capacity)
    assert sorted(size for each in bins for size in each) == sorted(sizes)
    assert all(sum(each) <= capacity for each in bins)
