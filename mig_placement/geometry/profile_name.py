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
"""MIG profile names, and the profile of a GPU that a declared name means."""

import collections.abc
import dataclasses
import re

from mig_placement import exception
from mig_placement.hardware import model

# Compute instances that NVML has profiles for
# (NVML_COMPUTE_INSTANCE_PROFILE_*_SLICE); there is none of 5 slices.
_COMPUTE_SLICES = frozenset({1, 2, 3, 4, 6, 7, 8})

_NAME = re.compile(
    r"(?:(?P<compute>[1-9][0-9]?)c\.)?"
    r"(?P<slices>[1-9][0-9]?)g\.(?P<memory>[1-9][0-9]{0,4})gb"
    r"(?P<attributes>(?:[+-][a-z][a-z0-9.,]*)*)"
)
_PROFILE_ID = re.compile(r"0|[1-9][0-9]{0,3}")
_LONGEST = 64

# Only for the text of errors: what a GPU has, NVML alone knows.
_ELSEWHERE = {
    "A30": "1g.6gb 2g.12gb 4g.24gb",
    "A100 40GB": "1g.5gb 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb",
    "A100 80GB": "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    "H100 80GB": "1g.10gb 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb",
    "H100 94GB": "1g.12gb 1g.24gb 2g.24gb 3g.47gb 4g.47gb 7g.94gb",
    "H100 96GB": "1g.12gb 1g.24gb 2g.24gb 3g.48gb 4g.48gb 7g.96gb",
    "H200": "1g.18gb 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb",
    "GH200 144GB": "1g.18gb 1g.36gb 2g.36gb 3g.72gb 4g.72gb 7g.144gb",
    "B200": "1g.23gb 1g.45gb 2g.45gb 3g.90gb 4g.90gb 7g.180gb",
    "GB200": "1g.23gb 1g.47gb 2g.47gb 3g.93gb 4g.93gb 7g.186gb",
    "RTX PRO 6000": "1g.24gb 2g.48gb 4g.96gb",
}


@dataclasses.dataclass(frozen=True, slots=True)
class ProfileName:
    """``[Nc.]Ng.Mgb[+attribute|-attribute]``, taken apart.

    :ivar compute: compute slices of a compute instance that does not fill
        its GPU instance; None for the whole GPU instance.
    :ivar attributes: as written, sign included: ``+me``, ``-me``, ``+gfx``
        and ``+me.all`` are different profiles.
    """

    compute: int | None
    slices: int
    memory_gb: int
    attributes: str = ""

    def __str__(self) -> str:
        compute = f"{self.compute}c." if self.compute else ""
        return f"{compute}{self.instance}"

    @property
    def instance(self) -> str:
        """The name of the GPU instance's profile."""
        return f"{self.slices}g.{self.memory_gb}gb{self.attributes}"


def parse(text: str) -> ProfileName:
    """:raises ValueError: the text is no profile name."""
    match = _NAME.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{shortened(text)!r} is no MIG profile name")
    compute, slices = match["compute"], int(match["slices"])
    if compute is not None and not _possible(int(compute), slices):
        raise ValueError(
            f"a compute instance of {compute} slices does not exist in a GPU"
            f" instance of {slices}"
        )
    return ProfileName(
        # 3c.3g fills its GPU instance: that is 3g.
        compute=int(compute) if compute and int(compute) != slices else None,
        slices=slices,
        memory_gb=int(match["memory"]),
        attributes=match["attributes"],
    )


def _possible(compute: int, slices: int) -> bool:
    return compute <= slices and compute in _COMPUTE_SLICES


def is_profile_id(text: str) -> bool:
    """Whether it is a GPU instance profile's number, as nvidia-smi has it."""
    return _PROFILE_ID.fullmatch(text) is not None


def compute_slices(name: str) -> int | None:
    """Of a CI's profile name; None where it fills its GPU instance."""
    try:
        return parse(name).compute
    except ValueError:
        return None


def find_profile(
    declared: str,
    profiles: collections.abc.Sequence[model.Profile],
    where: str = "",
) -> model.Profile:
    """The GPU instance profile that a declared name means on a GPU.

    The exact name first, then NVIDIA's number, then the name that differs
    in the memory figure alone and little, since drivers round it in
    different ways (1g.23gb and 1g.24gb are one profile of a GB200); never
    a choice between two.

    :param declared: may name a compute instance; its GPU instance counts.
    :raises LayoutError: no profile, or more than one, is meant.
    """
    instance = _instance_name(declared)
    for profile in profiles:
        if profile.name == instance:
            return profile
    found = _similar(instance, profiles)
    if len(found) == 1:
        return found[0]
    raise exception.LayoutError(
        _what(declared, found), where=where, mend=_mend(instance, profiles)
    )


def _instance_name(declared: str) -> str:
    try:
        return parse(declared).instance
    except ValueError:
        return declared


def _similar(
    instance: str, profiles: collections.abc.Iterable[model.Profile]
) -> list[model.Profile]:
    if is_profile_id(instance):
        return [each for each in profiles if each.profile_id == int(instance)]
    try:
        wanted = parse(instance)
    except ValueError:
        return []
    return [each for each in profiles if _is_close(wanted, each.name)]


def _is_close(wanted: ProfileName, name: str) -> bool:
    other = _but_for_memory(wanted, name)
    return other is not None and _rounded(wanted.memory_gb, other.memory_gb)


def _but_for_memory(wanted: ProfileName, name: str) -> ProfileName | None:
    """What a name says, where it differs in the memory figure alone."""
    try:
        other = parse(name)
    except ValueError:
        return None
    same = (wanted.slices, wanted.attributes) == (
        other.slices,
        other.attributes,
    )
    return other if same else None


def _rounded(one: int, other: int) -> bool:
    """Whether two figures may be one memory size, rounded differently.

    1 GB in less than 10 is no rounding: 1g.5gb is an A100's, 1g.6gb an
    A30's.
    """
    larger = max(one, other)
    return abs(one - other) <= min(max(1.0, 0.05 * larger), 0.1 * larger)


def _what(declared: str, found: list[model.Profile]) -> str:
    name = shortened(declared)
    if found:
        names = " or ".join(profile.name for profile in found)
        return f"profile {name} may mean {names}"
    others = _models_with(declared)
    if others:
        return f"no profile {name}, which is one of {others}"
    return f"no profile {name}"


def _models_with(declared: str) -> str:
    base = re.split(r"[+-]", _instance_name(declared))[0]
    return ", ".join(
        name for name, have in _ELSEWHERE.items() if base in have.split()
    )


def _mend(
    instance: str, profiles: collections.abc.Iterable[model.Profile]
) -> str:
    names = [profile.name for profile in profiles]
    near = _nearest(instance, names)
    return f"it has {', '.join(names) or 'none'}{meant(instance, near)}"


def _nearest(instance: str, names: list[str]) -> list[str]:
    """The one of as many slices that is nearest in memory, which has
    another figure on each model; all where there is none."""
    try:
        wanted = parse(instance)
    except ValueError:
        return names
    others = [_but_for_memory(wanted, name) for name in names]
    nearest = min(
        filter(None, others),
        key=lambda each: abs(each.memory_gb - wanted.memory_gb),
        default=None,
    )
    return [str(nearest)] if nearest else names


def meant(text: str, known: collections.abc.Iterable[str]) -> str:
    """``, is it ...?`` with what is closest to the text, or nothing."""
    # Needed for an error only, and slow to import.
    import difflib

    close = difflib.get_close_matches(text[:_LONGEST].lower(), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shortened(text: str) -> str:
    """Foreign text, of a length fit for an error line."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
