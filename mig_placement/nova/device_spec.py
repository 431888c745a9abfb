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
"""[pci] device_spec and alias, understood as Nova does; pure.

After nova.pci.devspec and nova.compute.pci_placement_translator.
"""

import collections.abc
import dataclasses
import json
import re
from typing import Any

from mig_placement import exception
from mig_placement.nova import needed

_ANY = "*"
NVIDIA = 0x10DE
# Of an address: name in a JSON object, digits, highest value.
_FIELDS = (
    ("domain", 4, 0xFFFF),
    ("bus", 2, 0xFF),
    ("slot", 2, 0x1F),
    ("function", 1, 0x7),
)
# oslo.utils' bool_from_string, which Nova reads switches with.
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
# nova.pci.request, _ALIAS_SCHEMA: all that an alias may have.
_ID = "[0-9a-fA-F]{4}"
_ALIAS = {
    "name": "(?s:.{1,256})",
    "capability_type": "pci",
    "product_id": _ID,
    "vendor_id": _ID,
    "device_type": "type-PCI|type-PF|type-VF",
    "numa_policy": "required|legacy|preferred|socket",
    "resource_class": "(?s:.*)",
    "traits": "(?s:.*)",
    "live_migratable": "(?s:.*)",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """A device_spec's address: a pattern for each field.

    :ivar single: the address where there is one alone. If it is a GPU's,
        Nova takes its functions as well.
    """

    patterns: tuple[str, ...] = (".*",) * len(_FIELDS)
    single: str = ""

    def matches(self, pci_address: str) -> bool:
        fields = re.split("[:.]", pci_address)
        return all(map(re.match, self.patterns, fields))


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One JSON object of a device_spec.

    :ivar text: it, in one line.
    :ivar vendor_id: None is any; so is product_id.
    :ivar managed: whether libvirt takes the device from its driver.
    :ivar live_migratable: None is neither: no alias that asks for either
        gets it.
    :ivar has_one_time_use: whether it is said, of yes or no.
    :ivar physical_network: set for Neutron's devices.
    :ivar devname: a network interface in place of an address.
    """

    text: str
    address: Address
    vendor_id: int | None = None
    product_id: int | None = None
    resource_class: str = ""
    traits: frozenset[str] = frozenset()
    managed: bool = True
    live_migratable: bool | None = None
    has_one_time_use: bool = False
    physical_network: str = ""
    devname: str = ""

    def covers_function(self, pci_address: str, card: needed.Card) -> bool:
        """Whether Nova takes a function by it.

        A product id is taken to be right: that of functions is known to
        no interface that we read.
        """
        return self.vendor_id in (None, NVIDIA) and (
            self.address.matches(pci_address)
            or self.address.single == card.pci_address
        )

    def covers_card(self, card: needed.Card) -> bool:
        """Whether Nova takes the GPU itself by it."""
        return (
            self.vendor_id in (None, NVIDIA)
            and self.product_id in (None, card.pci_device_id >> 16)
            and self.address.matches(card.pci_address)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Alias:
    """:ivar text: the JSON object, in one line."""

    text: str
    name: str
    device_type: str = ""
    resource_class: str = ""
    traits: frozenset[str] = frozenset()
    vendor_id: int | None = None
    live_migratable: bool | None = None


def device_specs(text: str) -> tuple[DeviceSpec, ...]:
    """A value of the option: an object, or a list of them.

    :raises ConfigError: nova-compute would refuse to start.
    """
    where = "[pci] device_spec"
    value = _loaded(text, where)
    objects = value if isinstance(value, list) else [value]
    return tuple(_device_spec(each, where) for each in objects)


def alias(text: str) -> Alias:
    """:raises ConfigError: Nova's services would refuse to start."""
    where = "[pci] alias"
    value = _object(_loaded(text, where), where)
    _check_alias(value, where)
    return Alias(
        text=json.dumps(value),
        name=value["name"].strip(),
        device_type=_text(value, "device_type", where),
        resource_class=normal(_text(value, "resource_class", where)),
        traits=_traits(value, where),
        vendor_id=_id(value, "vendor_id", where),
        live_migratable=_switch(value, "live_migratable", where),
    )


def _check_alias(value: dict[str, Any], where: str) -> None:
    for key, found in value.items():
        if key not in _ALIAS:
            raise _refused(f"an alias has no {key!r}", where)
        if not isinstance(found, str) or not re.fullmatch(_ALIAS[key], found):
            raise _refused(f"{key} cannot be {json.dumps(found)}", where)
    if "name" not in value:
        raise _refused(f"{json.dumps(value)} has no name", where)


def normal(name: str) -> str:
    """The class or trait that Nova makes of a name."""
    upper = name.strip().upper()
    if not upper or upper.startswith("CUSTOM_"):
        return upper
    return "CUSTOM_" + re.sub(r"[^A-Z0-9_]+", "_", upper)


def _device_spec(found: Any, where: str) -> DeviceSpec:
    value = _object(found, where)
    return DeviceSpec(
        text=json.dumps(value),
        address=_address(value, where),
        vendor_id=_id(value, "vendor_id", where),
        product_id=_id(value, "product_id", where),
        resource_class=normal(_text(value, "resource_class", where)),
        traits=_traits(value, where),
        managed=_switch(value, "managed", where) is not False,
        live_migratable=_switch(value, "live_migratable", where),
        has_one_time_use="one_time_use" in value,
        physical_network=str(value.get("physical_network") or ""),
        devname=str(value.get("devname") or ""),
    )


def _loaded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _refused(f"{text!r} is no JSON ({error})", where) from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(f"{json.dumps(value)} is no JSON object", where)
    return value


def _text(value: dict[str, Any], key: str, where: str) -> str:
    found = value.get(key) or ""
    if not isinstance(found, str):
        raise _refused(f"{key} {found!r} is no text", where)
    return found


def _traits(value: dict[str, Any], where: str) -> frozenset[str]:
    listed = _text(value, "traits", where).split(",")
    return frozenset(normal(each) for each in listed if each.strip())


def _switch(value: dict[str, Any], key: str, where: str) -> bool | None:
    """None where nothing is said."""
    found = value.get(key)
    word = str(found).strip().lower()
    if found is not None and word not in _TRUE | _FALSE:
        raise _refused(f"{key} is neither yes nor no: {word!r}", where)
    return None if found is None else word in _TRUE


def _id(value: dict[str, Any], key: str, where: str) -> int | None:
    text = _text(value, key, where).strip() or _ANY
    if text == _ANY:
        return None
    return _hexadecimal(text, 0xFFFF, where)


def _hexadecimal(text: str, most: int, where: str) -> int:
    try:
        number = int(text, 16)
    except ValueError as error:
        raise _refused(f"{text!r} is not hexadecimal", where) from error
    if not 0 <= number <= most:
        raise _refused(f"{text} is more than {most:x}", where)
    return number


def _address(value: dict[str, Any], where: str) -> Address:
    found = value.get("address")
    if value.get("devname"):
        # Of a network interface: no GPU has one.
        return Address(("(?!)",) * len(_FIELDS))
    if not found:
        return Address()
    if isinstance(found, str):
        return _glob(found, where)
    return _regular(_object(found, where), where)


def _glob(text: str, where: str) -> Address:
    """Fields that are left out on the left, or empty, are any."""
    left, _, function = text.partition(".")
    fields = left.split(":")
    if len(fields) > len(_FIELDS) - 1:
        raise _refused(f"{text!r} is no PCI address", where)
    padded = [""] * (len(_FIELDS) - 1 - len(fields)) + fields + [function]
    values = [
        _value(each.strip() or _ANY, digits, most, where)
        for each, (_, digits, most) in zip(padded, _FIELDS, strict=True)
    ]
    return Address(
        tuple(f"{each}$" if each else ".*" for each in values),
        _joined(values) if all(values) else "",
    )


def _value(text: str, digits: int, most: int, where: str) -> str:
    """As sysfs has it; empty for any."""
    if text == _ANY:
        return ""
    return f"{_hexadecimal(text, most, where):0{digits}x}"


def _joined(fields: collections.abc.Sequence[str]) -> str:
    return "{}:{}:{}.{}".format(*fields)


def _regular(value: dict[str, Any], where: str) -> Address:
    patterns = tuple(
        _text(value, name, where) or ".*" for name, _, _ in _FIELDS
    )
    for each in patterns:
        try:
            re.compile(each)
        except re.error as error:
            raise _refused(f"{each!r}: {error}", where) from error
    # One with other signs is no address of a GPU.
    return Address(patterns, _joined(patterns))


def _refused(what: str, where: str) -> exception.ConfigError:
    return exception.ConfigError(
        what, where=where, mend="Nova does not start with it: correct it"
    )


def effective(
    pci_address: str,
    card: needed.Card,
    specs: collections.abc.Iterable[DeviceSpec],
) -> DeviceSpec | None:
    """The one that counts for a function: Nova takes the first."""
    for each in specs:
        if each.covers_function(pci_address, card):
            return each
    return None
