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
"""Which instances a GPU should have, and where; exact and pure."""

import collections
import collections.abc
import dataclasses
import itertools

from mig_placement.geometry import layout
from mig_placement.geometry import profile_name
from mig_placement.geometry import solver
from mig_placement.hardware import model

Located = solver.Located
# Compute instances' profiles; None where they are not asked for.
Shape = tuple[str, ...] | None
_Set = frozenset[Located]
_Shapes = dict[Located, Shape]


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where everything should lie, as far as it can be had now.

    :ivar instances: all instances at the end, those that must stay
        included.
    :ivar missing: profiles of the layout that have no room until what must
        stay has gone.
    :ivar shapes: compute instances of those that the layout declares.
    """

    instances: frozenset[Located]
    missing: tuple[str, ...] = ()
    shapes: collections.abc.Mapping[Located, Shape] = dataclasses.field(
        default_factory=dict
    )


def located(instance: model.GpuInstance) -> Located:
    return Located(instance.profile, instance.placement)


def find(
    gpu: model.Gpu,
    declared: collections.abc.Iterable[layout.DeclaredInstance],
    pinned: frozenset[Located] = frozenset(),
    in_use: frozenset[Located] = frozenset(),
    guests: frozenset[Located] = frozenset(),
) -> Target:
    """The best placements of the declared instances; all are looked at.

    What is built now is part of a placement of the whole layout, so that
    nothing has to move again when what is pinned has gone. Among those the
    one with the most instances now, then the fewest beyond the layout,
    then the one that destroys the fewest instances, then the fewest in
    use, then keeps the fewest with other compute instances, then takes
    the fewest calls, then leaves the largest free block.

    :param pinned: instances that exist and must not be destroyed.
    :param in_use: instances that had better not be destroyed.
    :param guests: pinned ones that a VM has, as ``ci_change`` needs them.
    """
    return _Finder(gpu, tuple(declared), pinned, in_use, guests).best()


@dataclasses.dataclass(frozen=True, slots=True)
class _Choice:
    """A placement of the whole layout, and what is to exist now."""

    whole: _Set
    instances: _Set

    @property
    def missing(self) -> _Set:
        return self.whole - self.instances

    @property
    def beyond(self) -> _Set:
        return self.instances - self.whole


class _Finder:
    """Looks at every choice for one GPU."""

    def __init__(
        self,
        gpu: model.Gpu,
        declared: tuple[layout.DeclaredInstance, ...],
        pinned: _Set,
        in_use: _Set,
        guests: _Set,
    ) -> None:
        self._profiles = gpu.profiles
        self._declared = declared
        self._existing = {located(each): each for each in gpu.instances}
        self._stay = pinned.intersection(self._existing)
        self._in_use = in_use
        self._guests = guests
        self._slices = solver.total_slices(gpu.profiles)

    def best(self) -> Target:
        choices = list(self._choices())
        if not choices:
            # The layout was proven possible; this GPU is no longer the one.
            lacking = sorted(each.profile for each in self._declared)
            return Target(frozenset(self._existing), tuple(lacking))
        least = min(map(self._disturbance, choices))
        return min(
            (
                self._settled(choice)
                for choice in choices
                if self._disturbance(choice) == least
            ),
            key=self._effort,
        )

    def _choices(self) -> collections.abc.Iterator[_Choice]:
        fixed: list[Located] = []
        free: collections.Counter[str] = collections.Counter()
        for each in self._declared:
            if each.placement is None:
                free[each.profile] += 1
            else:
                fixed.append(Located(each.profile, each.placement))
        for way in solver.assignments(self._profiles, free, fixed):
            whole = frozenset(way)
            for instances in self._now(whole):
                yield _Choice(whole, instances)

    def _now(self, whole: _Set) -> collections.abc.Iterator[_Set]:
        """As much of the whole as there is room for beside what stays."""
        if self._stay <= whole:
            yield whole
            return
        room = sorted(
            each
            for each in whole - self._stay
            if not any(
                each.placement.overlaps(s.placement) for s in self._stay
            )
        )
        for count in range(len(room), -1, -1):
            found = [
                instances
                for some in itertools.combinations(room, count)
                if self._possible(instances := self._stay.union(some))
            ]
            yield from found
            if found:
                return

    def _possible(self, instances: _Set) -> bool:
        """Whether the limits of profiles and media engines allow it."""
        return solver.solve(self._profiles, {}, tuple(instances)) is not None

    def _disturbance(self, choice: _Choice) -> tuple[int, ...]:
        destroyed = frozenset(self._existing) - choice.instances
        return (
            len(choice.missing),
            len(choice.beyond),
            len(destroyed),
            len(destroyed & self._in_use),
        )

    def _effort(self, aim: Target) -> tuple[int, int, int, list[Located]]:
        unlike, calls = _sum(
            self._cost(slot, aim.shapes.get(slot)) for slot in aim.instances
        )
        for slot in self._existing.keys() - aim.instances:
            calls += 1 + len(self._existing[slot].compute_instances)
        free = largest_free_block(aim.instances, self._slices)
        return unlike, calls, -free, sorted(aim.instances)

    def _cost(self, slot: Located, shape: Shape) -> tuple[int, int]:
        """Whether its compute instances have to wait, and calls to make."""
        if slot not in self._existing:
            return 0, 1 + len(shape or ())
        change = ci_change(
            self._existing[slot],
            shape,
            slot in self._stay,
            slot in self._guests,
        )
        if change.waits:
            return 1, 0
        return 0, len(change.destroy) + len(change.create)

    def _settled(self, choice: _Choice) -> Target:
        shapes: _Shapes = {}
        for profile in {each.profile for each in self._declared}:
            shapes |= self._shaped(profile, choice)
        return Target(
            choice.instances,
            tuple(sorted(each.profile for each in choice.missing)),
            shapes,
        )

    def _shaped(self, profile: str, choice: _Choice) -> _Shapes:
        """What is declared at a placement is there; the others are dealt."""
        alike = [each for each in self._declared if each.profile == profile]
        at = {
            Located(profile, each.placement): each.compute_instances
            for each in alike
            if each.placement is not None
        }
        slots = [
            slot
            for slot in sorted(choice.whole & choice.instances)
            if slot.profile == profile and slot not in at
        ]
        free = [e.compute_instances for e in alike if e.placement is None]
        _, dealt = self._dealt(slots, free)
        return dealt | {s: at[s] for s in at if s in choice.instances}

    def _dealt(
        self, slots: list[Located], shapes: list[Shape]
    ) -> tuple[tuple[int, int], _Shapes]:
        """The cheapest way to give each slot a shape, and its cost."""
        if not slots:
            return (0, 0), {}
        ways = []
        for shape in dict.fromkeys(shapes):
            left = list(shapes)
            left.remove(shape)
            cost, rest = self._dealt(slots[1:], left)
            ways.append(
                (
                    _sum([cost, self._cost(slots[0], shape)]),
                    {slots[0]: shape, **rest},
                )
            )
        return min(ways, key=lambda way: way[0])


def _sum(
    costs: collections.abc.Iterable[tuple[int, int]],
) -> tuple[int, int]:
    waits = calls = 0
    for cost in costs:
        waits += cost[0]
        calls += cost[1]
    return waits, calls


@dataclasses.dataclass(frozen=True, slots=True)
class CiChange:
    """How a GPU instance gets the compute instances that it is to have.

    :ivar waits: nothing is done, since something in use would be lost.
    """

    destroy: tuple[model.ComputeInstance, ...] = ()
    create: tuple[str, ...] = ()
    waits: bool = False


def ci_change(
    instance: model.GpuInstance,
    shape: Shape,
    pinned: bool,
    guest: bool = False,
) -> CiChange:
    """Those too many go, those missing come; of a pinned one none goes.

    Nor is a pinned one divided: whoever has it may have it whole, and its
    parts would be offered again.

    An observation does not say where in its GPU instance a compute
    instance lies: one of several slices may find no room between those
    that stay. So all are made anew then, the largest first.

    :param guest: a VM has the instance, and its guest makes the compute
        instances: nothing is changed there from the host.
    """
    if shape is None:
        return CiChange()
    change = _difference(instance, shape)
    if guest:
        return CiChange(waits=change != CiChange())
    if pinned:
        divides = _is_divided(change.create) and not _is_divided(
            each.profile for each in instance.compute_instances
        )
        return CiChange(waits=True) if change.destroy or divides else change
    stay = len(instance.compute_instances) - len(change.destroy)
    if stay and any(_size(profile) != 1 for profile in change.create):
        return CiChange(instance.compute_instances, shape)
    return change


def _is_divided(profiles: collections.abc.Iterable[str]) -> bool:
    """Whether there are compute instances smaller than a GPU instance."""
    return any("c." in profile for profile in profiles)


def _difference(
    instance: model.GpuInstance, shape: tuple[str, ...]
) -> CiChange:
    missing = list(shape)
    surplus = []
    for ci in instance.compute_instances:
        same = [each for each in missing if _size(each) == _size(ci.profile)]
        if same:
            missing.remove(same[0])
        else:
            surplus.append(ci)
    return CiChange(tuple(surplus), tuple(missing))


def _size(profile: str) -> int | None:
    """All that tells compute instances of one GPU instance apart.

    NVML's name of one may lack its GPU instance's attributes.
    """
    return profile_name.compute_slices(profile)


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
