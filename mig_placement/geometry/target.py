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
"""Which placements a GPU's declared instances should take; exact, pure."""

import collections
import collections.abc
import dataclasses
import itertools

from mig_placement.geometry import layout
from mig_placement.geometry import solver
from mig_placement.hardware import model

Located = solver.Located
_Set = frozenset[Located]


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where everything should lie, as far as it can be had now.

    :ivar instances: all instances at the end, those that must stay
        included.
    :ivar missing: profiles of the layout that have no room until what must
        stay has gone.
    """

    instances: frozenset[Located]
    missing: tuple[str, ...] = ()


def located(instance: model.GpuInstance) -> Located:
    return Located(instance.profile, instance.placement)


def find(
    gpu: model.Gpu,
    declared: collections.abc.Iterable[layout.DeclaredInstance],
    pinned: frozenset[Located] = frozenset(),
    in_use: frozenset[Located] = frozenset(),
) -> Target:
    """The best placements of the declared instances; all are looked at.

    What is built now is part of a placement of the whole layout, so that
    nothing has to move again when what is pinned has gone. Among those the
    one with the most instances now, then the one that destroys the fewest
    instances, then the fewest in use, then leaves the largest free block.

    :param pinned: instances that exist and must not be destroyed.
    :param in_use: instances that had better not be destroyed.
    """
    existing = frozenset(located(each) for each in gpu.instances)
    stay = pinned & existing
    fixed, free = _demand(declared)
    choices = [
        _now(gpu.profiles, frozenset(whole), stay)
        for whole in solver.assignments(gpu.profiles, free, fixed)
    ]
    if not choices:
        # The layout was proven possible; this GPU is no longer the one.
        lacking = sorted([*(each.profile for each in fixed), *free.elements()])
        return Target(stay, tuple(lacking))
    slices = solver.total_slices(gpu.profiles)
    return min(
        choices,
        key=lambda choice: (
            len(choice.missing),
            *_disturbance(choice.instances, existing, in_use),
            -largest_free_block(choice.instances, slices),
            sorted(choice.instances),
        ),
    )


def _demand(
    declared: collections.abc.Iterable[layout.DeclaredInstance],
) -> tuple[list[Located], collections.Counter[str]]:
    fixed: list[Located] = []
    free: collections.Counter[str] = collections.Counter()
    for each in declared:
        if each.placement is None:
            free[each.profile] += 1
        else:
            fixed.append(Located(each.profile, each.placement))
    return fixed, free


def _now(
    profiles: tuple[model.Profile, ...], whole: _Set, stay: _Set
) -> Target:
    """As much of a whole placement as there is room for beside what stays."""
    room = sorted(
        each
        for each in whole - stay
        if not any(each.placement.overlaps(s.placement) for s in stay)
    )
    for count in range(len(room), -1, -1):
        for some in itertools.combinations(room, count):
            instances = stay | frozenset(some)
            if _possible(profiles, instances):
                missing = whole - instances
                return Target(
                    instances, tuple(sorted(each.profile for each in missing))
                )
    return Target(stay, tuple(sorted(each.profile for each in whole - stay)))


def _possible(profiles: tuple[model.Profile, ...], instances: _Set) -> bool:
    """Whether the limits of profiles and media engines allow it."""
    return solver.solve(profiles, {}, tuple(instances)) is not None


def _disturbance(
    instances: _Set, existing: _Set, in_use: _Set
) -> tuple[int, int]:
    """How many instances are destroyed, and how many of them in use."""
    destroyed = existing - instances
    return len(destroyed), len(destroyed & in_use)


def largest_free_block(
    instances: collections.abc.Iterable[Located], slices: int
) -> int:
    """Length of the longest run of free memory slices."""
    used = {
        at
        for each in instances
        for at in range(each.placement.start, each.placement.stop)
    }
    longest = run = 0
    for at in range(slices):
        run = 0 if at in used else run + 1
        longest = max(longest, run)
    return longest
