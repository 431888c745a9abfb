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
"""The instances that an entry asks of a GPU with certain profiles."""

import collections
import collections.abc
import dataclasses
import functools

from mig_placement import exception
from mig_placement.geometry import advice
from mig_placement.geometry import declared
from mig_placement.geometry import packing
from mig_placement.geometry import profile_name
from mig_placement.geometry import solver
from mig_placement.hardware import model


@dataclasses.dataclass(frozen=True, slots=True)
class DeclaredInstance:
    """A GPU instance that is to exist.

    :ivar profile: NVML's name on that GPU, whatever the file has.
    :ivar placement: None is anywhere.
    :ivar compute_instances: profile names of its compute instances, the
        largest first; None is not asked for.
    """

    profile: str
    placement: model.Placement | None
    compute_instances: tuple[str, ...] | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Wish:
    """A declared profile and what it is on the GPU.

    :ivar compute: slices of the compute instance, None for all.
    """

    devices: declared.MigDevices
    profile: model.Profile
    compute: int | None


# A node has eight GPUs of one model, and the agent asks in every cycle.
@functools.lru_cache(maxsize=64)
def instances(
    entry: declared.Entry, profiles: tuple[model.Profile, ...]
) -> tuple[DeclaredInstance, ...]:
    """Proven to be possible on an empty GPU.

    :raises LayoutError: a profile that the GPU does not have, or a
        combination that it cannot have. The text does not name the GPU.
    """
    wishes = [_wish(entry, each, profiles) for each in entry.mig_devices]
    _refuse_twice(entry, wishes)
    whole = [
        each
        for wish in wishes
        if wish.compute is None
        for each in _whole(entry, wish)
    ]
    found = (*whole, *_divided(entry, wishes))
    _prove(entry, profiles, found)
    return found


def _wish(
    entry: declared.Entry,
    devices: declared.MigDevices,
    profiles: tuple[model.Profile, ...],
) -> _Wish:
    profile = profile_name.find_profile(
        devices.profile, profiles, entry.where(devices.line)
    )
    compute = profile_name.compute_slices(devices.profile)
    return _Wish(devices, profile, compute)


def _refuse_twice(
    entry: declared.Entry, wishes: collections.abc.Iterable[_Wish]
) -> None:
    """Two names of one profile: a sum would be a guess."""
    first: dict[tuple[str, int | None], declared.MigDevices] = {}
    for wish in wishes:
        other = first.setdefault(
            (wish.profile.name, wish.compute), wish.devices
        )
        if other is not wish.devices:
            raise exception.LayoutError(
                f"{other.profile} and {wish.devices.profile} are one profile"
                f" here, {wish.profile.name}",
                where=entry.where(wish.devices.line),
                mend="write it once",
            )


def _whole(
    entry: declared.Entry, wish: _Wish
) -> collections.abc.Iterator[DeclaredInstance]:
    name = wish.profile.name
    cis = (name,) if entry.compute_instances else None
    for place in _places(entry, wish):
        yield DeclaredInstance(name, place, cis)


def _places(
    entry: declared.Entry, wish: _Wish
) -> collections.abc.Sequence[model.Placement | None]:
    if wish.devices.placements is None:
        return (None,) * wish.devices.count
    return tuple(
        _placement(entry, wish, each) for each in wish.devices.placements
    )


def _placement(
    entry: declared.Entry, wish: _Wish, want: declared.WantedPlacement
) -> model.Placement:
    possible = wish.profile.placements
    fitting = [
        each
        for each in possible
        if each.start == want.start and want.size in (None, each.size)
    ]
    if len(fitting) != 1:
        raise exception.LayoutError(
            f"{wish.profile.name} cannot lie at {want}",
            where=entry.where(wish.devices.line),
            mend=f"it can at {', '.join(map(str, possible)) or 'no place'}",
        )
    return fitting[0]


def _divided(
    entry: declared.Entry, wishes: collections.abc.Iterable[_Wish]
) -> list[DeclaredInstance]:
    """GPU instances for compute instances that are smaller than they.

    Those at one placement share the GPU instance there; those without a
    placement get as few GPU instances of their own as they need.
    """
    sizes: dict[tuple[model.Profile, model.Placement | None], list[int]] = (
        collections.defaultdict(list)
    )
    lines: dict[str, int] = {}
    for wish in wishes:
        if wish.compute is not None:
            lines.setdefault(wish.profile.name, wish.devices.line)
            for place in _places(entry, wish):
                sizes[wish.profile, place].append(wish.compute)
    return [
        DeclaredInstance(
            profile.name,
            place,
            tuple(f"{size}c.{profile.name}" for size in one),
        )
        for (profile, place), wanted in sizes.items()
        for one in _shares(
            profile, place, wanted, entry.where(lines[profile.name])
        )
    ]


def _shares(
    profile: model.Profile,
    place: model.Placement | None,
    sizes: collections.abc.Sequence[int],
    where: str,
) -> list[tuple[int, ...]]:
    most = profile.max_instances if place is None else 1
    shares = packing.pack(sizes, profile.slices, most)
    if shares is None:
        at = "" if place is None else f" at {place}"
        raise exception.LayoutError(
            f"{len(sizes)} compute instances with {sum(sizes)} slices do not"
            f" fit in {most}x {profile.name}{at}, which"
            f" {'has' if most == 1 else 'have'} {profile.slices} compute"
            f" slices{'' if most == 1 else ' each'}",
            where=where,
            mend="declare fewer of them",
        )
    return shares


def _prove(
    entry: declared.Entry,
    profiles: tuple[model.Profile, ...],
    found: collections.abc.Iterable[DeclaredInstance],
) -> None:
    demand: collections.Counter[str] = collections.Counter()
    fixed = []
    for each in found:
        if each.placement is None:
            demand[each.profile] += 1
        else:
            fixed.append(solver.Located(each.profile, each.placement))
    if solver.solve(profiles, demand, fixed) is not None:
        return
    raise exception.LayoutError(
        advice.explain(profiles, demand, fixed),
        where=entry.where(),
        mend=_mend(profiles, demand, fixed),
    )


def _mend(
    profiles: tuple[model.Profile, ...],
    demand: solver.Demand,
    fixed: collections.abc.Collection[solver.Located],
) -> str:
    everything = solver.total(demand, fixed)
    elsewhere = solver.solve(profiles, everything)
    if elsewhere is not None:
        return f"it fits as {', '.join(map(str, elsewhere))}"
    near = advice.nearest(profiles, everything)
    return f"what fits: {', or '.join(map(advice.counted, near)) or 'nothing'}"
