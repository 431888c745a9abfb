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
"""What may be offered, from the test's own knowledge; and what is.

Nothing of the service is asked: a mistake in its judgement must not be
one in ours.
"""

import collections
import dataclasses
import sqlite3
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from mig_placement.placement import names

Declared = Mapping[str, int]
_OFFERED = """
select provider.name, class.name, inventory.total, inventory.reserved,
       inventory.allocation_ratio, coalesce(sum(allocation.used), 0)
from inventories inventory
join resource_providers provider
    on provider.id = inventory.resource_provider_id
join resource_classes class on class.id = inventory.resource_class_id
left join allocations allocation
    on allocation.resource_provider_id = provider.id
    and allocation.resource_class_id = class.id
where class.name like 'CUSTOM_MIG%'
group by inventory.id
"""
_TRAITS = """
select provider.name, trait.name from resource_provider_traits link
join resource_providers provider on provider.id = link.resource_provider_id
join traits trait on trait.id = link.trait_id where trait.name in (?, ?)
"""

# Provider and class.
Key = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Offer:
    """What Placement would hand out at one moment.

    :ivar units: still to be had.
    :ivar used: allocated.
    :ivar ready: (provider, trait) of the gate's traits.
    """

    units: dict[Key, int]
    used: dict[Key, int]
    ready: frozenset[tuple[str, str]]

    def opens(self, before: "Offer") -> bool:
        """Whether anything is to be had that was not before."""
        return bool(self.ready - before.ready) or any(
            count > before.units.get(key, 0)
            and self.used.get(key) == before.used.get(key)
            for key, count in self.units.items()
        )


def offer(database: sqlite3.Connection) -> Offer:
    """Read from Placement's tables: a tenth of what asking its API takes."""
    units, used = {}, {}
    for provider, name, total, reserved, ratio, taken in database.execute(
        _OFFERED
    ):
        key = provider, name
        units[key] = max(0, int((total - reserved) * ratio) - taken)
        used[key] = taken
    traits = database.execute(_TRAITS, (names.READY, names.NODE_READY))
    return Offer(units, used, frozenset(traits.fetchall()))


@dataclasses.dataclass
class Truth:
    """The node, as the one who disturbs it knows it.

    :ivar declared: layouts that the agent may go by: two, while one is
        being replaced; None is one that cannot be had.
    :ivar sick: MIG UUIDs of instances with an XID, UUIDs of such GPUs.
    """

    root_name: str
    scope: str
    declared: list[Declared | None] = dataclasses.field(default_factory=list)
    sick: set[str] = dataclasses.field(default_factory=set)
    held: bool = False

    def allowed(self, node: Mapping[str, Any]) -> dict[Key, int]:
        """Units that may be had or in use, by provider and class."""
        most: dict[Key, int] = {}
        for declared in self.declared:
            for key, units in self._allowed(node, declared).items():
                most[key] = max(units, most.get(key, 0))
        return most

    def _allowed(
        self, node: Mapping[str, Any], declared: Declared | None
    ) -> dict[Key, int]:
        if self.held or declared is None or not node["driver_present"]:
            return {}
        fit = {
            gpu["index"]: self._is_as_declared(gpu, declared)
            for gpu in node["gpus"]
        }
        if self.scope == "node" and not all(fit.values()):
            return {}
        return {
            key: units
            for gpu in node["gpus"]
            if fit[gpu["index"]]
            for key, units in self._units(gpu).items()
        }

    def _is_as_declared(
        self, gpu: Mapping[str, Any], declared: Declared
    ) -> bool:
        instances = gpu["instances"]
        return (
            not gpu["lost"]
            and gpu["mig"]
            and gpu["mig_pending"]
            and gpu["uuid"] not in self.sick
            and all(len(each["compute_instances"]) == 1 for each in instances)
            and collections.Counter(each["profile"] for each in instances)
            == collections.Counter(declared)
        )

    def _units(self, gpu: Mapping[str, Any]) -> dict[Key, int]:
        provider = names.provider_name(
            self.root_name, gpu["pci_address"][4:].lower()
        )
        units: dict[Key, int] = {}
        for each in gpu["instances"]:
            if not self.sick.intersection(_uuids(each)):
                key = provider, names.class_name(each["profile"], {})
                units[key] = units.get(key, 0) + 1
        return units

    def excess(
        self, seen: Offer, node: Mapping[str, Any]
    ) -> dict[Key, tuple[int, int]]:
        """(offered, allowed) where more is to be had than there should."""
        allowed = self.allowed(node)
        found = {}
        for key, units in seen.units.items():
            most = max(0, allowed.get(key, 0) - seen.used[key])
            if units > most:
                found[key] = units, most
        return found

    def unready(self, seen: Offer, node: Mapping[str, Any]) -> set[str]:
        """Providers that say to be ready and must not."""
        open_ones = {provider for provider, _ in self.allowed(node)}
        if open_ones:
            open_ones.add(self.root_name)
        return {provider for provider, _ in seen.ready} - open_ones

    def falls_sick(self, gpu: Mapping[str, Any], gi_id: int | None) -> None:
        if gi_id is None:
            self.sick.add(gpu["uuid"])
        for each in gpu["instances"]:
            if each["gi_id"] == gi_id:
                self.sick.update(_uuids(each))


class Watch:
    """Looks at Placement before and after each write of the agent's.

    The hardware may have changed under it, and the agent can but react:
    no write may make it worse, none may open anything before all is closed
    that has to be, and the root's trait comes when a GPU is open.

    :ivar violations: what was seen, as text.
    """

    def __init__(
        self,
        truth: Truth,
        offered: Callable[[], Offer],
        node: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.violations: list[str] = []
        self.writes = 0
        self._truth = truth
        self._offered = offered
        self._node = node
        self._before = offered()

    def before(self) -> None:
        self._before = self._offered()

    def after(self, what: str) -> None:
        self.writes += 1
        before, now, node = self._before, self._offered(), self._node()
        was = self._truth.excess(before, node)
        grown = {
            key: found
            for key, found in self._truth.excess(now, node).items()
            if found[0] > was.get(key, (0, 0))[0]
        }
        if grown:
            self.violations.append(f"{what} made {grown} (offered, allowed)")
        elif was and now.opens(before):
            self.violations.append(f"{what} opened, {was} was not closed")
        elif self._root_came_first(now, before):
            self.violations.append(f"{what} opened the node and no GPU is")

    def _root_came_first(self, now: Offer, before: Offer) -> bool:
        root = self._truth.root_name, names.NODE_READY
        came = root in now.ready - before.ready
        return came and not any(t == names.READY for _, t in now.ready)


def _uuids(instance: Mapping[str, Any]) -> Iterable[str]:
    return [ci["mig_uuid"] for ci in instance["compute_instances"]]
