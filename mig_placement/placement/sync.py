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
"""Brings Placement to what is desired, reading once and writing little."""

import collections
import collections.abc
import dataclasses
import logging

from mig_placement import exception
from mig_placement import last
from mig_placement.placement import client as placement_client
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import plan
from mig_placement.placement import refusals

LOG = logging.getLogger(__name__)

Decide = collections.abc.Callable[[model.Tree], model.Desired]

# Refusals (409) beyond the first for each provider: that one shows what
# came since the last reading, a VM on each of them perhaps. More is a
# quarrel with another writer, for the next cycle to take up.
_REPEATS = 7
_MAX_ACTIONS = 10_000
# The generation of a provider that was written to once since its creation.
_ONE_WRITE = 1
_NAME_TAKEN = "placement.duplicate_name"
_NEWER_STATE = "placement.concurrent_update"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a synchronisation left behind.

    :ivar actions: the writes that were made, in their order; with a dry
        run those that would be.
    """

    tree: model.Tree
    desired: model.Desired
    actions: tuple[plan.Action, ...]


class Synchronizer:
    """Keeps what was last read of the tree, to read no more than needed.

    A provider is read again only when its generation is another than the
    last one seen: every write raises it, an allocation too. Of a tree that
    is not known the root is read first, and closed before the rest is read:
    its trait closes the node, and a fleet that starts at once would keep
    Placement busy with reading for minutes.

    :param is_nova_device: tells by its name whether a provider of Nova's
        under the root is one to be looked at.
    """

    def __init__(
        self,
        client: placement_client.Client,
        root_name: str,
        is_nova_device: collections.abc.Callable[[str], bool] = lambda name: (
            False
        ),
    ) -> None:
        self._client = client
        self._root_name = root_name
        self._is_nova_device = is_nova_device
        self._tree: model.Tree | None = None
        # Whether all of it was read, and not its root alone.
        self._is_whole = False
        # Devices that were read by name, where the reading of the tree was
        # broken off: a fleet whose Placement restarts reads the rest.
        self._half_read: dict[str, model.Provider] = {}
        self._waiting: frozenset[str] = frozenset()

    @property
    def tree(self) -> model.Tree | None:
        """The tree as last read or written; None before."""
        return self._tree if self._is_whole else None

    def sync(self, decide: Decide) -> Outcome:
        """Read, decide, write until nothing is left to write.

        :raises RootNotFound: the compute root is not there yet.
        :raises PlacementConflict: others kept changing what was decided on.
        :raises PlacementBadAnswer: it takes a write for a wrong one.
        :raises PlacementError: Placement did not do what was asked.
        """
        decide = last.Last(decide)
        done: list[plan.Action] = []
        refused = False
        conflicts: collections.Counter[str] = collections.Counter()
        while conflicts.total() - len(conflicts) < _REPEATS:
            try:
                # What closes does not wait for reading: the writes go
                # under the generations that were seen last.
                self._know_root()
                self._write(decide, plan.Stage.CLOSE, done)
                self._read(decide)
                desired = self._write(decide, plan.Stage.OPEN, done)
            except refusals.ConflictError as conflict:
                conflicts[_subject(conflict)] += 1
                self._reconsider(conflict)
            except refusals.RefusedError:
                # Somebody may have deleted a name that we remember. Once:
                # what is wrong in itself stays so.
                self._forget()
                if refused:
                    raise
                refused = True
            else:
                self._waiting = desired.waiting
                assert self._tree is not None  # noqa: S101 (for mypy)
                return Outcome(self._tree, desired, tuple(done))
        raise exception.PlacementConflict(
            "others changed what was to be written,"
            f" {conflicts.total()} times in a row (409)",
            where=f"Placement, {self._root_name}",
            mend="see who else writes to the providers of this node",
        )

    def dry_run(self, decide: Decide) -> Outcome:
        """Read and decide; write nothing.

        :raises PlacementError: as ``sync``.
        """
        self._read(decide)
        assert self._tree is not None  # noqa: S101 (for mypy)
        desired = plan.attainable(self._tree, decide(self._tree))
        return Outcome(self._tree, desired, plan.plan(self._tree, desired))

    def reread(self) -> model.Tree:
        """The tree as Placement has it now, with what is allocated now.

        A provider whose generation is the one that our last write made is
        as we wrote it: Placement raises it with every write.

        :raises PlacementError: as ``sync``.
        """
        self._read(lambda tree: model.Desired(root_ready=False))
        tree = self.with_fresh_usages()
        assert tree is not None  # noqa: S101 (for mypy)
        return tree

    def with_fresh_usages(self) -> model.Tree | None:
        """The tree last read, with what is allocated now; None before.

        Only what was in use is asked for again: an allocation more raises
        the generation, one less does not.

        :raises PlacementError: as ``sync``.
        """
        tree = self.tree
        if tree is None:
            return None
        self._tree = dataclasses.replace(
            tree,
            gpus=tuple(map(self._with_usages, tree.gpus)),
            nova=tuple(map(self._with_usages, tree.nova)),
        )
        return self._tree

    def _with_usages(self, provider: model.Provider) -> model.Provider:
        if not any(provider.used.values()):
            return provider
        used = self._client.usages(provider.uuid)
        return dataclasses.replace(provider, used=used)

    def _write(
        self, decide: Decide, last: plan.Stage, done: list[plan.Action]
    ) -> model.Desired:
        assert self._tree is not None  # noqa: S101 (for mypy)
        desired = plan.attainable(self._tree, decide(self._tree))
        for _ in range(_MAX_ACTIONS):
            action = plan.next_action(self._tree, desired)
            if action is None or action.stage > last:
                break
            LOG.info("Placement: %s", action)
            try:
                generation = self._client.do(action)
            except refusals.ConflictError as conflict:
                if not self._finds_orphan(conflict):
                    raise
                continue
            self._tree = action.applied(self._tree, generation)
            done.append(action)
            if isinstance(action, plan.PutParent):
                # Only now it counts what others put on the provider.
                desired = plan.attainable(self._tree, decide(self._tree))
        return desired

    def _finds_orphan(self, conflict: refusals.ConflictError) -> bool:
        """Whether the GPU's provider is there, and was being retired."""
        action = conflict.action
        if (
            conflict.code != _NAME_TAKEN
            or not isinstance(action, plan.CreateProvider)
            or self._tree is None
        ):
            return False
        found = self._client.named(action.name)
        if found is None or found.parent_uuid is not None:
            return False
        orphan = self._read_device(found)
        if names.OWNER not in orphan.traits:
            return False
        self._tree = dataclasses.replace(
            self._tree,
            orphans=(*self._tree.orphans, orphan),
            trait_names=self._tree.trait_names | orphan.traits,
        )
        return True

    def _reconsider(self, conflict: refusals.ConflictError) -> None:
        """Forget what the refused write was decided on."""
        LOG.debug("Placement changed meanwhile: %s", conflict)
        if conflict.code == _NAME_TAKEN and not self._is_there(conflict):
            raise exception.PlacementConflict(
                f"the name is taken by a provider outside of this node's tree"
                f" ({conflict.action})",
                where="Placement",
                mend="find it with 'openstack resource provider list --name'"
                " and delete it if it is of no use",
            ) from conflict
        action = conflict.action
        if conflict.code == _NEWER_STATE and isinstance(
            action, plan.PutTraits | plan.PutInventories
        ):
            self._renew(action.provider)
        else:
            self._forget()

    def _is_there(self, conflict: refusals.ConflictError) -> bool:
        """Whether another process of ours has made it meanwhile."""
        action, tree = conflict.action, self._tree
        if not isinstance(action, plan.CreateProvider) or tree is None:
            return False
        found = self._client.named(action.name)
        return found is not None and found.parent_uuid == tree.root.uuid

    def _renew(self, provider: model.Provider) -> None:
        """Read again what somebody else wrote to, and nothing besides: the
        next reading of the tree finds whatever else is newer."""
        assert self._tree is not None  # noqa: S101 (for mypy)
        seen = self._client.provider(provider.uuid)
        if seen is None:
            self._forget()
        else:
            is_root = seen.uuid == self._tree.root.uuid
            read = self._with_traits if is_root else self._read_device
            self._tree = plan.with_provider(self._tree, read(seen))

    def _forget(self) -> None:
        self._tree = None
        self._half_read.clear()

    def _know_root(self) -> model.Tree:
        """The tree as known; where there is none, its root alone."""
        if self._tree is None:
            root = self._client.find_root(self._root_name)
            self._tree = model.Tree(root=self._with_traits(root))
            self._is_whole = False
        return self._tree

    def _read(self, decide: Decide) -> None:
        providers = self._client.tree(self._know_root().root.uuid)
        if not providers:
            # Nova deleted the root; a new one has a new uuid.
            self._forget()
            providers = self._client.tree(self._know_root().root.uuid)
        known = self._know_root()
        merged = self._merged(known, providers)
        # Where nothing changed, one GET is all.
        self._tree = self._with_names(merged, decide, again=merged != known)
        self._is_whole = True
        self._half_read.clear()

    def _merged(
        self, known: model.Tree, providers: tuple[model.Provider, ...]
    ) -> model.Tree:
        root = next(
            (each for each in providers if each.uuid == known.root.uuid), None
        )
        if root is None:
            raise exception.RootNotFound(
                f"the compute root provider {self._root_name} has gone",
                where="Placement",
                mend="start nova-compute, which makes it again",
            )
        # A root that Nova made anew may have its uuid and generation again;
        # our providers have gone with the one before.
        uuids = {each.uuid for each in providers}
        unchanged = all(gpu.uuid in uuids for gpu in known.gpus)
        before = {each.name: each for each in (*known.gpus, *known.nova)}
        children = [
            each for each in providers if each.parent_uuid == root.uuid
        ]
        return dataclasses.replace(
            known,
            root=self._root(known.root, root, unchanged),
            gpus=tuple(
                self._device(before.get(each.name), each)
                for each in children
                if names.is_gpu_provider(each.name, self._root_name)
            ),
            nova=tuple(
                self._device(before.get(each.name), each)
                for each in children
                if self._is_nova_device(each.name)
            ),
        )

    def _root(
        self, known: model.Provider, seen: model.Provider, unchanged: bool
    ) -> model.Provider:
        if unchanged and known.generation == seen.generation:
            return known
        return self._with_traits(seen)

    def _with_traits(self, seen: model.Provider) -> model.Provider:
        return dataclasses.replace(seen, traits=self._client.traits(seen.uuid))

    def _device(
        self, known: model.Provider | None, seen: model.Provider
    ) -> model.Provider:
        if known is None or not _is_same(known, seen):
            known = self._half_read.get(seen.name)
        if known is None or not _is_same(known, seen):
            read = self._half_read[seen.name] = self._read_device(seen)
            return read
        if seen.name in self._waiting:
            # Deleting an allocation does not raise the generation.
            used = self._client.usages(seen.uuid)
            return dataclasses.replace(known, used=used)
        return known

    def _read_device(self, seen: model.Provider) -> model.Provider:
        inventories = self._client.inventories(seen.uuid)
        if inventories and seen.generation == _ONE_WRITE:
            # It was that of its inventory: nobody set a trait, and there
            # was no allocation.
            return dataclasses.replace(seen, inventories=inventories)
        return dataclasses.replace(
            seen,
            inventories=inventories,
            traits=self._client.traits(seen.uuid),
            used=self._client.usages(seen.uuid) if inventories else {},
        )

    def _with_names(
        self, tree: model.Tree, decide: Decide, *, again: bool
    ) -> model.Tree:
        """The tree with the traits and classes that are known to exist.

        :param again: whether to ask for those, too, that did not when they
            were last asked for: Placement may be another release by now.
        """
        there = (*tree.gpus, *tree.nova)
        classes = {name for each in there for name in each.inventories}
        known = tree.trait_names.union(*(each.traits for each in there))
        needed = plan.needed_traits(plan.attainable(tree, decide(tree)))
        missed = tree.missing_traits
        unknown = (needed | missed if again else needed) - known
        if unknown:
            known |= self._client.known_traits(unknown)
        return dataclasses.replace(
            tree,
            classes=tree.classes | classes,
            trait_names=known,
            missing_traits=missed | _missing(unknown - known - missed),
        )


def _subject(conflict: refusals.ConflictError) -> str:
    """The uuid of what somebody else wrote to; empty for all the rest."""
    action = conflict.action
    if isinstance(action, plan.PutTraits | plan.PutInventories):
        return action.provider.uuid
    return ""


def _is_same(known: model.Provider, seen: model.Provider) -> bool:
    """Whether nobody wrote to it since it was read."""
    return (known.uuid, known.generation) == (seen.uuid, seen.generation)


def _missing(unknown: frozenset[str]) -> frozenset[str]:
    """Those that nobody can make; said once, for they are remembered."""
    missing = frozenset(t for t in unknown if not names.is_custom(t))
    if missing:
        LOG.warning(
            "Placement does not know %s: our providers go without, and a"
            " flavor that requires it finds no host; upgrade os-traits where"
            " Placement runs, and restart it",
            ", ".join(sorted(missing)),
        )
    return missing
