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

"""What may exist on a GPU: placements, limits and ids, decided purely."""

import dataclasses
import functools

from mig_placement.simulator import catalog
from mig_placement.simulator import state as states

# Where the driver puts an instance on GPUs of 8 slices when it is not told:
# 1g and 3g were seen in the field, the rest follows them (upper half first).
_ORDER_OF_8 = {1: (6, 4, 5, 0, 1, 2, 3), 2: (6, 4, 0, 2), 4: (4, 0)}

# Compute instance profiles (in slices) by slices of the GPU instance, as
# nvidia-smi mig -lcip lists them; a 4g has no 3c.
_CI_SLICES = {
    1: (1,),
    2: (1, 2),
    3: (1, 2, 3),
    4: (1, 2, 4),
    7: (1, 2, 3, 4, 7),
}
# NVML_COMPUTE_INSTANCE_PROFILE_*_SLICE; the driver's ids are the same.
_CI_ENUMS = {1: 0, 2: 1, 3: 2, 4: 3, 7: 4}
_CI_ALIGNMENT = {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}


@dataclasses.dataclass(frozen=True, slots=True)
class ComputeProfile:
    """A compute instance profile of one GPU instance profile.

    :ivar profile_id: the id and the enumerator, which NVML has equal.
    :ivar starts: possible starts, in compute slices.
    """

    name: str
    profile_id: int
    slices: int
    multiprocessors: int
    starts: tuple[int, ...]


@functools.cache
def compute_profiles(
    model: catalog.Model, profile: catalog.Profile
) -> tuple[ComputeProfile, ...]:
    """What compute instances a GPU instance of ``profile`` can have."""
    return tuple(
        _compute_profile(model, profile, slices)
        for slices in _CI_SLICES[profile.compute_slices]
    )


def _compute_profile(
    model: catalog.Model, profile: catalog.Profile, slices: int
) -> ComputeProfile:
    whole = slices == profile.compute_slices
    single = min(item.multiprocessors for item in model.profiles)
    last = profile.compute_slices - slices
    return ComputeProfile(
        name=profile.name if whole else f"{slices}c.{profile.name}",
        profile_id=_CI_ENUMS[slices],
        slices=slices,
        multiprocessors=(
            profile.multiprocessors if whole else single * slices
        ),
        starts=tuple(range(0, last + 1, _CI_ALIGNMENT[slices])),
    )


def compute_profile(
    model: catalog.Model, profile: catalog.Profile, wanted: int | str
) -> ComputeProfile | None:
    """The compute instance profile of that id or name, or None."""
    for item in compute_profiles(model, profile):
        if wanted in (item.profile_id, item.name):
            return item
    return None


def profile_of(gpu: states.Gpu, gi: states.GpuInstance) -> catalog.Profile:
    """The profile of a GPU instance that was checked to have one."""
    profile = gpu.kind().profile(gi.profile_id)
    if profile is None:
        raise LookupError(f"{gpu.model} has no profile {gi.profile_id}")
    return profile


def gi_id(model: catalog.Model, profile: catalog.Profile, start: int) -> int:
    """The id that a GPU instance at ``start`` gets: its place in a tree.

    On GPUs of 8 slices the upper half comes first, so that 1g have the
    ids 7 to 14, 2g from 3 on, 3g and 4g are 1 (at 4) and 2 (at 0).
    """
    units = model.placement_units
    of_this_size = units // profile.size
    shift = 4 if units == 8 and profile.size < 8 else 0
    return of_this_size - 1 + (start + shift) % units // profile.size


def driver_order(
    model: catalog.Model, profile: catalog.Profile
) -> tuple[int, ...]:
    """Possible starts in the order in which the driver takes them."""
    if model.placement_units != 8:
        return profile.starts
    order = _ORDER_OF_8.get(profile.size, profile.starts)
    return tuple(start for start in order if start in profile.starts)


def _mask(start: int, size: int) -> int:
    """Slices as bits, which are quicker to compare than ranges."""
    return ((1 << size) - 1) << start


