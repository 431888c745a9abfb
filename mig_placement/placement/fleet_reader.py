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
"""Reads the fleet: much in bulk, and two requests for each GPU."""

import collections.abc
import concurrent.futures
import dataclasses
import threading

from mig_placement import exception
from mig_placement.placement import client as placement_client
from mig_placement.placement import fleet
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import refusals

#: Requests at a time. More would crowd out those of the scheduler.
WORKERS = 8
# So many failures, and what is left is not tried: each may take a time-out.
_MOST_TROUBLES = 32
# Between two calls of ``progress``, GPUs.
_STEP = 16

Progress = collections.abc.Callable[[int, int], None]


def _no_progress(done: int, of: int) -> None:
    """Say nothing."""


class Reader:
    """Reads Placement with a bounded number of requests at a time.

    :param workers: how many; 1 keeps to the caller's thread.
    :param progress: called with GPUs read and GPUs to read.
    """

    def __init__(
        self,
        client: placement_client.Client,
        workers: int = WORKERS,
        progress: Progress = _no_progress,
    ) -> None:
        self._client = client
        self._workers = workers
        self._progress = progress
        self._troubles = 0
        self._lock = threading.Lock()
        self._functions: dict[str, tuple[str, ...]] = {}
        self._free: dict[str, str] = {}

    def read(self, wanted: fleet.Filter | None = None) -> fleet.Fleet:
        """The fleet as it is now; what of it cannot be read, says so.

        :param wanted: GPUs that it does not take are not asked for.
        :raises PlacementError: the fleet as a whole cannot be read.
        """
        wanted = wanted or fleet.Filter()
        bulk = self._bulk()
        seen = fleet.gpus(bulk)
        self._functions = fleet.functions(bulk, seen.gpus)
        self._free = self._free_functions()
        asked = [gpu for gpu in seen.gpus if wanted.takes(gpu)]
        found: list[fleet.Gpu] = []
        notes = list(seen.notes)
        for gpu, full in zip(asked, self._each(asked), strict=True):
            if full is None:
                notes.append(_gone(gpu))
                continue
            narrowed = wanted.narrowed(full)
            found += [narrowed] if narrowed else []
        return fleet.Fleet(tuple(found), tuple(notes))

    def _bulk(self) -> fleet.Bulk:
        """As many requests as there are different traits, and a few."""
        in_use = self._client.traits_in_use("CUSTOM_")
        if names.OWNER not in in_use:
            return fleet.Bulk(())
        told = sorted(filter(fleet.is_told, in_use))
        return fleet.Bulk(
            owned=self._client.with_trait(names.OWNER),
            ready=self._having(in_use, names.READY),
            open_nodes=_uuids(self._having(in_use, names.NODE_READY)),
            traits={
                each: _uuids(self._having(in_use, names.OWNER, each))
                for each in told
            },
        )

    def _having(
        self, in_use: frozenset[str], *traits: str
    ) -> tuple[model.Provider, ...]:
        """Placement refuses to look for a trait that does not exist."""
        if not in_use.issuperset(traits):
            return ()
        return self._client.with_trait(*traits)

    def _free_functions(self) -> dict[str, str]:
        """The class of each marked function that no VM has, by uuid."""
        if not self._functions:
            return {}
        return {
            each.uuid: name
            for name in sorted(self._client.classes())
            if names.is_custom(name)
            for each in self._client.with_room(name, names.READY)
        }

    def _each(
        self, gpus: list[fleet.Gpu]
    ) -> collections.abc.Iterator[fleet.Gpu | None]:
        if self._workers == 1:
            yield from self._counted(len(gpus), map(self._full, gpus))
            return
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
            try:
                full = pool.map(self._full, gpus)
                yield from self._counted(len(gpus), full)
            finally:
                # After Ctrl-C, too: what is queued is of no use any more.
                pool.shutdown(wait=True, cancel_futures=True)

    def _counted(
        self,
        of: int,
        gpus: collections.abc.Iterable[fleet.Gpu | None],
    ) -> collections.abc.Iterator[fleet.Gpu | None]:
        for done, gpu in enumerate(gpus, 1):
            if done % _STEP == 0 or done == of:
                self._progress(done, of)
            yield gpu

    def _full(self, gpu: fleet.Gpu) -> fleet.Gpu | None:
        """The GPU with its classes; None where its provider is gone."""
        if self._troubles >= _MOST_TROUBLES:
            return dataclasses.replace(gpu, trouble="not tried any more")
        try:
            inventories = self._client.inventories(gpu.uuid)
            # Placement deletes no inventory of which something is used.
            used = self._client.usages(gpu.uuid) if inventories else {}
            rows = fleet.rows(inventories, used) + self._function_rows(gpu)
        except refusals.NotFoundError:
            return None
        except exception.PlacementError as error:
            with self._lock:
                self._troubles += 1
            return dataclasses.replace(gpu, trouble=str(error))
        return dataclasses.replace(gpu, rows=rows)

    def _function_rows(self, gpu: fleet.Gpu) -> tuple[fleet.ClassRow, ...]:
        """Of those marked; each that a VM has costs a request more."""
        own = self._functions.get(gpu.uuid, ())
        free = [self._free[uuid] for uuid in own if uuid in self._free]
        held = [self._held(uuid) for uuid in own if uuid not in self._free]
        return fleet.function_rows(
            free, [name for one in held for name in one]
        )

    def _held(self, uuid: str) -> list[str]:
        """The classes of a function that a VM has."""
        try:
            used = self._client.usages(uuid)
        except refusals.NotFoundError:
            return []
        return [name for name, units in used.items() if units]


def _uuids(
    providers: collections.abc.Iterable[model.Provider],
) -> frozenset[str]:
    return frozenset(each.uuid for each in providers)


def _gone(gpu: fleet.Gpu) -> str:
    return (
        f"{gpu.node} {gpu.address}: the provider went while the fleet was"
        " read; left out"
    )
