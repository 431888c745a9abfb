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
"""From the tree that is to the tree that should be, one write at a time.

What closes goes first, what opens goes last, and the root's trait is the
first to go and the last to come: a crash between any two writes leaves
Placement offering less than there is, never more.
"""

import collections.abc
import dataclasses
import enum
from typing import Any
from typing import ClassVar
from typing import Protocol

from mig_placement.placement import model
from mig_placement.placement import names


class Stage(enum.IntEnum):
    """When a write may go: after all writes of an earlier stage."""

    CLOSE = 0
    PREPARE = 1
    OPEN = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to Placement."""

    method: str
    url: str
    body: collections.abc.Mapping[str, Any] | None = None


class Write(Protocol):
    """Anything that is written; its text says what it does."""

    def request(self) -> Request: ...


@dataclasses.dataclass(frozen=True, slots=True)
class CreateClass:
    """Make a custom resource class; harmless where it exists."""

    stage: ClassVar[Stage] = Stage.PREPARE
    name: str

    def request(self) -> Request:
        return Request("PUT", f"/resource_classes/{self.name}")

    def applied(self, tree: model.Tree, generation: int) -> model.Tree:
        return dataclasses.replace(tree, classes=tree.classes | {self.name})

    def __str__(self) -> str:
        return f"create resource class {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class CreateTrait:
    """Make a custom trait; harmless where it exists."""

    stage: ClassVar[Stage] = Stage.PREPARE
    name: str

    def request(self) -> Request:
        return Request("PUT", f"/traits/{self.name}")

    def applied(self, tree: model.Tree, generation: int) -> model.Tree:
        known = tree.trait_names | {self.name}
        return dataclasses.replace(tree, trait_names=known)

    def __str__(self) -> str:
        return f"create trait {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class CreateProvider:
    """Make a GPU's provider under the root, without any inventory."""

    stage: ClassVar[Stage] = Stage.PREPARE
    uuid: str
    name: str
    parent_uuid: str

    def request(self) -> Request:
        body = {
            "uuid": self.uuid,
            "name": self.name,
            "parent_provider_uuid": self.parent_uuid,
        }
        return Request("POST", "/resource_providers", body)

    def applied(self, tree: model.Tree, generation: int) -> model.Tree:
        made = model.Provider(
            uuid=self.uuid,
            name=self.name,
            generation=generation,
            parent_uuid=self.parent_uuid,
        )
        return dataclasses.replace(tree, gpus=(*tree.gpus, made))

    def __str__(self) -> str:
        return f"create provider {self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class PutTraits:
    """Replace a provider's traits, under the generation decided on."""

    stage: Stage
    provider: model.Provider
    traits: frozenset[str]

    def request(self) -> Request:
        body = {
            "resource_provider_generation": self.provider.generation,
            "traits": sorted(self.traits),
        }
        return Request(
            "PUT", f"/resource_providers/{self.provider.uuid}/traits", body
        )

    def applied(self, tree: model.Tree, generation: int) -> model.Tree:
        return with_provider(
            tree,
            dataclasses.replace(
                self.provider, traits=self.traits, generation=generation
            ),
        )

    def __str__(self) -> str:
        changes = [
            *(f"+{t}" for t in sorted(self.traits - self.provider.traits)),
            *(f"-{t}" for t in sorted(self.provider.traits - self.traits)),
        ]
        return f"traits of {self.provider.name}: {' '.join(changes)}"


