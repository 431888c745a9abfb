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
"""Placement's providers as frozen values: what is there, what should be."""

import collections.abc
import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Inventory:
    """One resource class of a provider, in Placement's own terms."""

    total: int
    reserved: int = 0
    min_unit: int = 1
    max_unit: int = 1
    step_size: int = 1
    allocation_ratio: float = 1.0

    @property
    def capacity(self) -> int:
        """What Placement hands out of an unused provider, at most."""
        return int((self.total - self.reserved) * self.allocation_ratio)

    def closed(self) -> "Inventory":
        return dataclasses.replace(self, reserved=self.total)


Inventories = collections.abc.Mapping[str, Inventory]


@dataclasses.dataclass(frozen=True, slots=True)
class Provider:
    """A resource provider as last read or written.

    :ivar generation: what a write must carry to be taken.
    :ivar used: units allocated, by class. Deleting an allocation does not
        raise the generation, so it may be more than there is, never less.
    """

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None = None
    inventories: Inventories = dataclasses.field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    used: collections.abc.Mapping[str, int] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """The compute root and what of ours and of Nova's is under it.

    Of the root only the traits are read: its inventory is Nova's.

    :ivar gpus: our GPU providers.
    :ivar nova: Nova's providers of devices of ours, where it attaches
        slices: virtual functions (mdev), GPUs (vfio).
    :ivar orphans: GPU providers of ours that were taken from under the
        root to be retired, and that are wanted again.
    :ivar classes: resource classes known to exist, those in use here
        among them.
    :ivar trait_names: traits known to exist, likewise.
    :ivar missing_traits: standard traits that this Placement does not
        have: its os-traits is older than ours.
    """

    root: Provider
    gpus: tuple[Provider, ...] = ()
    nova: tuple[Provider, ...] = ()
    orphans: tuple[Provider, ...] = ()
    classes: frozenset[str] = frozenset()
    trait_names: frozenset[str] = frozenset()
    missing_traits: frozenset[str] = frozenset()

    def gpu(self, name: str) -> Provider | None:
        return next((gpu for gpu in self.gpus if gpu.name == name), None)

    def orphan(self, name: str) -> Provider | None:
        return next((each for each in self.orphans if each.name == name), None)


@dataclasses.dataclass(frozen=True, slots=True)
class DesiredProvider:
    """What a GPU's provider should be.

    :ivar traits: all traits, those of others included.
    :ivar waiting: classes kept, wholly reserved, until the allocations
        that need them are gone.
    """

    name: str
    inventories: Inventories
    traits: frozenset[str]
    waiting: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Desired:
    """What the tree should be.

    :ivar root_ready: whether the root carries CUSTOM_MIG_NODE_READY.
    """

    root_ready: bool
    gpus: tuple[DesiredProvider, ...] = ()
    nova: tuple[DesiredProvider, ...] = ()

    @property
    def waiting(self) -> frozenset[str]:
        """Names of providers that change when allocations go."""
        providers = (*self.gpus, *self.nova)
        return frozenset(each.name for each in providers if each.waiting)

    @property
    def class_names(self) -> frozenset[str]:
        return frozenset(name for gpu in self.gpus for name in gpu.inventories)

    @property
    def trait_names(self) -> frozenset[str]:
        return frozenset(trait for gpu in self.gpus for trait in gpu.traits)
