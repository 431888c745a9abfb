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
"""nova.conf's mdev types against those of the layout; pure.

What comes of a difference: nova.virt.libvirt.driver,
_get_supported_vgpu_types and _get_gpu_inventories.
"""

import collections
import collections.abc

from mig_placement.hardware import model
from mig_placement.nova import config_files
from mig_placement.nova import difference
from mig_placement.nova import needed

_Differences = collections.abc.Iterator[difference.Difference]
_ADDRESSES = "device_addresses"


def differences(
    config: needed.NovaConfig, found: config_files.Found
) -> _Differences:
    by_name = {each.name: each for each in found.mdev_types}
    yield from _not_enabled(config, tuple(by_name))
    for each in config.mdev_types:
        section = by_name.pop(each.name, None)
        if section is not None:
            yield from _section(config, each, section)
    for section in by_name.values():
        yield from _foreign(config, section)
    if config.mdev_types:
        yield from _repeated(found)
        yield from _twice(found)


def _not_enabled(
    config: needed.NovaConfig, enabled: tuple[str, ...]
) -> _Differences:
    lacking = [e for e in config.mdev_types if e.name not in enabled]
    if lacking:
        wanted = [e.name for e in lacking]
        yield difference.Difference(
            "devices",
            "enabled_mdev_types",
            ",".join(enabled),
            ",".join([*enabled, *wanted]),
            f"{', '.join(f'{e.name} ({e.profile})' for e in lacking)} not"
            " enabled: Nova never offers its slices",
        )


def _section(
    config: needed.NovaConfig,
    wanted: needed.MdevType,
    section: config_files.MdevSection,
) -> _Differences:
    name = f"mdev_{wanted.name}"
    why = _addresses_wrong(config, wanted, section)
    if why:
        yield difference.Difference(
            name,
            _ADDRESSES,
            ",".join(section.addresses),
            ",".join(wanted.addresses),
            why,
        )
    if section.mdev_class != wanted.resource_class:
        yield difference.Difference(
            name,
            "mdev_class",
            section.mdev_class,
            wanted.resource_class,
            f"not the class of {wanted.profile}",
        )
    limit = section.max_instances
    if limit is not None and limit < len(wanted.addresses):
        yield difference.Difference(
            name,
            "max_instances",
            str(limit),
            "take it out",
            "Nova offers no more than that, without a word",
        )


def _addresses_wrong(
    config: needed.NovaConfig,
    wanted: needed.MdevType,
    section: config_files.MdevSection,
) -> str:
    if not section.exists:
        return f"{wanted.name} is enabled without a section: {_default()}"
    if not section.addresses:
        return f"mdev_class counts for {_ADDRESSES} alone: {_default()}"
    lacking = [a for a in wanted.addresses if a not in section.addresses]
    surplus = [a for a in section.addresses if a not in wanted.addresses]
    reasons = [f"{each} is missing" for each in lacking]
    reasons += [_surplus(config, wanted, each) for each in surplus]
    return "; ".join(reasons)


def _default() -> str:
    return (
        "it becomes the type of every function that no other names, with the"
        " class VGPU, and VMs run without their slice"
    )


def _surplus(
    config: needed.NovaConfig, wanted: needed.MdevType, address: str
) -> str:
    normal = _normal(address)
    if normal in wanted.addresses:
        return f"Nova compares the text: {address} is never {normal}"
    for other in config.mdev_types:
        if normal in other.addresses:
            return f"{address} is for {other.name} ({other.profile})"
    if normal not in _functions(config):
        return f"{address} is no function of a GPU that the layout declares"
    count = len(wanted.addresses)
    return (
        f"{address} is more than the {count} instances of {wanted.profile}:"
        " builds there fail"
    )


def _normal(address: str) -> str:
    try:
        return model.normal_pci_address(address)
    except ValueError:
        return address


def _functions(config: needed.NovaConfig) -> frozenset[str]:
    return frozenset(
        address for card in config.cards for address in card.functions
    )


def _foreign(
    config: needed.NovaConfig, section: config_files.MdevSection
) -> _Differences:
    name = f"mdev_{section.name}"
    if section.mdev_class in config.own_classes:
        yield difference.Difference(
            name,
            "mdev_class",
            section.mdev_class,
            "another class",
            difference.SHARED,
        )
    ours = [a for a in section.addresses if _normal(a) in _functions(config)]
    if ours:
        yield difference.Difference(
            name,
            _ADDRESSES,
            ",".join(section.addresses),
            f"without {','.join(ours)}",
            f"no profile of the layout has {section.name}, and these are"
            " functions of its GPUs",
        )
    if config.mdev_types and not section.addresses:
        yield difference.Difference(
            name,
            _ADDRESSES,
            "",
            "addresses, or take the type out of enabled_mdev_types",
            f"no profile of the layout has {section.name}, and {_default()}",
        )


def _repeated(found: config_files.Found) -> _Differences:
    enabled = [each.name for each in found.mdev_types]
    for name, count in collections.Counter(enabled).items():
        if count > 1:
            yield difference.Difference(
                "devices",
                "enabled_mdev_types",
                ",".join(enabled),
                f"{name} once",
                "Nova takes its addresses for those of two types:"
                " nova-compute refuses to start",
            )


def _twice(found: config_files.Found) -> _Differences:
    owners = collections.defaultdict(list)
    for section in dict.fromkeys(found.mdev_types):
        for address in section.addresses:
            owners[address].append(section.name)
    for address, types in owners.items():
        if len(types) > 1:
            yield difference.Difference(
                f"mdev_{types[1]}",
                _ADDRESSES,
                address,
                f"{address} once",
                f"named by {' and '.join(types)}: nova-compute refuses to"
                " start",
            )