@dataclasses.dataclass(frozen=True, slots=True)
class PutInventories:
    """Replace a provider's inventories, under the generation decided on."""

    stage: Stage
    provider: model.Provider
    inventories: model.Inventories

    def request(self) -> Request:
        body = {
            "resource_provider_generation": self.provider.generation,
            "inventories": {
                name: dataclasses.asdict(inventory)
                for name, inventory in sorted(self.inventories.items())
            },
        }
        return Request(
            "PUT",
            f"/resource_providers/{self.provider.uuid}/inventories",
            body,
        )

    def applied(self, tree: model.Tree, generation: int) -> model.Tree:
        return with_provider(
            tree,
            dataclasses.replace(
                self.provider,
                inventories=self.inventories,
                generation=generation,
            ),
        )

    def __str__(self) -> str:
        shown = [
            f"{name} total {inventory.total} reserved {inventory.reserved}"
            for name, inventory in sorted(self.inventories.items())
        ]
        return (
            f"inventories of {self.provider.name}: "
            f"{', '.join(shown) or 'none'}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class PutParent:
    """Put a provider under a root, or (None) from under one.

    Needs microversion 1.37. Placement takes no generation here, and wants
    the name again.
    """

    stage: Stage
    provider: model.Provider
    parent_uuid: str | None

    def request(self) -> Request:
        body = {
            "name": self.provider.name,
            "parent_provider_uuid": self.parent_uuid,
        }
        return Request(
            "PUT", f"/resource_providers/{self.provider.uuid}", body
        )

    def applied(self, tree: model.Tree, generation: int) -> model.Tree:
        """As it is after the provider was put under the tree's root."""
        moved = dataclasses.replace(
            self.provider, parent_uuid=self.parent_uuid, generation=generation
        )
        return dataclasses.replace(
            tree,
            gpus=(*tree.gpus, moved),
            orphans=tuple(o for o in tree.orphans if o.uuid != moved.uuid),
        )

    def __str__(self) -> str:
        name = self.provider.name
        if self.parent_uuid is None:
            return f"take provider {name} from under its root"
        return f"put provider {name} back under its root"


Action = (
    CreateClass
    | CreateTrait
    | CreateProvider
    | PutTraits
    | PutInventories
    | PutParent
)


def with_provider(tree: model.Tree, changed: model.Provider) -> model.Tree:
    """The tree with a provider of its in another state."""
    if changed.uuid == tree.root.uuid:
        return dataclasses.replace(tree, root=changed)

    def replaced(
        providers: tuple[model.Provider, ...],
    ) -> tuple[model.Provider, ...]:
        return tuple(
            changed if each.uuid == changed.uuid else each
            for each in providers
        )

    return dataclasses.replace(
        tree, gpus=replaced(tree.gpus), nova=replaced(tree.nova)
    )


def next_action(tree: model.Tree, desired: model.Desired) -> Action | None:
    """The first write that is due, or None where nothing is."""
    return (
        _close_root(tree, desired)
        or _close_inventory(tree, desired)
        or _close_trait(tree, desired)
        or _prepare(tree, desired)
        or _open_provider(tree, desired)
        or _open_root(tree, desired)
    )


def plan(tree: model.Tree, desired: model.Desired) -> tuple[Action, ...]:
    """All writes that are due, as they go if nobody else writes."""
    actions = []
    while (action := next_action(tree, desired)) is not None:
        actions.append(action)
        tree = action.applied(tree, _generation_after(action))
    return tuple(actions)


def _generation_after(action: Action) -> int:
    if isinstance(action, PutTraits | PutInventories):
        return action.provider.generation + 1
    if isinstance(action, PutParent):
        return action.provider.generation
    return 0


def _close_root(tree: model.Tree, desired: model.Desired) -> Action | None:
    if desired.root_ready or names.NODE_READY not in tree.root.traits:
        return None
    traits = tree.root.traits - {names.NODE_READY}
    return PutTraits(Stage.CLOSE, tree.root, traits)


def _open_root(tree: model.Tree, desired: model.Desired) -> Action | None:
    if not desired.root_ready or names.NODE_READY in tree.root.traits:
        return None
    traits = tree.root.traits | {names.NODE_READY}
    return PutTraits(Stage.OPEN, tree.root, traits)


def _pairs(
    tree: model.Tree, desired: model.Desired
) -> list[tuple[model.Provider, model.DesiredProvider]]:
    known = {each.name: each for each in (*tree.gpus, *tree.nova)}
    return [
        (known[want.name], want)
        for want in (*desired.gpus, *desired.nova)
        if want.name in known
    ]


def _close_inventory(
    tree: model.Tree, desired: model.Desired
) -> Action | None:
    for have, want in _pairs(tree, desired):
        closing = _closing(have.inventories, want.inventories)
        if closing != have.inventories:
            return PutInventories(Stage.CLOSE, have, closing)
    return None


def _closing(
    have: model.Inventories, want: model.Inventories
) -> dict[str, model.Inventory]:
    """What of the change takes capacity away, and nothing that adds any."""
    return {
        name: min(want[name], inventory, key=lambda each: each.capacity)
        for name, inventory in have.items()
        if name in want
    }


def _close_trait(tree: model.Tree, desired: model.Desired) -> Action | None:
    for have, want in _pairs(tree, desired):
        if names.READY in have.traits - want.traits:
            # The reason's trait may have to be made first; closing does
            # not wait for it.
            known = want.traits <= tree.trait_names
            traits = want.traits if known else have.traits - {names.READY}
            return PutTraits(Stage.CLOSE, have, traits)
    return None


def needed_traits(desired: model.Desired) -> frozenset[str]:
    """Traits that must exist. A flavor may name the gate's before any GPU
    is open, and Placement takes an unknown trait for an error."""
    return desired.trait_names | {names.READY, names.NODE_READY}


def attainable(tree: model.Tree, desired: model.Desired) -> model.Desired:
    """What of the desired this Placement can hold.

    Standard traits are made with Placement itself, and by nobody else.
    """
    missing = tree.missing_traits - tree.trait_names
    gpus = tuple(
        dataclasses.replace(gpu, traits=gpu.traits - missing)
        for gpu in desired.gpus
    )
    return dataclasses.replace(desired, gpus=gpus)


def _prepare(tree: model.Tree, desired: model.Desired) -> Action | None:
    for trait in sorted(needed_traits(desired) - tree.trait_names):
        if names.is_custom(trait):
            return CreateTrait(trait)
    for name in sorted(desired.class_names - tree.classes):
        return CreateClass(name)
    for want in desired.gpus:
        if tree.gpu(want.name) is None:
            orphan = tree.orphan(want.name)
            if orphan is not None:
                return PutParent(Stage.PREPARE, orphan, tree.root.uuid)
            uuid = names.provider_uuid(tree.root.uuid, want.name)
            return CreateProvider(uuid, want.name, tree.root.uuid)
    return None


def _open_provider(tree: model.Tree, desired: model.Desired) -> Action | None:
    for have, want in _pairs(tree, desired):
        # READY first: whoever closes after a write of unknown outcome takes
        # it off again, which makes the generation of that write an old one.
        if have.traits != want.traits:
            return PutTraits(Stage.OPEN, have, want.traits)
        if have.inventories != want.inventories:
            return PutInventories(Stage.OPEN, have, want.inventories)
    return None
