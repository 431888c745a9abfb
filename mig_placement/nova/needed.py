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
"""What nova.conf must say for the node's layout; pure."""

import collections
import collections.abc
import dataclasses
import enum

from mig_placement import exception
from mig_placement.geometry import functions
from mig_placement.geometry import layout as layouts
from mig_placement.hardware import model
from mig_placement.placement import names


class Part(enum.Enum):
    """Whose configuration it is."""

    COMPUTE = "compute"
    SCHEDULER = "scheduler"


BOTH = frozenset(Part)


@dataclasses.dataclass(frozen=True, slots=True)
class Card:
    """A GPU that the layout declares, as Nova's options may name it.

    :ivar pci_device_id: 0xDDDDVVVV.
    :ivar functions: addresses of all its virtual functions.
    """

    pci_address: str
    pci_device_id: int
    functions: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class MdevType:
    """A ``[mdev_<name>]`` section.

    :ivar addresses: as many as there are instances, over all GPUs.
    """

    type_id: int
    profile: str
    resource_class: str
    addresses: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"nvidia-{self.type_id}"


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """A virtual function that Nova is to pass through."""

    pci_address: str
    profile: str

    @property
    def resource_class(self) -> str:
        return names.vgpu_class(self.profile)

    def device_spec(self) -> dict[str, str]:
        """The [pci] device_spec of this function alone."""
        return {
            "address": self.pci_address,
            # Else libvirt takes it from NVIDIA's driver, and it is lost
            # until SR-IOV is switched off and on.
            "managed": "no",
            "resource_class": self.resource_class,
            "traits": names.FUNCTION,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class NovaConfig:
    """What nova.conf must say.

    :ivar attach: [nova] attach.
    :ivar cards: empty where nothing is attached.
    :ivar mdev_types: in the order of their ids; mdev only.
    :ivar functions: in the order of GPUs; vfio only.
    :ivar own_classes: of all profiles that the node's GPUs can have. No
        device of Nova's may have one, but for mdev's own of a profile.
    """

    label: str
    attach: str
    cards: tuple[Card, ...] = ()
    mdev_types: tuple[MdevType, ...] = ()
    functions: tuple[Function, ...] = ()
    own_classes: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not self.mdev_types and not self.functions

    def aliases(self) -> dict[str, dict[str, str]]:
        """The [pci] alias of each profile, by its name."""
        profiles = sorted({each.profile for each in self.functions})
        return {names.alias(each): _alias(each) for each in profiles}


def _alias(profile: str) -> dict[str, str]:
    return {
        "name": names.alias(profile),
        "device_type": "type-VF",
        "resource_class": names.vgpu_class(profile),
        "traits": names.FUNCTION,
    }


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What the agent's own configuration says of it.

    :ivar classes: [mapping] resource_classes, by profile.
    """

    way: functions.Way
    classes: collections.abc.Mapping[str, str]


def needed(
    node: model.Node, layout: layouts.NodeLayout, rules: Rules
) -> NovaConfig:
    """What nova.conf must say, proven to fit the host as far as it shows.

    :raises LayoutError: the layout cannot be attached that way.
    :raises ConfigError: the host's kernel, [nova] vgpu_types or the class
        mapping does not go with it.
    :raises HardwareError: a declared GPU does not answer.
    """
    profiles = {
        each.profile for gpu in layout.gpus.values() for each in gpu.instances
    }
    classes = names.class_names(profiles, rules.classes)
    possible = {p.name for gpu in node.gpus for p in gpu.profiles}
    found = NovaConfig(
        layout.label,
        rules.way.attach,
        own_classes=frozenset(
            names.class_name(each, rules.classes) for each in possible
        ),
    )
    if rules.way.attach is functions.Attach.NONE:
        return found
    functions.check_types_backed(profiles, rules.way.vgpu_types)
    return _attached(found, node, layout, rules, classes)


def _attached(
    found: NovaConfig,
    node: model.Node,
    layout: layouts.NodeLayout,
    rules: Rules,
    classes: collections.abc.Mapping[str, str],
) -> NovaConfig:
    gpus = [gpu for gpu in node.gpus if gpu.index in layout.gpus]
    wanted = [
        each
        for gpu in gpus
        for each in _wanted(gpu, layout.gpus[gpu.index], rules.way)
    ]
    found = dataclasses.replace(found, cards=tuple(map(_card, gpus)))
    if rules.way.attach is functions.Attach.MDEV:
        return dataclasses.replace(
            found, mdev_types=_mdev_types(wanted, classes)
        )
    _refuse_shared(wanted, found.own_classes)
    return dataclasses.replace(
        found,
        functions=tuple(Function(w.pci_address, w.profile) for w in wanted),
    )


def _wanted(
    gpu: model.Gpu, declared: layouts.GpuLayout, way: functions.Way
) -> tuple[functions.Wanted, ...]:
    if gpu.fault:
        raise exception.HardwareError(
            gpu.fault,
            where=str(gpu),
            mend="reset or replace it, or leave it out of the layout",
        )
    wanted = functions.needed(gpu, declared, way)
    why = functions.unfit(gpu, way.attach, wanted)
    if why:
        raise exception.ConfigError(
            why,
            where=f"[nova] attach = {way.attach}",
            mend="set attach to what this host's kernel and NVIDIA's vGPU"
            " host driver have",
        )
    return wanted


def _card(gpu: model.Gpu) -> Card:
    return Card(gpu.pci_address, gpu.pci_device_id, functions.addresses(gpu))


def _mdev_types(
    wanted: collections.abc.Iterable[functions.Wanted],
    classes: collections.abc.Mapping[str, str],
) -> tuple[MdevType, ...]:
    by_type = collections.defaultdict(list)
    for each in wanted:
        by_type[each.vgpu_type.type_id, each.profile].append(each.pci_address)
    return tuple(
        MdevType(type_id, profile, classes[profile], tuple(addresses))
        for (type_id, profile), addresses in sorted(by_type.items())
    )


def _refuse_shared(
    wanted: collections.abc.Iterable[functions.Wanted],
    own_classes: frozenset[str],
) -> None:
    """One class on a provider of ours and of Nova's makes builds fail."""
    for each in wanted:
        name = names.vgpu_class(each.profile)
        if name in own_classes:
            raise exception.ConfigError(
                f"{name} is the class of Nova's functions",
                where="[mapping] resource_classes",
                mend="give the profile another class",
            )


def untold(node: model.Node, config: NovaConfig) -> str:
    """Why it is not known whether the host fits; empty where it is."""
    named = {each.pci_address for each in config.functions}
    named.update(*(each.addresses for each in config.mdev_types))
    off = [
        str(gpu)
        for gpu in node.gpus
        if gpu.sriov is not None
        and not gpu.sriov.functions
        and named.intersection(functions.addresses(gpu))
    ]
    if not off:
        return ""
    return (
        f"SR-IOV is off on {', '.join(off)}: the addresses are foretold,"
        f" and whether the kernel has {config.attach} is not known"
    )
