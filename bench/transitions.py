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
"""Topic "transitions": mutating NVML calls from one geometry to another.

Ours, the fewest that any plan could make, and all destroyed and made anew.
"""

import collections
import collections.abc
import dataclasses
import json

from bench import figure
from bench import gpu_node
from bench import table
from mig_placement.geometry import apply
from mig_placement.geometry import compare
from mig_placement.geometry import declared
from mig_placement.geometry import layout
from mig_placement.geometry import layout_file
from mig_placement.geometry import plan
from mig_placement.hardware import model
from mig_placement.service import hands
from mig_placement.service import nvml

Devices = collections.abc.Mapping[str, int | list[str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Transition:
    """From what one GPU has to what a layout declares.

    :ivar before: ``profile@start`` with its full compute instance, or
        ``profile@start/1c,1c`` with these (``profile@start/`` with none);
        None: MIG mode is off.
    :ivar after: the layout's mig-devices; None: MIG mode off.
    :ivar compute: the layout's compute-instances.
    """

    name: str
    model: str
    before: tuple[str, ...] | None
    after: Devices | None
    compute: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Calls:
    """Mutating NVML calls of one transition."""

    transition: Transition
    ours: int
    fewest: int
    anew: int


_A100 = "A100-40GB"
_H100 = "H100-80GB"
_A30 = "A30-24GB"
_RTX = "RTX-PRO-6000-Blackwell-96GB"


def _each(profile: str, *starts: int) -> tuple[str, ...]:
    return tuple(f"{profile}@{start}" for start in starts)


_SEVEN = _each("1g.5gb", *range(7))
_TWO_3G = _each("3g.20gb", 0, 4)
ALL = (
    Transition("nothing to do", _A100, _SEVEN, {"1g.5gb": 7}),
    Transition("all, after a reboot", _A100, (), {"1g.5gb": 7}),
    Transition(
        "mode and all, after a reboot",
        _H100,
        None,
        {"1g.10gb": 3, "4g.40gb": 1},
    ),
    Transition("add one", _A100, _SEVEN[:6], {"1g.5gb": 7}),
    Transition("remove one", _A100, _SEVEN, {"1g.5gb": 6}),
    Transition(
        "move one that is in the way",
        _A100,
        _each("1g.5gb", 1, 5),
        {"4g.20gb": 1, "1g.5gb": 2},
    ),
    Transition(
        "keep the 2g, move the 1g",
        _H100,
        ("2g.20gb@0", "1g.10gb@4", "1g.10gb@6"),
        {"3g.40gb": 1, "2g.20gb": 1, "1g.10gb": 2},
    ),
    Transition("7x 1g to 2x 3g", _A100, _SEVEN, {"3g.20gb": 2}),
    Transition(
        "2x 3g to 3x 1g and 4g", _A100, _TWO_3G, {"1g.5gb": 3, "4g.20gb": 1}
    ),
    Transition("7g to 7x 1g", _H100, ("7g.80gb@0",), {"1g.10gb": 7}),
    Transition(
        "media engines for one of 7",
        _A100,
        _SEVEN,
        {"1g.5gb": 6, "1g.5gb+me": 1},
    ),
    Transition(
        "a declared placement", _A100, ("3g.20gb@0",), {"3g.20gb": ["4:4"]}
    ),
    Transition(
        "A30: 2x 2g to 2g and 2x 1g",
        _A30,
        _each("2g.12gb", 0, 2),
        {"2g.12gb": 1, "1g.6gb": 2},
    ),
    Transition(
        "graphics for two of 4",
        _RTX,
        _each("1g.24gb", 0, 3, 6, 9),
        {"1g.24gb": 2, "1g.24gb+gfx": 2},
    ),
    Transition(
        "2x 2g to 2g+gfx and 2x 1g",
        _RTX,
        _each("2g.48gb", 0, 6),
        {"2g.48gb+gfx": 1, "1g.24gb": 2},
    ),
    Transition("divide a 3g", _A100, _TWO_3G, {"3g.20gb": 1, "1c.3g.20gb": 3}),
    Transition(
        "of two 3g keep the undivided",
        _A100,
        ("3g.20gb@0/1c,1c,1c", "3g.20gb@4"),
        {"3g.20gb": 1},
    ),
    Transition(
        "compute instances that were left out",
        _A100,
        ("3g.20gb@0/1c,1c", "3g.20gb@4/"),
        {"1c.3g.20gb": 3, "3g.20gb": 1},
    ),
    Transition(
        "without compute instances",
        _A100,
        ("3g.20gb@0", "2g.10gb@4/"),
        {"3g.20gb": 2},
        compute=False,
    ),
    Transition("mode off", _H100, _each("3g.40gb", 0, 4), None),
)


def report(options: figure.Options) -> figure.Report:
    """Each made on a simulated GPU, whose calls are counted."""
    with gpu_node.without_placement() as node:
        library = nvml.Nvml(node.settings())
        try:
            calls = [_measured(each, node, library) for each in ALL]
        finally:
            library.let_go()
    return figure.Report(
        (_at_the_fewest(calls),), (f"Mutating NVML calls\n\n{_text(calls)}",)
    )


def _measured(
    one: Transition, node: gpu_node.Node, library: nvml.Nvml
) -> Calls:
    _prepare(one, node)
    before = library.observe()
    wanted = layout.resolve(_layout(one), "bench", "", before)
    counted = node.gpus.mutations
    todo = plan.plan(before, wanted)
    outcomes = apply.apply(todo, hands.NvmlHands({}))
    ours = node.gpus.mutations - counted
    after = compare.compare(library.observe(), wanted)
    if any(each.failed for each in outcomes) or not after.matches:
        raise RuntimeError(f"{one.name}: the layout was not reached")
    gpu = before.gpus[0]
    return Calls(
        one, ours, _fewest(gpu, wanted.gpus[0]), _anew(gpu, wanted.gpus[0])
    )


def _prepare(one: Transition, node: gpu_node.Node) -> None:
    on = one.before is not None
    node.gpus.create([one.model], mig=on, overwrite=True)
    for text in one.before or ():
        slot, divided, cis = text.partition("/")
        profile, _, start = slot.partition("@")
        names = [f"{ci}.{profile}" for ci in cis.split(",") if ci]
        node.gpus.create_instance(
            0, profile, int(start), names if divided else True
        )


def _layout(one: Transition) -> declared.LayoutFile:
    entry: dict[str, object] = {
        "devices": "all",
        "mig-enabled": one.after is not None,
    }
    if one.after is not None:
        entry["mig-devices"] = one.after
    if not one.compute:
        entry["compute-instances"] = False
    tree = {"version": "v1", "mig-configs": {"bench": [entry]}}
    return layout_file.parse(json.dumps(tree).encode(), one.name)


# What follows knows nothing of how plans are made: it tries everything.

_Slot = tuple[str, model.Placement]
_Shape = tuple[str, ...] | None


def _mode_calls(gpu: model.Gpu, wanted: layout.GpuLayout) -> int:
    return int(gpu.mig_mode != wanted.mig_enabled)


def _created(shape: _Shape) -> int:
    return 1 + len(shape or ())


def _destroyed(instance: model.GpuInstance) -> int:
    return 1 + len(instance.compute_instances)


def _anew(gpu: model.Gpu, wanted: layout.GpuLayout) -> int:
    """Of a tool that destroys all and creates what is declared."""
    return (
        _mode_calls(gpu, wanted)
        + sum(map(_destroyed, gpu.instances))
        + sum(_created(each.compute_instances) for each in wanted.instances)
    )


def _fewest(gpu: model.Gpu, wanted: layout.GpuLayout) -> int:
    """Of all placements of all that is declared."""
    return _mode_calls(gpu, wanted) + min(
        _calls(gpu, dict(zip(slots, shapes, strict=True)))
        for slots, shapes in _ways(gpu, wanted)
    )


def _ways(
    gpu: model.Gpu, wanted: layout.GpuLayout
) -> collections.abc.Iterator[tuple[tuple[_Slot, ...], tuple[_Shape, ...]]]:
    """Every slot of every declared instance; most are had more than once."""
    places = {each.name: each.placements for each in gpu.profiles}
    options = [
        [(each.profile, each.placement)]
        if each.placement
        else [(each.profile, place) for place in places[each.profile]]
        for each in wanted.instances
    ]
    shapes = tuple(each.compute_instances for each in wanted.instances)
    for slots in _apart(options):
        yield slots, shapes


def _apart(
    options: list[list[_Slot]], taken: tuple[_Slot, ...] = ()
) -> collections.abc.Iterator[tuple[_Slot, ...]]:
    """One of each, no two of which overlap."""
    if len(taken) == len(options):
        yield taken
        return
    for slot in options[len(taken)]:
        if not any(slot[1].overlaps(place) for _, place in taken):
            yield from _apart(options, (*taken, slot))


def _calls(gpu: model.Gpu, after: dict[_Slot, _Shape]) -> int:
    before = {(each.profile, each.placement): each for each in gpu.instances}
    return sum(
        _reshaped(before[slot], after[slot])
        if slot in before and slot in after
        else _created(after[slot])
        if slot in after
        else _destroyed(before[slot])
        for slot in {*before, *after}
    )


def _reshaped(instance: model.GpuInstance, shape: _Shape) -> int:
    """At least so many, wherever the compute instances lie."""
    if shape is None:
        return 0
    have = collections.Counter(ci.profile for ci in instance.compute_instances)
    want = collections.Counter(shape)
    return (have - want).total() + (want - have).total()


def _text(calls: collections.abc.Iterable[Calls]) -> str:
    """A simple RST table."""
    return table.grid(
        ("transition", "GPU", "ours", "fewest", "all anew"),
        [
            (
                each.transition.name,
                each.transition.model,
                *map(str, (each.ours, each.fewest, each.anew)),
            )
            for each in calls
        ],
    )


def _at_the_fewest(calls: collections.abc.Collection[Calls]) -> figure.Figure:
    return figure.Figure(
        "transitions at the minimum",
        sum(each.ours == each.fewest for each in calls),
        f"of {len(calls)}",
        len(calls),
        at_least=True,
    )
