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
"""What of ours is on Nova's providers of our devices; pure.

mdev: Nova has a provider and an inventory for every virtual function, and
a VM gets the function that it is placed on. Our mark says which of them
may be used. vfio: Nova has a provider for every GPU; as long as the GPU is
blocked, all its units are reserved, since a VM might get our unit from one
GPU and the device from another.
"""

import collections
import collections.abc
import dataclasses

from mig_placement.geometry import functions
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model as hardware
from mig_placement.placement import model
from mig_placement.placement import names

Classes = collections.abc.Mapping[str, str]
_Desired = tuple[model.DesiredProvider, ...]


def is_device(
    attach: functions.Attach, root_name: str
) -> collections.abc.Callable[[str], bool]:
    """Tells by its name whether Nova's provider may be of a device of ours."""
    tests: dict[
        functions.Attach, collections.abc.Callable[[str, str], bool]
    ] = {
        functions.Attach.MDEV: names.is_mdev_provider,
        functions.Attach.VFIO: names.is_pci_provider,
    }
    test = tests.get(attach)
    return lambda name: test is not None and test(name, root_name)


@dataclasses.dataclass(frozen=True, slots=True)
class Card:
    """A GPU and what is offered of it.

    :ivar units: instances fit to be offered, by profile; none while the
        GPU is closed.
    """

    gpu: hardware.Gpu
    units: collections.abc.Mapping[str, int]


def marked(
    tree: model.Tree,
    cards: collections.abc.Iterable[Card],
    way: functions.Way,
    classes: Classes,
) -> _Desired:
    """mdev: marks on as many functions as there are fit instances.

    A function without its provider, or the other way round, has no mark;
    nor has any where more is used than there is, since nobody knows which
    of the VMs hold what is gone.
    """
    chosen: set[str] = set()
    doubtful: set[str] = set()
    for card in cards:
        for profile, count in card.units.items():
            found = _Functions(tree, card.gpu, profile, way, classes)
            if found.is_overdrawn(count):
                doubtful.update(found.names)
            else:
                chosen.update(found.chosen(count))
    return tuple(
        _with_mark(each, each.name in chosen, each.name in doubtful)
        for each in tree.nova
    )


def _with_mark(
    provider: model.Provider, mark: bool, doubtful: bool
) -> model.DesiredProvider:
    marks = {names.READY} if mark else set()
    used = {name for name, count in provider.used.items() if count}
    return model.DesiredProvider(
        name=provider.name,
        inventories=provider.inventories,
        traits=provider.traits - {names.READY} | marks,
        # What is used is looked at again until the doubt is gone.
        waiting=frozenset(used) if doubtful else frozenset(),
    )


class _Functions:
    """The functions of one GPU that Nova has for one profile.

    :ivar names: of Nova's providers.
    """

    def __init__(
        self,
        tree: model.Tree,
        gpu: hardware.Gpu,
        profile: str,
        way: functions.Way,
        classes: Classes,
    ) -> None:
        self._class = names.class_name(profile, classes)
        kind = functions.vgpu_type(gpu, profile, way.vgpu_types)
        self._type_id = kind.type_id
        there = gpu.sriov.functions if gpu.sriov else ()
        self._functions = {
            names.mdev_provider_name(tree.root.name, each.pci_address): each
            for each in there
        }
        self._providers = {
            each.name: each for each in tree.nova if self._is_of_it(each)
        }
        self.names = frozenset(self._providers)

    def _is_of_it(self, provider: model.Provider) -> bool:
        function = self._functions.get(provider.name)
        inventory = provider.inventories.get(self._class)
        return (
            function is not None
            and self._type_id in function.mdev_types
            # One mdev per function; with more nobody could say which.
            and inventory is not None
            and inventory.total == 1
        )

    def _used(self, name: str) -> int:
        return self._providers[name].used.get(self._class, 0)

    def _carries(self, name: str) -> bool:
        return self._functions[name].mdev_type == self._type_id

    def _room(self, count: int) -> int:
        """Instances left to what Nova has; others may have taken some."""
        elsewhere = sum(
            self._carries(name)
            for name in self._functions
            if name not in self._providers
        )
        return count - elsewhere

    def is_overdrawn(self, count: int) -> bool:
        return sum(map(self._used, self.names)) > self._room(count)

    def chosen(self, count: int) -> list[str]:
        """Those in use first, so that what they leave is offered again;
        then those whose mdev holds an instance though no VM has it."""
        order = sorted(
            self.names,
            key=lambda name: (
                not self._used(name),
                not self._carries(name),
                name,
            ),
        )
        return order[: max(self._room(count), 0)]


