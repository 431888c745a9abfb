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
"""The nova.conf fragment as text; pure."""

import collections.abc
import json

from mig_placement.geometry import functions
from mig_placement.nova import needed

_NOTHING = "# Nothing is needed"
_CONTROL_PLANE = """\
# Belongs on the control plane: nova-api, nova-scheduler and every
# nova-conductor need it. nova-compute needs it as well: without
# pci_in_placement it refuses an alias that has no vendor and product.
# nova-scheduler's enabled_filters have to include PciPassthroughFilter:
# pci_in_placement does not replace it, and Nova's default list lacks it.
"""


def render(
    config: needed.NovaConfig,
    parts: collections.abc.Set[needed.Part] = needed.BOTH,
) -> str:
    """The fragment; the same text for the same layout."""
    return "\n".join([_head(config), *_blocks(config, parts)])


def _head(config: needed.NovaConfig) -> str:
    return (
        f"# Made by mig-placement nova-config for layout {config.label},\n"
        f"# [nova] attach = {config.attach}. Make it again after a change of"
        " the layout, and\n"
        "# restart Nova; nova-config --check FILE... compares.\n"
    )


def _blocks(
    config: needed.NovaConfig, parts: collections.abc.Set[needed.Part]
) -> collections.abc.Iterator[str]:
    if config.is_empty:
        yield f"{_NOTHING} {_why_nothing(config)}.\n"
    elif config.mdev_types and needed.Part.COMPUTE not in parts:
        yield f"{_NOTHING} on the control plane with attach = mdev.\n"
    elif config.mdev_types:
        yield from _mdev(config.mdev_types)
    else:
        yield _CONTROL_PLANE + _section(
            "filter_scheduler", "pci_in_placement = true"
        )
        yield _pci(config, parts)


def _why_nothing(config: needed.NovaConfig) -> str:
    if config.attach is functions.Attach.NONE:
        return "where Nova attaches nothing"
    return "for a layout without instances"


def _mdev(
    types: collections.abc.Sequence[needed.MdevType],
) -> collections.abc.Iterator[str]:
    listed = ",".join(each.name for each in types)
    yield (
        "# For nova-compute on this node. Add types of other devices here:"
        " of several\n# files the last one counts.\n"
    ) + _section("devices", f"enabled_mdev_types = {listed}")
    for each in types:
        yield f"# {len(each.addresses)}x {each.profile}\n" + _section(
            f"mdev_{each.name}",
            f"device_addresses = {','.join(each.addresses)}",
            f"mdev_class = {each.resource_class}",
        )


def _pci(
    config: needed.NovaConfig, parts: collections.abc.Set[needed.Part]
) -> str:
    # One section, each alias in it once: with two of one name Nova's
    # services refuse to start.
    aliases = [f"alias = {json.dumps(a)}" for a in config.aliases().values()]
    lines = ["# On the control plane too.", *aliases]
    if needed.Part.COMPUTE in parts:
        lines += ["# For nova-compute on this node alone."]
        lines += ["report_in_placement = true"]
        lines += [
            f"device_spec = {json.dumps(each.device_spec())}"
            for each in config.functions
        ]
    return _section("pci", *lines)


def _section(name: str, *lines: str) -> str:
    return "\n".join([f"[{name}]", *lines]) + "\n"
