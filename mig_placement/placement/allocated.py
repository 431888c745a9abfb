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
"""What of Placement's allocations a node's instances stand for; pure."""

import collections.abc

from mig_placement.hardware import model as hardware
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import nova_devices


def by_profile(
    tree: model.Tree,
    node: hardware.Node,
    classes: collections.abc.Mapping[str, str],
) -> dict[tuple[int, str], tuple[int, str]]:
    """(GPU index, profile) to (units allocated, resource class).

    :param classes: the operator's class overrides.
    """
    found: dict[tuple[int, str], tuple[int, str]] = {}
    for gpu in node.gpus:
        name = names.provider_name(tree.root.name, gpu.pci_address)
        provider = tree.gpu(name)
        if provider is not None:
            of_gpu = _of_gpu(provider, _profiles(gpu), classes)
            found.update({(gpu.index, p): use for p, use in of_gpu.items()})
        for profile in _profiles(gpu) if tree.nova else ():
            _add_nova_s(found, tree, gpu, profile, classes)
    return found


def _add_nova_s(
    found: dict[tuple[int, str], tuple[int, str]],
    tree: model.Tree,
    gpu: hardware.Gpu,
    profile: str,
    classes: collections.abc.Mapping[str, str],
) -> None:
    """Our unit and Nova's device may be of two GPUs: the more counts."""
    units = nova_devices.used(tree, gpu, profile, classes)
    key = gpu.index, profile
    if units > found.get(key, (0, ""))[0]:
        found[key] = units, names.class_name(profile, classes)


def _of_gpu(
    provider: model.Provider,
    profiles: set[str],
    classes: collections.abc.Mapping[str, str],
) -> dict[str, tuple[int, str]]:
    """Units and class by profile.

    A class that is none of the profiles' may have been any one's, before
    the operator gave the profile another.
    """
    class_of = {each: names.class_name(each, classes) for each in profiles}
    in_use = {name: units for name, units in provider.used.items() if units}
    found = {
        profile: (units, name)
        for name, units in in_use.items()
        if name not in class_of.values()
        for profile in profiles
    }
    # Profiles may share a class: each of them may be what is held.
    found.update(
        {
            profile: (in_use[name], name)
            for profile, name in class_of.items()
            if name in in_use
        }
    )
    return found


def _profiles(gpu: hardware.Gpu) -> set[str]:
    return {each.name for each in gpu.profiles} | {
        ci.profile
        for instance in gpu.instances
        for ci in instance.compute_instances
    }


def is_closed(tree: model.Tree) -> bool:
    """Whether nothing is offered of our GPUs, as the tree was read.

    The root's trait alone does not do: flavors may not ask for it.
    """
    ours_are = all(
        names.READY not in gpu.traits
        and all(each.capacity <= 0 for each in gpu.inventories.values())
        for gpu in tree.gpus
    )
    return ours_are and not nova_devices.offered(tree)
