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

"""What is wrong with the flavors of a cloud, as far as they ask for ours.

A flavor that names only Nova's class or alias goes through a closed gate,
and one that names what nobody has finds no host. Pure: what there is in
the cloud comes in as values.
"""

import collections
import collections.abc
import dataclasses
import re

from mig_placement.nova import flavors
from mig_placement.placement import names

# As in Nova's scheduler/utils.py, ResourceRequest.
_KEY = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{0,64}):([A-Z0-9_]+)")
_ALIAS = re.compile(r"mig-([a-z0-9-]+)")
_CLASS = "CUSTOM_MIG_"
_TRAITS = ("CUSTOM_MIG_", names.OWNER)
_VGPU = "VGPU"
# More digits than any amount has; int() would take hours of some.
_MAX_DIGITS = 9

ExtraSpecs = flavors.ExtraSpecs
Overrides = flavors.Overrides


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one flavor.

    :ivar mend: a command line, or a sentence fragment.
    """

    flavor: str
    problem: str
    mend: str


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What a flavor is judged by.

    :ivar attach: [nova] attach of the nodes.
    :ivar overrides: resource class by profile.
    :ivar classes: those that some node has, free or not.
    :ivar traits: those of ours that Placement knows.
    """

    attach: str
    overrides: Overrides
    classes: frozenset[str]
    traits: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What a flavor asks for.

    :ivar units: amount by key's suffix and class, classes of ours alone.
    :ivar devices: by class of ours, through the aliases of the profiles.
    :ivar traits: of ours, whatever is said of them.
    :ivar groups: suffixes of all granular groups with resources.
    :ivar vgpus: whether Nova's own class for vGPUs is asked for.
    """

    units: collections.abc.Mapping[tuple[str, str], int]
    devices: collections.abc.Mapping[str, int]
    traits: frozenset[str]
    groups: frozenset[str]
    vgpus: bool

    @property
    def classes(self) -> frozenset[str]:
        return frozenset((*(name for _, name in self.units), *self.devices))

    def amount(self, resource_class: str) -> int:
        return sum(
            amount
            for (_, name), amount in self.units.items()
            if name == resource_class
        )


def asked(extra_specs: ExtraSpecs, overrides: Overrides) -> Asked:
    """What a flavor's keys mean."""
    resources = {
        (suffix, name): _amount(value)
        for kind, suffix, name, value in _keys(extra_specs)
        if kind == "resources" and _amount(value)
    }
    return Asked(
        units={
            key: amount
            for key, amount in resources.items()
            if is_ours(key[1], overrides)
        },
        devices=_devices(extra_specs.get(flavors.ALIAS, ""), overrides),
        traits=frozenset(
            name
            for kind, _, name, _ in _keys(extra_specs)
            if kind == "trait" and name.startswith(_TRAITS)
        ),
        groups=frozenset(suffix for suffix, _ in resources if suffix),
        vgpus=any(name == _VGPU for _, name in resources),
    )


def _keys(
    extra_specs: ExtraSpecs,
) -> collections.abc.Iterator[tuple[str, str, str, str]]:
    for key, value in extra_specs.items():
        match = _KEY.fullmatch(key)
        if match:
            kind, suffix, name = match.groups()
            yield kind, suffix, name, value


def _amount(text: str) -> int:
    digits = text.strip()
    if not digits.isdecimal():
        return 0  # Nova logs it and asks for nothing
    return int(digits[:_MAX_DIGITS])


def is_ours(resource_class: str, overrides: Overrides) -> bool:
    """Whether a class stands for a MIG profile."""
    return (
        resource_class.startswith(_CLASS)
        or resource_class in overrides.values()
    )


def _devices(value: str, overrides: Overrides) -> collections.Counter[str]:
    """Devices by class, of ``alias:count[,alias:count...]``."""
    counts: collections.Counter[str] = collections.Counter()
    for part in value.split(","):
        alias, _, count = part.partition(":")
        name = class_of_alias(alias.strip(), overrides)
        if name:
            counts[name] += _amount(count) or 1
    return counts


def class_of_alias(alias: str, overrides: Overrides) -> str:
    """The class of the profile that an alias of ours stands for."""
    for profile, name in overrides.items():
        if names.alias(profile) == alias:
            return name
    match = _ALIAS.fullmatch(alias)
    if match is None:
        return ""
    return f"{_CLASS}{match[1].upper().replace('-', '_')}"


def check(
    name: str, extra_specs: ExtraSpecs, known: Known
) -> tuple[Finding, ...]:
    """What is wrong with a flavor; nothing, if it asks for none of ours."""
    ask = asked(extra_specs, known.overrides)
    if not ask.classes:
        return tuple(_vgpu(name, ask, known))
    return (
        *_gate(name, extra_specs),
        *_marks(name, ask, extra_specs, known),
        *_crowded(name, ask, known),
        *_mixed(name, ask, known),
        *_pairs(name, ask, known),
        *_policy(name, ask, extra_specs),
        *_unknown(name, ask, known),
        *_vgpu(name, ask, known),
    )


_Findings = collections.abc.Iterator[Finding]


