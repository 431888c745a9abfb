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
"""All nodes' GPUs as Placement has them, as frozen values; pure."""

import collections
import collections.abc
import dataclasses
import re

from mig_placement.placement import model
from mig_placement.placement import names

# The gate of a GPU that is on its way out: it has no compute root.
RETIRING = "RETIRING"
# The node's own line of the gate; the GPU itself would be open.
NODE_CLOSED = "NODE_NOT_READY"
# Closed without a trait that says why: somebody took it away.
UNKNOWN = "UNKNOWN"

_DIGITS = re.compile(r"([0-9]+)")
_SLICES = re.compile(r"_([0-9]{1,2})[CG]_")


@dataclasses.dataclass(frozen=True, slots=True)
class ClassRow:
    """Units of one resource class, of one GPU or of many."""

    name: str
    total: int = 0
    used: int = 0
    reserved: int = 0
    free: int = 0

    @property
    def blocked(self) -> int:
        """Units that no VM holds and no new one gets."""
        return max(0, self.total - self.used - self.free)

    def plus(self, other: "ClassRow") -> "ClassRow":
        return ClassRow(
            self.name,
            self.total + other.total,
            self.used + other.used,
            self.reserved + other.reserved,
            self.free + other.free,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU's provider.

    :ivar root: the uuid of its compute root; empty where it has none.
    :ivar reasons: why the gate is closed; empty where it is open.
    :ivar layout: the label as the trait has it, in capitals.
    :ivar rows: by class; empty where not read.
    :ivar trouble: why it could not be read, one line.
    """

    uuid: str
    node: str
    address: str
    root: str = ""
    reasons: tuple[str, ...] = ()
    layout: str = ""
    product: str = ""
    rows: tuple[ClassRow, ...] = ()
    trouble: str = ""

    @property
    def is_open(self) -> bool:
        return not self.reasons


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A compute node; its GPUs by address."""

    name: str
    gpus: tuple[Gpu, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Fleet:
    """What was read, sorted.

    :ivar notes: what was left out, one line each.
    """

    gpus: tuple[Gpu, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        by_name: dict[str, list[Gpu]] = {}
        for gpu in self.gpus:
            by_name.setdefault(gpu.node, []).append(gpu)
        return tuple(Node(name, tuple(gpus)) for name, gpus in by_name.items())

    @property
    def troubled(self) -> tuple[Gpu, ...]:
        """Those of which the classes could not be read."""
        return tuple(gpu for gpu in self.gpus if gpu.trouble)


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """Which GPUs, and which of their classes, are wanted.

    :ivar classes: empty for all; a GPU without any of them is left out.
    :ivar layout: a label as in the layout file; empty for all.
    """

    blocked: bool = False
    classes: frozenset[str] = frozenset()
    layout: str = ""

    def takes(self, gpu: Gpu) -> bool:
        """Whether a GPU is wanted, before its classes are known."""
        return not (self.blocked and gpu.is_open) and (
            not self.layout or names.layout_symbol(self.layout) == gpu.layout
        )

    def narrowed(self, gpu: Gpu) -> Gpu | None:
        """The GPU with the wanted classes; None where it has none.

        One that could not be read may have them: it stays.
        """
        if not self.classes or gpu.trouble:
            return gpu
        rows = tuple(row for row in gpu.rows if row.name in self.classes)
        return dataclasses.replace(gpu, rows=rows) if rows else None


@dataclasses.dataclass(frozen=True, slots=True)
class Bulk:
    """What Placement tells of many providers at once.

    :ivar owned: all that carry our owner trait.
    :ivar ready: all with CUSTOM_MIG_READY: open GPUs, and with mdev Nova's
        functions that VMs may have.
    :ivar open_nodes: uuids of roots with CUSTOM_MIG_NODE_READY.
    :ivar traits: uuids of those of ours that have a trait, by trait.
    """

    owned: tuple[model.Provider, ...]
    ready: tuple[model.Provider, ...] = ()
    open_nodes: frozenset[str] = frozenset()
    traits: collections.abc.Mapping[str, frozenset[str]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def open_gpus(self) -> frozenset[str]:
        return frozenset(each.uuid for each in self.ready)


def is_told(trait: str) -> bool:
    """Whether a trait is one of those that a fleet shows."""
    return trait.startswith((names.BLOCKED, names.LAYOUT, names.PRODUCT))


def gpus(bulk: Bulk) -> Fleet:
    """The GPUs without their classes, sorted."""
    traits = _by_provider(bulk.traits)
    is_open = bulk.open_gpus
    found: list[Gpu] = []
    notes: list[str] = []
    for provider in bulk.owned:
        named = names.split_provider_name(provider.name)
        if named is None:
            notes.append(
                f"provider {provider.uuid} has the trait {names.OWNER} and no"
                " name of a GPU's provider; left out"
            )
            continue
        own = traits.get(provider.uuid, frozenset())
        found.append(
            _gpu(provider, named, own, _reasons(provider, own, bulk, is_open))
        )
    return Fleet(tuple(sorted(found, key=_order)), tuple(sorted(notes)))


def _by_provider(
    traits: collections.abc.Mapping[str, frozenset[str]],
) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for trait, uuids in traits.items():
        for uuid in uuids:
            found.setdefault(uuid, set()).add(trait)
    return {uuid: frozenset(map(_shown, own)) for uuid, own in found.items()}


def _gpu(
    provider: model.Provider,
    named: tuple[str, str],
    traits: frozenset[str],
    reasons: tuple[str, ...],
) -> Gpu:
    return Gpu(
        uuid=provider.uuid,
        node=_shown(named[0]),
        address=named[1],
        root=provider.parent_uuid or "",
        reasons=reasons,
        layout=_after(names.LAYOUT, traits),
        product=_after(names.PRODUCT, traits),
    )


def _shown(name: str) -> str:
    """Placement takes any name, and a terminal does not."""
    return "".join(char if char.isprintable() else "?" for char in name)


def _after(prefix: str, traits: frozenset[str]) -> str:
    return ", ".join(
        sorted(t.removeprefix(prefix) for t in traits if t.startswith(prefix))
    )


def _reasons(
    provider: model.Provider,
    traits: frozenset[str],
    bulk: Bulk,
    open_gpus: frozenset[str],
) -> tuple[str, ...]:
    """Why it is closed. The exact line of the gate first, then the node's."""
    told = tuple(
        sorted(
            t.removeprefix(names.BLOCKED)
            for t in traits
            if t.startswith(names.BLOCKED)
        )
    )
    if provider.parent_uuid is None:
        return told or (RETIRING,)
    if told:
        return told
    if provider.uuid not in open_gpus:
        return (UNKNOWN,)
    if provider.parent_uuid not in bulk.open_nodes:
        return (NODE_CLOSED,)
    return ()


def _order(gpu: Gpu) -> tuple[object, ...]:
    """node2 before node10."""
    return (*_natural(gpu.node), gpu.address, gpu.uuid)


def _natural(text: str) -> tuple[object, ...]:
    parts = _DIGITS.split(text)
    return (tuple((int(p), "") if p.isdecimal() else (0, p) for p in parts),)


def rows(
    inventories: model.Inventories, used: collections.abc.Mapping[str, int]
) -> tuple[ClassRow, ...]:
    """Each class of a provider, by name; also one that is only in use."""
    return tuple(
        _row(name, inventories.get(name, model.Inventory(0)), used)
        for name in sorted({*inventories, *(n for n, u in used.items() if u)})
    )


def _row(
    name: str,
    inventory: model.Inventory,
    used: collections.abc.Mapping[str, int],
) -> ClassRow:
    units = used.get(name, 0)
    return ClassRow(
        name=_shown(name),
        total=inventory.total,
        used=units,
        reserved=inventory.reserved,
        free=max(0, inventory.capacity - units),
    )


def functions(
    bulk: Bulk, found: collections.abc.Iterable[Gpu]
) -> dict[str, tuple[str, ...]]:
    """Uuids of marked functions (mdev), by the uuid of their GPU.

    Only where they have its root. A function's routing ID is its GPU's and
    something more (SR-IOV, 3.3.9): it is of the last GPU before it.
    """
    by_node: dict[str, list[Gpu]] = {}
    for gpu in found:
        by_node.setdefault(gpu.root, []).append(gpu)
    sorted_out: dict[str, list[str]] = {}
    for provider in bulk.ready:
        named = names.split_mdev_provider_name(provider.name)
        if named is None or provider.parent_uuid is None:
            continue
        there = by_node.get(provider.parent_uuid, ())
        before = [gpu for gpu in there if _place(gpu) < _placed(named[1])]
        if before:
            last = max(before, key=_place)
            sorted_out.setdefault(last.uuid, []).append(provider.uuid)
    return {uuid: tuple(own) for uuid, own in sorted_out.items()}


def _place(gpu: Gpu) -> tuple[int, ...]:
    return _placed(gpu.address)


def _placed(address: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in re.split("[:.]", address))


def function_rows(
    free: collections.abc.Iterable[str], used: collections.abc.Iterable[str]
) -> tuple[ClassRow, ...]:
    """The classes of a GPU's functions, of one unit each.

    :param free: the class of each that no VM has.
    :param used: the class of each that one has.
    """
    free_of = collections.Counter(free)
    used_of = collections.Counter(used)
    return tuple(
        ClassRow(
            name=_shown(name),
            total=free_of[name] + used_of[name],
            used=used_of[name],
            free=free_of[name],
        )
        for name in sorted({*free_of, *used_of})
    )


def totals(
    found: collections.abc.Iterable[Gpu],
) -> tuple[ClassRow, ...]:
    """The sums of each class, by name."""
    sums: dict[str, ClassRow] = {}
    for gpu in found:
        for row in gpu.rows:
            sums[row.name] = sums.get(row.name, ClassRow(row.name)).plus(row)
    return tuple(sums[name] for name in sorted(sums))


def summary(fleet: Fleet) -> str:
    """The whole fleet in a line."""
    whole = ClassRow("")
    for row in totals(fleet.gpus):
        whole = whole.plus(row)
    is_open = sum(gpu.is_open for gpu in fleet.gpus)
    return (
        f"{_counted(len(fleet.nodes), 'node')},"
        f" {_counted(len(fleet.gpus), 'GPU')}: {is_open} open,"
        f" {len(fleet.gpus) - is_open} blocked."
        f" {_counted(whole.total, 'slice')}: {whole.used} used,"
        f" {whole.free} free, {whole.blocked} blocked."
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def width(class_name: str) -> int:
    """How many compute slices a unit of a class takes; 1 if not told.

    By the class's derived name alone: an operator's own has no size in it.
    """
    found = _SLICES.search(class_name)
    return min(max(int(found[1]), 1), 8) if found else 1