def free_starts(gpu: states.Gpu, profile: catalog.Profile) -> tuple[int, ...]:
    """Unoccupied starts of a profile, in the driver's order."""
    taken = 0
    for gi in gpu.instances:
        taken |= _mask(gi.start, profile_of(gpu, gi).size)
    return tuple(
        start
        for start in driver_order(gpu.kind(), profile)
        if not taken & _mask(start, profile.size)
    )


def remaining(gpu: states.Gpu, profile: catalog.Profile) -> int:
    """How many more instances of a profile can be created.

    Placements of one profile never overlap each other, so that the free
    ones can all be taken.
    """
    return min(
        len(free_starts(gpu, profile)),
        _below_maximum(gpu, profile),
        _by_engines(gpu, profile),
    )


def _below_maximum(gpu: states.Gpu, profile: catalog.Profile) -> int:
    present = sum(gi.profile_id == profile.profile_id for gi in gpu.instances)
    return max(profile.max_instances - present, 0)


def _engines_left(gpu: states.Gpu) -> list[int]:
    left = list(gpu.kind().full.media_engines)
    for gi in gpu.instances:
        for kind, count in enumerate(profile_of(gpu, gi).media_engines):
            left[kind] -= count
    return left


def _by_engines(gpu: states.Gpu, profile: catalog.Profile) -> int:
    return min(
        (
            have // count
            for have, count in zip(
                _engines_left(gpu), profile.media_engines, strict=True
            )
            if count
        ),
        default=profile.max_instances,
    )


def free_compute_starts(
    gpu: states.Gpu, gi: states.GpuInstance, wanted: ComputeProfile
) -> tuple[int, ...]:
    """Unoccupied starts of a compute instance profile, lowest first."""
    profile = profile_of(gpu, gi)
    taken = 0
    for ci in gi.compute:
        present = compute_profile(gpu.kind(), profile, ci.profile_id)
        if present is not None:
            taken |= _mask(ci.start, present.slices)
    return tuple(
        start
        for start in wanted.starts
        if not taken & _mask(start, wanted.slices)
    )


def contradiction(gpu: states.Gpu) -> str:
    """Why a GPU's state cannot be, or nothing where it can."""
    if gpu.instances and not gpu.mode:
        return "has GPU instances and MIG mode is off"
    taken = 0
    for gi in gpu.instances:
        profile = gpu.kind().profile(gi.profile_id)
        if profile is None or not _is_placed(gpu, gi, profile):
            return f"has an impossible GPU instance {gi.gi_id}"
        mask = _mask(gi.start, profile.size)
        if taken & mask:
            return f"has overlapping GPU instances at {gi.start}"
        taken |= mask
        if not _compute_fits(gpu, gi, profile):
            return f"has impossible compute instances in {gi.gi_id}"
    return _beyond_limits(gpu)


def _is_placed(
    gpu: states.Gpu, gi: states.GpuInstance, profile: catalog.Profile
) -> bool:
    return gi.start in profile.starts and gi.gi_id == gi_id(
        gpu.kind(), profile, gi.start
    )


def _compute_fits(
    gpu: states.Gpu, gi: states.GpuInstance, profile: catalog.Profile
) -> bool:
    taken = 0
    for ci in gi.compute:
        wanted = compute_profile(gpu.kind(), profile, ci.profile_id)
        if wanted is None or ci.start not in wanted.starts:
            return False
        mask = _mask(ci.start, wanted.slices)
        if taken & mask:
            return False
        taken |= mask
    return len({ci.ci_id for ci in gi.compute}) == len(gi.compute)


def _beyond_limits(gpu: states.Gpu) -> str:
    profiles = [profile_of(gpu, gi) for gi in gpu.instances]
    for profile in profiles:
        if profiles.count(profile) > profile.max_instances:
            return f"has too many {profile.name}"
    if any(count < 0 for count in _engines_left(gpu)):
        return "has more media engines in use than there are"
    return ""