def _gate(name: str, extra_specs: ExtraSpecs) -> _Findings:
    if extra_specs.get(flavors.NODE_READY) != flavors.REQUIRED:
        yield Finding(
            name,
            f"does not require {names.NODE_READY}: it goes through a closed"
            " gate",
            flavors.set_command(name, {flavors.NODE_READY: flavors.REQUIRED}),
        )


def _marks(
    name: str, ask: Asked, extra_specs: ExtraSpecs, known: Known
) -> _Findings:
    """In mdev the class is on Nova's providers, and our mark tells which
    of them have an instance."""
    if known.attach != "mdev":
        return
    for suffix, resource_class in sorted(ask.units):
        if not suffix:
            yield Finding(
                name,
                f"asks for {resource_class} outside of a group, where any"
                f" provider's {names.READY} would do",
                "ask for it with"
                f" resources{flavors.GROUP}:{resource_class} and"
                f" {flavors.ready()}",
            )
        elif extra_specs.get(flavors.ready(suffix)) != flavors.REQUIRED:
            keys = {flavors.ready(suffix): flavors.REQUIRED}
            yield Finding(
                name,
                f"{resource_class} is on Nova's providers, and"
                f" {names.READY} is not required of them",
                flavors.set_command(name, keys),
            )


def _crowded(name: str, ask: Asked, known: Known) -> _Findings:
    """In mdev a function of Nova's has one unit, and what is asked for
    under one key is on one provider."""
    if known.attach != "mdev":
        return
    for (suffix, resource_class), amount in sorted(ask.units.items()):
        if amount > 1:
            yield Finding(
                name,
                f"asks for {amount} units of {resource_class} at once, and"
                " each is on a function of its own: no host is found",
                "ask for one unit each in groups"
                f" {flavors.GROUP}1, {flavors.GROUP}2, in place of"
                f" resources{suffix}:{resource_class}: each with"
                f" resources{flavors.GROUP}<n>:{resource_class}=1 and"
                f" {flavors.ready(f'{flavors.GROUP}<n>')}"
                f"={flavors.REQUIRED}, all with group_policy=none",
            )


def _mixed(name: str, ask: Asked, known: Known) -> _Findings:
    """A group is met by one provider; Nova's have one class each, those of
    functions in mdev and those of cards in vfio."""
    if known.attach == "none":
        return
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for suffix, resource_class in sorted(ask.units):
        if suffix:
            groups[suffix].append(resource_class)
    for suffix, classes in groups.items():
        if len(classes) > 1:
            yield Finding(
                name,
                f"asks for {' and '.join(classes)} in the group {suffix}, and"
                " no provider has both: no host is found",
                "ask for each in a group of its own, with group_policy=none",
            )


def _pairs(name: str, ask: Asked, known: Known) -> _Findings:
    """In vfio the class is the gate and the alias attaches."""
    for resource_class in sorted(ask.classes):
        units = ask.amount(resource_class)
        devices = ask.devices.get(resource_class, 0)
        if devices > units:
            keys = _with_more(ask, resource_class, devices - units)
            yield Finding(
                name,
                f"its alias attaches {devices} devices for {units} units of"
                f" {resource_class}: they go past the gate",
                flavors.set_command(name, keys),
            )
        elif units > devices and known.attach == "vfio":
            yield Finding(
                name,
                f"asks for {units} units of {resource_class} and attaches"
                f" {devices} devices: the VM would lack what it paid for",
                f"add the profile's alias to {flavors.ALIAS}",
            )


def _with_more(ask: Asked, resource_class: str, count: int) -> dict[str, str]:
    """The key that asks for so many units more."""
    there = [
        (suffix, amount)
        for (suffix, name), amount in sorted(ask.units.items())
        if name == resource_class
    ]
    suffix, amount = there[0] if there else (flavors.GROUP, 0)
    return {f"resources{suffix}:{resource_class}": str(amount + count)}


def _policy(name: str, ask: Asked, extra_specs: ExtraSpecs) -> _Findings:
    policy = extra_specs.get("group_policy")
    if len(ask.groups) > 1 and policy not in ("none", "isolate"):
        groups = ", ".join(sorted(ask.groups))
        yield Finding(
            name,
            f"has the groups {groups} and no group_policy: no host is found",
            flavors.set_command(name, {"group_policy": "none"}),
        )


def _unknown(name: str, ask: Asked, known: Known) -> _Findings:
    for resource_class in sorted(ask.classes - known.classes):
        yield Finding(
            name,
            f"asks for {resource_class}, which no node has",
            "correct the name, or declare the profile in a layout",
        )
    for trait in sorted(ask.traits - known.traits):
        yield Finding(
            name,
            f"names the trait {trait}, which Placement does not know: no"
            " host is found",
            f"correct the name, or {flavors.trait_command(trait)}",
        )


def _vgpu(name: str, ask: Asked, known: Known) -> _Findings:
    if ask.vgpus and known.attach == "vfio":
        yield Finding(
            name,
            f"asks for {_VGPU}, which is mdev's: no vfio node has it",
            "ask for the profile's class and alias",
        )
