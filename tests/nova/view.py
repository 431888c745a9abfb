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
"""What Placement says of a host, told by GPU.

A GPU goes by the name of our provider of it, in every mode.
"""

import collections
import dataclasses
from collections.abc import Callable
from collections.abc import Mapping

from mig_placement.placement import names
from tests.functional import cloud as clouds
from tests.functional import gpu_node

CLASS = gpu_node.CLASS
# What Nova's own PCI providers have by the generated fragment.
DEVICE_CLASS = names.vgpu_class("1g.5gb")

Tree = Mapping[str, clouds.Provider]


@dataclasses.dataclass(frozen=True)
class Stock:
    """Units of a class by GPU, none left out but 0.

    :param offered: units that would still be handed out.
    :param used: units that VMs hold.
    """

    offered: dict[str, int]
    used: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Look:
    """A host, read once.

    :param is_open: whether the node as a whole is offered.
    :param slices: the class that a flavor asks for.
    :param devices: what gives a VM its device: the same, but for VFIO.
    """

    is_open: bool
    slices: Stock
    devices: Stock

    @property
    def free(self) -> int:
        """VMs that would still find a place."""
        if not self.is_open:
            return 0
        return min(
            sum(self.slices.offered.values()),
            sum(self.devices.offered.values()),
        )


@dataclasses.dataclass(frozen=True)
class Providers:
    """The names of a host's providers.

    :param host: the root's.
    :param vfs: VFs by the GPU's address.
    """

    host: str
    attach: str
    vfs: Mapping[str, list[str]]

    def own(self, address: str) -> str:
        """Our provider of a GPU."""
        return names.provider_name(self.host, address)

    def of_vf(self, vf: str) -> str:
        """Nova's provider of a VF that has mdevs."""
        return names.mdev_provider_name(self.host, vf)

    def of_pci(self, address: str) -> str:
        """Nova's provider of a PF, which stands for its VFs."""
        return names.pci_provider_name(self.host, address)

    def gpus(self) -> dict[str, str]:
        """The GPU of each provider that a VM's device may come from."""
        if self.attach == "mdev":
            return {
                self.of_vf(vf): self.own(address)
                for address, vfs in self.vfs.items()
                for vf in vfs
            }
        provider = self.of_pci if self.attach == "vfio" else self.own
        return {provider(address): self.own(address) for address in self.vfs}

    def look(self, tree: Tree) -> Look:
        root = tree.get(self.host)
        own = {self.own(address): self.own(address) for address in self.vfs}
        if self.attach == "mdev":
            slices = devices = _stock(tree, self.gpus(), CLASS, _is_marked)
        elif self.attach == "vfio":
            slices = _stock(tree, own, CLASS)
            devices = _stock(tree, self.gpus(), DEVICE_CLASS)
        else:
            slices = devices = _stock(tree, own, CLASS)
        is_open = root is not None and names.NODE_READY in root.traits
        return Look(is_open, slices, devices)


def _is_marked(provider: clouds.Provider) -> bool:
    return names.READY in provider.traits


def _stock(
    tree: Tree,
    gpus: Mapping[str, str],
    name: str,
    counts: Callable[[clouds.Provider], bool] = lambda _: True,
) -> Stock:
    offered: collections.Counter[str] = collections.Counter()
    used: collections.Counter[str] = collections.Counter()
    for provider, gpu in gpus.items():
        if provider in tree:
            found = tree[provider]
            used[gpu] += found.usages.get(name, 0)
            offered[gpu] += found.offered.get(name, 0) * counts(found)
    return Stock(dict(+offered), dict(+used))
