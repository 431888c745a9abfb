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
"""Each instance of a GPU, declared and observed, and how it does; pure."""

import collections.abc
import dataclasses
import enum
import functools

from mig_placement.geometry import layout as layouts
from mig_placement.geometry import matching
from mig_placement.geometry import target
from mig_placement.hardware import model


class State(enum.StrEnum):
    """How an observed instance compares with the layout.

    AMISS has other compute instances than declared. MOVES is one of the
    declared, and lies where the others leave no room. UNKNOWN: there is no
    layout to compare with, or the GPU does not answer.
    """

    OK = "ok"
    EXTRA = "extra"
    AMISS = "amiss"
    MOVES = "moves"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """A declared instance and where it is to lie.

    :ivar there: whether such an instance lies there.
    """

    slot: target.Located
    there: bool


def declared(
    gpu: model.Gpu, wanted: layouts.GpuLayout | None
) -> tuple[Declared, ...]:
    """Where the layout's instances are to lie, in their order.

    Those that may lie anywhere are where a restore would put them. Empty
    for a GPU that does not answer.
    """
    if wanted is None or gpu.fault:
        return ()
    existing = {target.located(each) for each in gpu.instances}
    slots = _slots(gpu, wanted.instances)
    return tuple(
        Declared(slot, slot in existing)
        for slot in sorted(slots, key=lambda slot: slot.placement)
    )


# A mismatch lasts for many looks, and to place a layout is a search.
@functools.lru_cache(maxsize=32)
def _slots(
    gpu: model.Gpu, wanted: tuple[layouts.DeclaredInstance, ...]
) -> frozenset[target.Located]:
    matched = matching.match(wanted, gpu.instances)
    there = {target.located(instance) for _, instance in matched.pairs}
    if matched.missing:
        found = target.find(gpu, wanted)
        if not found.missing:
            return found.instances
    fixed = {
        target.Located(each.profile, each.placement)
        for each in matched.missing
        if each.placement is not None
    }
    return frozenset(there | fixed)


def observed(
    gpu: model.Gpu, layout: layouts.NodeLayout | None
) -> dict[int, State]:
    """The state of each instance, by its GPU instance's id."""
    if layout is None or gpu.fault:
        return {each.gi_id: State.UNKNOWN for each in gpu.instances}
    wanted = layout.gpus.get(gpu.index)
    states = {each.gi_id: State.EXTRA for each in gpu.instances}
    if wanted is None:
        return states
    slots = _slots(gpu, wanted.instances)
    for each, instance in matching.match(
        wanted.instances, gpu.instances
    ).pairs:
        states[instance.gi_id] = _paired(each, instance, slots)
    return states


def _paired(
    wanted: layouts.DeclaredInstance,
    instance: model.GpuInstance,
    slots: collections.abc.Container[target.Located],
) -> State:
    if target.located(instance) not in slots:
        return State.MOVES
    if not matching.has_declared_cis(wanted, instance):
        return State.AMISS
    return State.OK


def xids(
    gpu: model.Gpu,
    ailments: collections.abc.Iterable[model.Ailment],
    gi_id: int | None,
) -> list[int]:
    """XIDs that concern an instance, those of its whole GPU included.

    :param gi_id: None is the GPU as a whole.
    """
    return sorted(
        {
            each.xid
            for each in ailments
            if each.gpu_uuid == gpu.uuid and each.gi_id in {None, gi_id}
        }
    )
