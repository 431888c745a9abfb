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
"""nova.conf's PCI devices and aliases against the layout; pure.

What comes of a difference: nova.pci.request, nova.pci.manager and
nova.compute.pci_placement_translator.
"""

import collections
import collections.abc
import json

from mig_placement.geometry import functions
from mig_placement.nova import config_files
from mig_placement.nova import device_spec
from mig_placement.nova import difference
from mig_placement.nova import needed
from mig_placement.placement import names

_Differences = collections.abc.Iterator[difference.Difference]
_Specs = tuple[device_spec.DeviceSpec, ...]
_SPEC = "device_spec"
_FILTER = "PciPassthroughFilter"


def of_compute(
    config: needed.NovaConfig, found: config_files.Found
) -> _Differences:
    """What nova-compute alone reads."""
    if config.functions and not found.report_in_placement:
        yield difference.Difference(
            "pci",
            "report_in_placement",
            "false",
            "true",
            "Placement never learns of the functions",
        )
    for spec in found.device_specs:
        if spec.resource_class in config.own_classes:
            yield _spec(spec.text, "another class", difference.SHARED)
    if config.functions:
        yield from _named(found.device_specs)
    for card in config.cards:
        yield from _card(config, card, found)


def of_scheduler(
    config: needed.NovaConfig, found: config_files.Found
) -> _Differences:
    """What nova-scheduler alone reads, where the files have it."""
    filters = found.enabled_filters
    if config.functions and filters is not None and _FILTER not in filters:
        yield difference.Difference(
            "filter_scheduler",
            "enabled_filters",
            ",".join(filters),
            ",".join([*filters, _FILTER]),
            "pci_in_placement does not replace it: nothing else compares"
            " what Placement chose with the functions that Nova has",
        )


def of_both(
    config: needed.NovaConfig, found: config_files.Found
) -> _Differences:
    """What nova-compute and the control plane read."""
    if config.functions and not found.pci_in_placement:
        yield difference.Difference(
            "filter_scheduler",
            "pci_in_placement",
            "false",
            "true",
            "a VM's function is not the one that Placement gave it, and Nova"
            " refuses an alias without vendor and product",
        )
    for name, wanted in config.aliases().items():
        same = [each for each in found.aliases if each.name == name]
        yield from _alias(wanted, same)
    if config.functions:
        yield from _repeated(config, found.aliases)
    for each in found.aliases:
        if each.resource_class in config.own_classes:
            yield difference.Difference(
                "pci", "alias", each.text, "another class", difference.SHARED
            )


def _spec(have: str, need: str, why: str) -> difference.Difference:
    return difference.Difference("pci", _SPEC, have, need, why)


def _named(specs: _Specs) -> _Differences:
    """nova.compute.pci_placement_translator,
    ensure_no_dev_spec_with_devname."""
    for spec in specs:
        if spec.devname:
            yield _spec(
                spec.text,
                f"the address of {spec.devname}",
                "with report_in_placement nova-compute refuses devname, and"
                " does not start",
            )


def _card(
    config: needed.NovaConfig, card: needed.Card, found: config_files.Found
) -> _Differences:
    specs = found.device_specs
    wanted = {each.pci_address: each for each in config.functions}
    surplus = collections.defaultdict(list)
    used: dict[tuple[device_spec.DeviceSpec, str], list[str]] = {}
    for address in card.functions:
        spec = device_spec.effective(address, card, specs)
        if address in wanted and spec is not None:
            key = (spec, wanted[address].profile)
            used.setdefault(key, []).append(address)
        elif address in wanted:
            yield _uncovered(wanted[address])
        elif spec is not None:
            surplus[spec].append(address)
    yield from _surplus(config, surplus)
    for (spec, profile), addresses in used.items():
        yield from _wrong(spec, names.vgpu_class(profile), addresses)
        yield from _unmovable(spec, names.alias(profile), found.aliases)
    yield from _mixed([spec for spec, _ in used])
    yield from _whole(card, specs)


def _uncovered(function: needed.Function) -> difference.Difference:
    return _spec(
        "",
        json.dumps(function.device_spec()),
        f"nothing covers {function.pci_address}: a slice of"
        f" {function.profile} cannot be attached",
    )