def guarded(
    tree: model.Tree,
    blocked: collections.abc.Mapping[str, bool],
    own: collections.abc.Container[str],
) -> _Desired:
    """vfio: Nova's units of a blocked GPU are reserved, all of them.

    Nova resets this when its number of functions changes, so that it is
    looked at in every cycle. Other devices of Nova's are left alone.

    :param blocked: by the name of our provider of the GPU.
    :param own: those of GPUs that are all ours; of others only what we
        named is touched.
    """
    return tuple(
        _guarded(each, blocked[name], name in own)
        for each in tree.nova
        if (name := _our_name(tree.root.name, each.name)) in blocked
    )


def _our_name(root_name: str, nova_name: str) -> str:
    # Nova has the address in capitals, and we have it as sysfs does.
    address = nova_name.removeprefix(f"{root_name}_").lower()
    return names.provider_name(root_name, address)


def _guarded(
    provider: model.Provider, blocked: bool, is_own: bool
) -> model.DesiredProvider:
    return model.DesiredProvider(
        name=provider.name,
        inventories={
            name: _reserved(inventory, blocked)
            if is_own or names.is_vgpu_class(name)
            else inventory
            for name, inventory in provider.inventories.items()
        },
        traits=provider.traits,
    )


def _reserved(inventory: model.Inventory, blocked: bool) -> model.Inventory:
    if blocked:
        return inventory.closed()
    if inventory.reserved >= inventory.total:
        return dataclasses.replace(inventory, reserved=0)
    # Somebody else's.
    return inventory


def used(
    tree: model.Tree, gpu: hardware.Gpu, profile: str, classes: Classes
) -> int:
    """Units of a profile that VMs hold on Nova's providers of a GPU."""
    own = names.pci_provider_name(tree.root.name, gpu.pci_address)
    ours = {names.class_name(profile, classes), names.vgpu_class(profile)}
    functions_of = _function_names(tree.root.name, gpu)
    return sum(
        count
        for each in tree.nova
        if each.name == own or each.name in functions_of
        for name, count in each.used.items()
        if name in ours
    )


def offered(tree: model.Tree) -> int:
    """What Nova's providers of our devices would still hand out.

    Units count where ``guarded`` closes them: Nova may have providers of
    GPUs that are none of ours.
    """
    ours = {each.name for each in tree.gpus}
    return sum(
        (names.READY in each.traits)
        + (_our_name(tree.root.name, each.name) in ours and _vgpus(each))
        for each in tree.nova
    )


def _vgpus(provider: model.Provider) -> int:
    return sum(
        max(inventory.capacity, 0)
        for name, inventory in provider.inventories.items()
        if names.is_vgpu_class(name)
    )


def _function_names(root_name: str, gpu: hardware.Gpu) -> frozenset[str]:
    """Names of the functions' providers, whether they exist or not: Nova
    keeps providers of functions that are gone."""
    sriov = gpu.sriov
    if sriov is None:
        return frozenset()
    return frozenset(
        names.mdev_provider_name(
            root_name,
            hardware.function_address(
                gpu.pci_address, sriov.offset + number * sriov.stride
            ),
        )
        for number in range(sriov.total)
    )


def stale(
    tree: model.Tree, node: hardware.Node, classes: Classes
) -> tuple[str, ...]:
    """What Nova goes on offering of GPUs that have nothing of it.

    nova-compute leaves provider and inventory where the instances are
    gone, over a restart too. Without a mark nobody gets it.
    """
    lines = []
    for gpu in node.gpus:
        left = _left_over(tree, gpu, classes)
        for name, count in sorted(left.items()):
            lines.append(
                f"{gpu}: Nova has {count} of {name} left of instances that"
                " are gone; they are not marked, so that none is used"
            )
    return tuple(lines)


def _left_over(
    tree: model.Tree, gpu: hardware.Gpu, classes: Classes
) -> dict[str, int]:
    existing = {each.profile for each in gpu.instances}
    gone = {
        names.class_name(each.name, classes)
        for each in gpu.profiles
        if each.name not in existing
    }
    functions_of = _function_names(tree.root.name, gpu)
    return dict(
        collections.Counter(
            name
            for each in tree.nova
            if each.name in functions_of
            for name in each.inventories
            if name in gone
        )
    )


def in_excess(
    tree: model.Tree, card: Card, way: functions.Way
) -> tuple[verdicts.Finding, ...]:
    """vfio: Nova has more functions of a GPU than there are instances.

    It may then pick one without a vGPU, and the VM fails.
    """
    if way.attach is not functions.Attach.VFIO:
        return ()
    own = names.pci_provider_name(tree.root.name, card.gpu.pci_address)
    has = {
        name: inventory.total
        for each in tree.nova
        if each.name == own
        for name, inventory in each.inventories.items()
    }
    return tuple(
        verdicts.Finding(
            verdicts.Reason.CONFIG_INVALID,
            f"Nova has {has[name]} functions of {name}, and there are"
            f" {count} instances; see 'mig-placement nova-config --check'",
        )
        for profile, count in card.units.items()
        if has.get(name := names.vgpu_class(profile), 0) > count
    )
