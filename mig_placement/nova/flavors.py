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

"""The flavor that gives a VM one slice and keeps the gate exact; pure."""

import collections.abc
import dataclasses
import re
import shlex

from mig_placement import exception
from mig_placement.placement import names

# Of the keys of one slice; a request with a suffix is met by one provider.
GROUP = "_MIG"
ALIAS = "pci_passthrough:alias"
NODE_READY = f"trait:{names.NODE_READY}"
REQUIRED = "required"
_RESOURCES = f"resources{GROUP}:"
# As Nova reads it, whatever the group.
_ASKS = re.compile(r"resources[a-zA-Z0-9_-]{0,64}:([A-Z0-9_]+)")

# The first with "trait create".
_TRAIT_CREATE = "openstack --os-placement-api-version 1.6 trait create"
_MAX_NAME = 255

ExtraSpecs = collections.abc.Mapping[str, str]
Overrides = collections.abc.Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """What a flavor has besides the slice (RAM in MiB, disk in GB)."""

    vcpus: int
    ram: int
    disk: int
    public: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor as it should be, or as a cloud has it.

    :ivar id: as Nova knows it; empty where it is not made yet.
    """

    name: str
    size: Size
    extra_specs: ExtraSpecs
    id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What brings a cloud's flavor to what it should be.

    :ivar create: whether there is none of that name.
    :ivar extra_specs: keys to set.
    :ivar remarks: what differs and is not ours to change.
    """

    flavor: Flavor
    create: bool
    extra_specs: ExtraSpecs
    remarks: tuple[str, ...] = ()


def ready(suffix: str = GROUP) -> str:
    """The key that asks for the mark on Nova's virtual functions."""
    return f"trait{suffix}:{names.READY}"


def extra_specs(
    profile: str, attach: str, overrides: Overrides
) -> dict[str, str]:
    """The keys for one slice.

    :param attach: [nova] attach.
    :param overrides: resource class by profile.
    """
    keys = {
        f"{_RESOURCES}{names.class_name(profile, overrides)}": "1",
        NODE_READY: REQUIRED,
    }
    if attach == "mdev":
        keys[ready()] = REQUIRED
    if attach == "vfio":
        keys[ALIAS] = f"{names.alias(profile)}:1"
    return keys


def flavors(
    profiles: collections.abc.Iterable[str],
    attach: str,
    overrides: Overrides,
    size: Size,
    prefix: str,
) -> tuple[Flavor, ...]:
    """A flavor for each profile, in the order of their names.

    :raises ConfigError: no such profile, one that attach cannot give to a
        VM, two that share a class, or a name that Nova does not take.
    """
    wanted = sorted(set(profiles))
    for profile in wanted:
        _check_profile(profile, attach)
    names.class_names(wanted, overrides)
    return tuple(
        Flavor(
            _name(prefix, profile),
            size,
            extra_specs(profile, attach, overrides),
        )
        for profile in wanted
    )


def _check_profile(profile: str, attach: str) -> None:
    if not names.is_profile(profile):
        raise exception.ConfigError(
            f"{profile[:40]!r} is no MIG profile",
            where="flavors",
            mend="write it as in 1g.5gb, 1g.5gb+me or 1c.3g.20gb",
        )
    if attach != "none" and names.is_compute_profile(profile):
        raise exception.ConfigError(
            f"no vGPU is made of a compute instance ({profile})",
            where=f"[nova] attach = {attach}",
            mend="declare whole GPU instances, or set attach = none",
        )


def _name(prefix: str, profile: str) -> str:
    name = f"{prefix}{profile}"
    if not name.isprintable() or name != name.strip():
        raise exception.ConfigError(
            f"{name[:40]!r} is no name of a flavor",
            where="flavors",
            mend="use a prefix of printable characters",
        )
    if len(name) > _MAX_NAME:
        raise exception.ConfigError(
            f"the name of a flavor would be over {_MAX_NAME} long",
            where="flavors",
            mend="use a shorter prefix",
        )
    return name


def traits(attach: str) -> tuple[str, ...]:
    """Traits that must exist before a flavor names them: Placement takes
    an unknown one for an error, and Nova makes NoValidHost of that."""
    if attach == "mdev":
        return (names.NODE_READY, names.READY)
    return (names.NODE_READY,)


def commands(
    wanted: collections.abc.Iterable[Flavor], attach: str
) -> collections.abc.Iterator[str]:
    """Lines for a shell. A flavor that exists fails at its ``create``,
    and has its keys from the ``set`` after it."""
    for trait in traits(attach):
        yield trait_command(trait)
    for flavor in wanted:
        yield create_command(flavor)
        yield set_command(flavor.name, flavor.extra_specs)