def _surplus(
    config: needed.NovaConfig,
    surplus: collections.abc.Mapping[device_spec.DeviceSpec, list[str]],
) -> _Differences:
    why = (
        "functions without an instance, which Nova offers nevertheless"
        if config.attach is functions.Attach.VFIO
        else "functions that carry mdevs"
    )
    for spec, addresses in surplus.items():
        listed = ", ".join(addresses)
        yield _spec(spec.text, f"without {listed}", f"it covers {why}")


def _wrong(
    spec: device_spec.DeviceSpec, resource_class: str, addresses: list[str]
) -> _Differences:
    listed = ", ".join(addresses)
    if spec.managed:
        yield _spec(
            spec.text,
            '"managed": "no"',
            f"libvirt would take {listed} from NVIDIA's driver: lost until"
            " SR-IOV is switched off and on",
        )
    if spec.resource_class != resource_class:
        yield _spec(
            spec.text,
            f'"resource_class": "{resource_class}"',
            f"not the class that the alias of {listed} asks for",
        )
    if names.FUNCTION not in spec.traits:
        yield _spec(
            spec.text,
            f'"traits": "{names.FUNCTION}"',
            f"the alias of {listed} asks for the trait",
        )
    if spec.physical_network:
        yield _spec(
            spec.text,
            "without physical_network",
            f"Nova leaves {listed} to Neutron and out of Placement",
        )
    if spec.has_one_time_use:
        yield _spec(
            spec.text,
            "without one_time_use",
            f"Nova has it for whole devices: with {listed} nova-compute does"
            " not start, whatever its value",
        )


def _unmovable(
    spec: device_spec.DeviceSpec,
    name: str,
    aliases: collections.abc.Iterable[device_spec.Alias],
) -> _Differences:
    """nova.pci.stats, _filter_pools_for_live_migratable_devices."""
    for alias in aliases:
        asked = alias.live_migratable
        if alias.name == name and asked not in (None, spec.live_migratable):
            yield _spec(
                spec.text,
                f'"live_migratable": "{"yes" if asked else "no"}", or {name}'
                " without it",
                f"{name} asks for it, and Nova gives it no device that does"
                " not say the same",
            )


def _mixed(
    specs: collections.abc.Sequence[device_spec.DeviceSpec],
) -> _Differences:
    # A trait of ours that lacks is named already.
    kinds = {
        (spec.traits | {names.FUNCTION}, bool(spec.live_migratable)): spec.text
        for spec in specs
    }
    if len(kinds) > 1:
        yield _spec(
            " and ".join(kinds.values()),
            "the same traits and live_migratable",
            "they differ on one GPU: nova-compute refuses to start",
        )


def _whole(card: needed.Card, specs: _Specs) -> _Differences:
    for spec in specs:
        if spec.covers_card(card):
            yield _spec(
                spec.text,
                f"without {card.pci_address}",
                "it covers the GPU itself: beside its functions nova-compute"
                " refuses to start",
            )
            return


def _alias(
    wanted: dict[str, str], same: list[device_spec.Alias]
) -> _Differences:
    need = json.dumps(wanted)
    if len(same) == 1:
        why = _alias_wrong(wanted, same[0])
    elif same:
        why = "given more than once: Nova refuses to start"
    else:
        why = "missing: a flavor that asks for it boots nothing"
    if why:
        have = " and ".join(each.text for each in same)
        yield difference.Difference("pci", "alias", have, need, why)


def _repeated(
    config: needed.NovaConfig,
    aliases: collections.abc.Iterable[device_spec.Alias],
) -> _Differences:
    """Aliases of other devices: nova.pci.request, _validate_multispec."""
    by_name = collections.defaultdict(list)
    for each in aliases:
        by_name[each.name].append(each.text)
    for name in sorted(by_name.keys() - config.aliases().keys()):
        if len(by_name[name]) > 1:
            yield difference.Difference(
                "pci",
                "alias",
                " and ".join(by_name[name]),
                f"{name} once; one resource_class in several device_specs"
                " does as much",
                "with pci_in_placement Nova's services do not start with a"
                " name given twice",
            )


def _alias_wrong(wanted: dict[str, str], have: device_spec.Alias) -> str:
    wrong = [
        key
        for key, differs in (
            ("device_type", have.device_type != wanted["device_type"]),
            (
                "resource_class",
                have.resource_class != wanted["resource_class"],
            ),
            ("traits", have.traits != {wanted["traits"]}),
            ("vendor_id", have.vendor_id not in (None, device_spec.NVIDIA)),
        )
        if differs
    ]
    if not wrong:
        return ""
    return f"its {' and '.join(wrong)} differs from the functions'"
