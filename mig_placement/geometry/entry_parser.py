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
"""One entry of a layout file's label: its tree to its value."""

import re

from mig_placement.geometry import declared
from mig_placement.geometry import profile_name
from mig_placement.geometry import walker
from mig_placement.geometry import yaml_tree
from mig_placement.hardware import model

_FIELDS = (
    "devices",
    "device-filter",
    "mig-enabled",
    "mig-devices",
    "compute-instances",
)

# Decimal, without what YAML 1.1 reads as octal or as base 60.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")
_UUID = re.compile(r"GPU-[0-9A-Z-]{1,60}", re.IGNORECASE | re.ASCII)
_FILTER = re.compile(
    r"(?P<device>0x[0-9a-f]{8})(?::(?P<subsystem>0x[0-9a-f]{8}))?",
    re.IGNORECASE | re.ASCII,
)
_PLACEMENT = re.compile(
    r"(?P<start>0|[1-9][0-9]{0,3})(?::(?P<size>[1-9][0-9]{0,3}))?"
)
# No GPU has more; what a GPU does hold is the solver's to say.
_MAX_COUNT = 1024


def entry(walk: walker.Walker, node: yaml_tree.Node) -> declared.Entry:
    """:raises LayoutError: it is no valid entry."""
    fields = walk.fields(node, "the entry", _FIELDS)
    devices = walk.required(
        fields, "devices", node, "write devices: all, or a list"
    )
    enabled = walk.boolean(
        walk.required(
            fields, "mig-enabled", node, "write mig-enabled: true or false"
        ),
        "mig-enabled",
    )
    compute = fields.get("compute-instances")
    filters = fields.get("device-filter")
    made = declared.Entry(
        source=walk.source,
        label=walk.label,
        line=node.line,
        devices=_devices(walk, devices),
        filters=_filters(walk, filters) if filters else (),
        mig_enabled=enabled,
        mig_devices=_mig_devices(walk, fields, node, enabled),
        compute_instances=compute is None
        or walk.boolean(compute, "compute-instances"),
    )
    _refuse_contradiction(walk, node, made)
    return made


def _refuse_contradiction(
    walk: walker.Walker, node: yaml_tree.Node, made: declared.Entry
) -> None:
    for wanted in () if made.compute_instances else made.mig_devices:
        if profile_name.compute_slices(wanted.profile) is not None:
            raise walk.error(
                node,
                f"{wanted.profile} is a compute instance, though"
                " compute-instances is false",
                "name the GPU instance's profile",
            )


def _devices(
    walk: walker.Walker, node: yaml_tree.Node
) -> tuple[declared.Device, ...] | None:
    if walker.text(node) == "all":
        return None
    if not isinstance(node, yaml_tree.Sequence) or not node.items:
        raise walk.error(
            node,
            "devices: neither 'all' nor a list with a GPU in it",
            "write devices: all, or devices: [0, 1]",
        )
    devices: dict[int | str, declared.Device] = {}
    for item in node.items:
        device = _device(walk, item)
        if device.value in devices:
            raise walk.error(
                item, f"devices: {device} is there twice", "keep one"
            )
        devices[device.value] = device
    return tuple(devices.values())


def _device(walk: walker.Walker, node: yaml_tree.Node) -> declared.Device:
    if _NUMBER.fullmatch(walker.plain(node)):
        return declared.Device(int(walker.plain(node)), node.line)
    # An address without quotes may be a number in base 60 to YAML 1.1.
    text = walker.text(node)
    if _UUID.fullmatch(text):
        return declared.Device(declared.normal_uuid(text), node.line)
    try:
        return declared.Device(model.normal_pci_address(text), node.line)
    except ValueError:
        raise walk.error(
            node,
            f"devices: {profile_name.shortened(text)!r} is no GPU index,"
            " UUID or PCI address",
            "write 0 (without quotes), GPU-... or 0000:41:00.0",
        ) from None


def _filters(
    walk: walker.Walker, node: yaml_tree.Node
) -> tuple[declared.DeviceFilter, ...]:
    if isinstance(node, yaml_tree.Sequence):
        items = walk.items(node, "device-filter")
        return tuple(_filter(walk, item) for item in items)
    return (_filter(walk, node),)


def _filter(
    walk: walker.Walker, node: yaml_tree.Node
) -> declared.DeviceFilter:
    # Without quotes 0x20B010DE is a number to YAML; the text is clear.
    match = _FILTER.fullmatch(walker.text(node))
    if match is None:
        raise walk.error(
            node,
            f"device-filter: {profile_name.shortened(walker.text(node))!r}"
            " is no 0xDDDDVVVV[:0xSSSSVVVV]",
            "write PCI device and vendor id, as in 0x20B010DE",
        )
    subsystem = match["subsystem"]
    return declared.DeviceFilter(
        device_id=int(match["device"], 16),
        subsystem_id=int(subsystem, 16) if subsystem else None,
    )


def _mig_devices(
    walk: walker.Walker,
    fields: dict[str, yaml_tree.Node],
    parent: yaml_tree.Node,
    enabled: bool,
) -> tuple[declared.MigDevices, ...]:
    node = fields.get("mig-devices")
    if node is None or walker.is_null(node):
        if enabled:
            raise walk.error(
                node or parent,
                "no mig-devices, though mig-enabled is true",
                "write mig-devices: {} for none",
            )
        return ()
    pairs = walk.pairs(node, "mig-devices")
    if pairs and not enabled:
        raise walk.error(
            node,
            "mig-devices, though mig-enabled is false",
            "remove them, or write mig-enabled: true",
        )
    return tuple(_wanted(walk, key, value) for key, value in pairs)


def _wanted(
    walk: walker.Walker, key: yaml_tree.Scalar, node: yaml_tree.Node
) -> declared.MigDevices:
    _check_profile(walk, key)
    placements = None
    if isinstance(node, yaml_tree.Sequence):
        placements = tuple(_placement(walk, item) for item in node.items)
        count = len(placements)
    else:
        count = _count(walk, key.text, node)
    if count > _MAX_COUNT:
        raise walk.error(
            node,
            f"{key.text}: {count} are too many",
            "declare fewer: no GPU has so many",
        )
    return declared.MigDevices(key.text, count, placements, key.line)


def _check_profile(walk: walker.Walker, key: yaml_tree.Scalar) -> None:
    if profile_name.is_profile_id(key.text):
        return
    try:
        profile_name.parse(key.text)
    except ValueError as error:
        raise walk.error(
            key, str(error), "write it as in 1g.5gb or 1g.10gb+me"
        ) from None


def _count(walk: walker.Walker, profile: str, node: yaml_tree.Node) -> int:
    if not _NUMBER.fullmatch(walker.plain(node)):
        raise walk.error(
            node,
            f"{profile}: neither a count nor a list of placements",
            "write a decimal number without quotes, as in 7",
        )
    return int(walker.plain(node))


def _placement(
    walk: walker.Walker, node: yaml_tree.Node
) -> declared.WantedPlacement:
    # Without quotes 4:1 is 241 to YAML 1.1; the text is clear.
    match = _PLACEMENT.fullmatch(walker.text(node))
    if match is None:
        raise walk.error(
            node,
            f"{profile_name.shortened(walker.text(node))!r} is no placement",
            "write a start, as in 4, or start and size, as in 4:4",
        )
    size = match["size"]
    return declared.WantedPlacement(
        start=int(match["start"]), size=int(size) if size else None
    )