def trait_command(trait: str) -> str:
    return f"{_TRAIT_CREATE} {trait}"


def create_command(flavor: Flavor) -> str:
    size = flavor.size
    return shlex.join(
        (
            *("openstack", "flavor", "create"),
            *("--vcpus", f"{size.vcpus}"),
            *("--ram", f"{size.ram}", "--disk", f"{size.disk}"),
            "--public" if size.public else "--private",
            *_argument(flavor.name),
        )
    )


def set_command(name: str, extra_specs: ExtraSpecs) -> str:
    properties = [
        part
        for key, value in sorted(extra_specs.items())
        for part in ("--property", f"{key}={value}")
    ]
    return shlex.join(
        ("openstack", "flavor", "set", *properties, *_argument(name))
    )


def _argument(name: str) -> tuple[str, ...]:
    """A cloud's flavor may have a name that looks like an option."""
    return ("--", name) if name.startswith("-") else (name,)


def change(wanted: Flavor, found: Flavor | None) -> Change:
    """What is to be done; nothing is ever taken from a flavor.

    :param found: the cloud's flavor of that name.
    """
    if found is None:
        return Change(wanted, True, wanted.extra_specs)
    elsewhere = _elsewhere(wanted, found)
    keys = {
        key: _merged(key, value, found.extra_specs.get(key, ""))
        for key, value in wanted.extra_specs.items()
        if not (elsewhere and _is_of_group(key))
    }
    differing = {
        key: value
        for key, value in keys.items()
        if found.extra_specs.get(key) != value
    }
    merged = dataclasses.replace(wanted, id=found.id)
    remarks = (
        *_other_size(wanted, found),
        *elsewhere,
        *_other_amounts(wanted, found),
        *_other_keys(wanted, found),
    )
    return Change(merged, False, differing, remarks)


def _merged(key: str, want: str, have: str) -> str:
    """What a key is to be: an amount that is there is an operator's."""
    if not have.strip():
        return want
    if key == ALIAS:
        return have if _same_alias(want, have) else f"{have},{want}"
    return have if key.startswith(_RESOURCES) else want


def _same_alias(want: str, have: str) -> list[str]:
    """Of ``alias:count[,alias:count...]`` the parts of the wanted one."""
    parts = [part.strip() for part in have.split(",")]
    name = _alias_name(want)
    return [part for part in parts if _alias_name(part) == name]


def _alias_name(part: str) -> str:
    return part.partition(":")[0].strip()


def _other_amounts(
    wanted: Flavor, found: Flavor
) -> collections.abc.Iterator[str]:
    for key, want in wanted.extra_specs.items():
        have = found.extra_specs.get(key, "").strip()
        if key == ALIAS:
            have = ",".join(_same_alias(want, have))
        elif not key.startswith(_RESOURCES):
            continue
        if have not in ("", want):
            yield _printable(f"{key} is {have}, not {want}")


def _elsewhere(wanted: Flavor, found: Flavor) -> list[str]:
    """Remarks on keys of other groups that ask for the slice already: with
    one more a VM would take one more. None where ours is there as well."""
    ours = [key for key in wanted.extra_specs if key.startswith(_RESOURCES)]
    if any(key in found.extra_specs for key in ours):
        return []
    classes = {key.removeprefix(_RESOURCES) for key in ours}
    return [
        _printable(f"asks for it as {key}={value}")
        for key, value in sorted(found.extra_specs.items())
        if (match := _ASKS.fullmatch(key)) and match[1] in classes
    ]


def _is_of_group(key: str) -> bool:
    return key.startswith(_RESOURCES) or key == ready()


def _other_size(
    wanted: Flavor, found: Flavor
) -> collections.abc.Iterator[str]:
    for field in dataclasses.fields(Size):
        want = getattr(wanted.size, field.name)
        have = getattr(found.size, field.name)
        if have != want:
            yield f"{field.name} is {have}, not {want}"


def _other_keys(
    wanted: Flavor, found: Flavor
) -> collections.abc.Iterator[str]:
    """Keys that ask for more than the slice: perhaps of an older mapping."""
    for key in sorted(found.extra_specs.keys() - wanted.extra_specs.keys()):
        if key.startswith(_RESOURCES) or key == ALIAS:
            yield _printable(f"also asks for {key}={found.extra_specs[key]}")


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)
