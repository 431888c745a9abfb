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
"""Compute instances into as few GPU instances as can hold them; exact."""

import collections.abc


def pack(
    sizes: collections.abc.Sequence[int], capacity: int, most: int
) -> list[tuple[int, ...]] | None:
    """Share sizes out to at most ``most`` bins of that capacity.

    The number of bins is the smallest possible; every bin has its largest
    first. Slices are all that counts: NVML tells the places of compute
    instances only of a GPU instance that exists.

    :returns: None where they do not fit.
    """
    if sum(sizes) > capacity * most or max(sizes, default=0) > capacity:
        return None
    descending = sorted(sizes, reverse=True)
    fewest = -(-sum(sizes) // capacity)
    for count in range(fewest, most + 1):
        bins: list[list[int]] = [[] for _ in range(count)]
        if _fill(descending, bins, capacity):
            return [tuple(each) for each in bins]
    return None


def _fill(
    sizes: collections.abc.Sequence[int],
    bins: list[list[int]],
    capacity: int,
) -> bool:
    """Put every size in a bin; the bins are as before where it cannot be."""
    if not sizes:
        return True
    size, rest = sizes[0], sizes[1:]
    tried = set()
    for each in bins:
        have = sum(each)
        # Bins with the same room are alike.
        if have in tried or have + size > capacity:
            continue
        tried.add(have)
        each.append(size)
        if _fill(rest, bins, capacity):
            return True
        each.pop()
    return False
