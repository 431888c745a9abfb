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
"""Retires providers: one write, one look, and a memory that outlives both."""

import collections.abc
import dataclasses
import logging
import pathlib
import time

from mig_placement import exception
from mig_placement.hardware import model as hardware
from mig_placement.placement import client as clients
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import plan
from mig_placement.placement import refusals
from mig_placement.placement import retire
from mig_placement.service import retired

LOG = logging.getLogger(__name__)

# Emptying, taking out, waiting or deleting, and a few answers of 409.
_ROUNDS = 10


class Retirer:
    """Takes providers as far as they may go just now.

    :param memory: file of the records.
    :param needed: seconds that a provider waits between its root and its
        end.
    :param reboot_counts: whether nova-compute runs on this host: then
        it has no cache from before a reboot.
    """

    def __init__(
        self,
        client: clients.Client,
        memory: pathlib.Path,
        needed: float,
        *,
        reboot_counts: bool,
    ) -> None:
        self._client = client
        self._memory = memory
        self._needed = needed
        self._after_reboot = needed if reboot_counts else 0.0
        found = retired.read(memory)
        self.is_new = found is None
        self.records = found or retired.Records()

    def of_host(self, root_name: str) -> tuple[model.Provider, ...]:
        """Our providers of a host, under its root or under none.

        :raises PlacementError: Placement cannot be read.
        """
        if names.OWNER not in self._client.known_traits({names.OWNER}):
            return ()
        return retire.of_host(self._client.with_trait(names.OWNER), root_name)

    def read(self, uuid: str) -> model.Provider | None:
        """A provider with inventories and usages; None where it has gone.

        :raises PlacementError: Placement cannot be read.
        """
        found = self._client.provider(uuid)
        if found is None:
            return None
        return dataclasses.replace(
            found,
            inventories=self._client.inventories(uuid),
            used=self._client.usages(uuid),
        )

    def waits(self, uuid: str) -> bool:
        """Whether nothing can be done with a provider but wait."""
        return self._waited(uuid) < self._needed

    def advance(
        self, uuid: str, *, orphan: bool = False
    ) -> retire.Left | None:
        """Do what can be done; what is left to do, None: it has gone.

        :param orphan: leave it alone where it has a root again.
        :raises PlacementError: Placement did not do what was asked.
        :raises ConfigError: the memory cannot be written.
        """
        for _ in range(_ROUNDS):
            provider = self.read(uuid)
            if provider is None:
                self.forget({uuid})
                return None
            if orphan and provider.parent_uuid is not None:
                return retire.Back(provider)
            step = retire.next_step(provider, self._waited(uuid), self._needed)
            if isinstance(step, retire.Keep | retire.Wait):
                return self._counted(step)
            self._do(step)
        raise _quarrel(uuid)

    def close(self, uuid: str) -> None:
        """Offer nothing of a provider, and change nothing else.

        :raises PlacementError: Placement did not do what was asked.
        """
        for _ in range(_ROUNDS):
            provider = self.read(uuid)
            if provider is None:
                return
            step = retire.kept(provider)
            if isinstance(step, retire.Keep):
                return
            self._do(step)
        raise _quarrel(uuid)

    def remember(self, records: retired.Records) -> None:
        """:raises ConfigError: the memory cannot be written."""
        if records != self.records or self.is_new:
            retired.write(self._memory, records)
            self.records = records
            self.is_new = False

    def forget(self, uuids: set[str]) -> None:
        """:raises ConfigError: the memory cannot be written."""
        self.remember(self.records.without_orphans(uuids))

    def _waited(self, uuid: str) -> float:
        since = self.records.orphans.get(uuid)
        return retired.waited(since, retired.moment(), self._after_reboot)

    def _counted(self, step: retire.Left) -> retire.Left:
        """Begin to count where nobody has, after a crash for instance."""
        uuid = step.provider.uuid
        since = self.records.orphans.get(uuid)
        now = retired.moment()
        unknown = since is None or since.boot != now.boot
        if isinstance(step, retire.Wait) and unknown:
            self.remember(self.records.with_orphan(uuid, now))
        return step

    def _do(self, step: retire.Write) -> None:
        if isinstance(step, plan.PutParent):
            # A crash right after the write leaves that it was about to be,
            # and no record of an earlier time that it was taken out.
            uuid = step.provider.uuid
            self.remember(self.records.with_orphan(uuid, None))
        LOG.info("Placement, to retire: %s", step)
        try:
            self._client.do(step)
        except refusals.ConflictError as conflict:
            LOG.debug("Placement changed meanwhile: %s", conflict)


def _quarrel(uuid: str) -> exception.PlacementConflict:
    return exception.PlacementConflict(
        f"others changed what was to be written, {_ROUNDS} times in a row"
        " (409)",
        where=f"Placement, provider {uuid}",
        mend="see who else writes to it",
    )


class GoneGpus:
    """Retires the providers of GPUs that were taken out of this node.

    :param after: seconds that a GPU must be gone.
    :param clock: the calendar's time (seconds).
    """

    def __init__(
        self,
        retirer: Retirer,
        after: float,
        clock: collections.abc.Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._retirer = retirer
        self._after = after
        self._said: dict[str, str] = {}

    def follow(
        self, tree: model.Tree | None, node: hardware.Node | None
    ) -> None:
        """Take those that are due a step further; what fails is told.

        :param tree: as just written.
        :param node: as just observed; None retires nothing.
        """
        if tree is None or node is None:
            return
        try:
            self._note(tree, node)
            for uuid in self._due():
                self._tell(uuid, self._retirer.advance(uuid))
            for uuid in self._orphans_due():
                left = self._retirer.advance(uuid, orphan=True)
                self._tell(uuid, left)
        except exception.MigPlacementError as error:
            if self._is_new("", str(error)):
                LOG.warning(
                    "providers of GPUs that are gone are not retired, and"
                    " offer nothing meanwhile: %s",
                    error,
                )
        else:
            self._said.pop("", None)

    def _note(self, tree: model.Tree, node: hardware.Node) -> None:
        gone = [each.uuid for each in retire.gone(tree, node)]
        there = {each.uuid for each in tree.gpus}
        records = self._known(tree).without_orphans(there)
        self._retirer.remember(records.with_gone(gone, self._clock()))

    def _due(self) -> list[str]:
        since = self._clock() - self._after
        gone = self._retirer.records.gone
        return [uuid for uuid, first in gone.items() if first <= since]

    def _orphans_due(self) -> list[str]:
        # Without a record of since when, a look makes one.
        return [
            uuid
            for uuid, since in self._retirer.records.orphans.items()
            if since is None or not self._retirer.waits(uuid)
        ]

    def _known(self, tree: model.Tree) -> retired.Records:
        """What is remembered; where nothing is, what Placement knows."""
        records = self._retirer.records
        if not self._retirer.is_new:
            return records
        for each in self._retirer.of_host(tree.root.name):
            if each.parent_uuid is None:
                records = records.with_orphan(each.uuid, None)
        return records

    def _tell(self, uuid: str, left: retire.Left | None) -> None:
        if left is None or isinstance(left, retire.Back):
            self._said.pop(uuid, None)
        elif self._is_new(uuid, str(left)):
            _log(left)

    def _is_new(self, about: str, line: str) -> bool:
        """Once per change; the seconds of a wait are said but once."""
        before = self._said.get(about)
        self._said[about] = line
        return line != before


def _log(left: retire.Keep | retire.Wait) -> None:
    if isinstance(left, retire.Keep):
        LOG.warning(
            "provider %s: its GPU is gone, and it is kept: %s; no new VM gets"
            " a slice of it; delete or move those VMs",
            left.provider.name,
            left,
        )
    else:
        LOG.warning(
            "provider %s: its GPU is gone, and it offers nothing; what is left"
            " to do: %s",
            left.provider.name,
            left,
        )
