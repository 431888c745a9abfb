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
"""Plans, executed on a model of what the hardware allows."""

import collections.abc
import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement.geometry import compare
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import layout
from mig_placement.geometry import matching
from mig_placement.geometry import plan
from mig_placement.geometry import solver
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.hardware import model
from tests.unit.data import models

Located = target.Located
_DIVIDED = ("1c.3g.20gb",) * 3


def _size(ci: str, slices: int) -> int:
    compute, dot, _ = ci.partition("c.")
    return int(compute) if dot else slices


@dataclasses.dataclass
class _Instance:
    """A GPU instance; ``old`` are CIs that lie nobody knows where."""

    gi_id: int
    cis: list[model.ComputeInstance]
    old: list[model.ComputeInstance]


class _Hardware:
    """One GPU that refuses what NVML would refuse."""

    def __init__(self, gpu: model.Gpu, pinned: frozenset[Located]) -> None:
        self._gpu = gpu
        self._pinned = pinned
        self._by_name = {each.name: each for each in gpu.profiles}
        self._last_id = 1000
        self.mode, self.pending = gpu.mig_mode, gpu.mig_pending
        self.instances = {
            target.located(each): _Instance(
                each.gi_id,
                list(each.compute_instances),
                list(each.compute_instances),
            )
            for each in gpu.instances
        }

    def run(self, todo: collections.abc.Iterable[steps.Step]) -> None:
        for step in todo:
            match step:
                case steps.SetMode(enable):
                    self._set_mode(enable)
                case steps.DestroyComputeInstance(gi_id, ci):
                    self._destroy_ci(gi_id, ci)
                case steps.DestroyGpuInstance(gi_id, slot):
                    self._destroy_gi(gi_id, slot)
                case steps.CreateGpuInstance(slot):
                    self._create_gi(slot)
                case steps.CreateComputeInstance(slot, profile):
                    self._create_ci(slot, profile)

    def _set_mode(self, enable: bool) -> None:
        assert not (enable == self.pending == self.mode)
        assert enable or not self.instances
        self.pending = enable
        if not self.instances:
            self.mode = enable

    def _destroy_ci(self, gi_id: int, ci: model.ComputeInstance) -> None:
        (slot,) = [s for s, i in self.instances.items() if i.gi_id == gi_id]
        assert slot not in self._pinned, "in use"
        self.instances[slot].cis.remove(ci)
        if ci in self.instances[slot].old:
            self.instances[slot].old.remove(ci)

    def _destroy_gi(self, gi_id: int, slot: Located) -> None:
        assert slot not in self._pinned, "in use"
        gone = self.instances.pop(slot)
        assert gone.gi_id == gi_id
        assert not gone.cis, "a compute instance is left"

    def _create_gi(self, slot: Located) -> None:
        self.mode = self.pending
        assert self.mode, "MIG mode is off"
        now = [*self.instances, slot]
        assert solver.solve(self._gpu.profiles, {}, now) is not None, "no room"
        self._last_id += 1
        self.instances[slot] = _Instance(self._last_id, [], [])

    def _create_ci(self, slot: Located, profile: str) -> None:
        instance = self.instances[slot]
        slices = self._by_name[slot.profile].slices
        new = _size(profile, slices)
        taken = sum(_size(each.profile, slices) for each in instance.cis)
        assert taken + new <= slices, "no room"
        # One of several slices may find those that stay in its way.
        assert new == 1 or not instance.old or slot in self._pinned
        ids = {each.ci_id for each in instance.cis}
        free = min(set(range(len(ids) + 1)) - ids)
        instance.cis.append(model.ComputeInstance(free, profile))

    def observed(self) -> model.Gpu:
        return dataclasses.replace(
            self._gpu,
            mig_mode=self.mode,
            mig_pending=self.pending,
            instances=tuple(
                model.GpuInstance(
                    each.gi_id, slot.profile, slot.placement, tuple(each.cis)
                )
                for slot, each in sorted(self.instances.items())
            ),
        )


@dataclasses.dataclass(frozen=True)
class _Case:
    gpu: model.Gpu
    wanted: layout.GpuLayout
    in_use: tuple[gpu_plan.InUse, ...] = ()
    allowed: frozenset[tuple[int, Located]] = frozenset()

    @property
    def layout(self) -> layout.NodeLayout:
        return layout.NodeLayout("label", "file", {0: self.wanted})

    @property
    def pinned(self) -> frozenset[Located]:
        return frozenset(
            each.slot
            for each in self.in_use
            if (0, each.slot) not in self.allowed
        )

    def plan(self) -> gpu_plan.GpuPlan:
        (found,) = plan.plan(
            models.node(self.gpu), self.layout, self.in_use, self.allowed
        )
        return found

    def executed(self) -> "_Case":
        """The same layout and use, after the plan."""
        hardware = _Hardware(self.gpu, self.pinned)
        hardware.run(self.plan().steps)
        return dataclasses.replace(self, gpu=hardware.observed())

    def matches(self) -> bool:
        return compare.compare(models.node(self.gpu), self.layout).matches


def _shape(
    draw: st.DrawFn, profile: model.Profile, divided: bool
) -> tuple[str, ...]:
    """What fits in this order; a 2c beside 1c at most."""
    if not divided or profile.slices == 1 or draw(st.booleans()):
        return (profile.name,) if draw(st.integers(0, 3)) else ()
    doubles = draw(st.integers(0, int(profile.slices > 2)))
    singles = draw(st.integers(0, profile.slices - 2 * doubles))
    return (f"2c.{profile.name}",) * doubles + (
        f"1c.{profile.name}",
    ) * singles


def _geometry(draw: st.DrawFn, name: str) -> list[Located]:
    """Any that is possible, by adding what fits."""
    profiles = models.profiles(name)
    places = [
        Located(each.name, place)
        for each in profiles
        for place in each.placements
    ]
    have: list[Located] = []
    for each in draw(st.lists(st.sampled_from(places), max_size=9)):
        if solver.solve(profiles, {}, [*have, each]) is not None:
            have.append(each)
    return sorted(have)


@st.composite
def _layouts(
    draw: st.DrawFn, name: str, existing: list[Located]
) -> layout.GpuLayout:
    if draw(st.integers(0, 9)) == 0:
        return layout.GpuLayout(False, (), 1)
    by_name = {each.name: each for each in models.profiles(name)}
    divided = draw(st.booleans())
    # compute-instances: false is of the whole entry.
    asked = divided or draw(st.booleans())
    wanted = _geometry(draw, name)
    if draw(st.integers(0, 3)) == 0:
        wanted = existing
    return layout.GpuLayout(
        True,
        tuple(
            layout.DeclaredInstance(
                each.profile,
                each.placement if draw(st.integers(0, 4)) == 0 else None,
                # A layout never asks for no compute instance at all.
                _shape(draw, by_name[each.profile], divided) or (each.profile,)
                if asked
                else None,
            )
            for each in wanted
        ),
        1,
    )


def _instances(
    draw: st.DrawFn, name: str, existing: list[Located]
) -> tuple[model.GpuInstance, ...]:
    by_name = {each.name: each for each in models.profiles(name)}
    divided = draw(st.booleans())
    return tuple(
        models.instance(
            each.profile,
            str(each.placement),
            _shape(draw, by_name[each.profile], divided),
            gi_id=number,
        )
        for number, each in enumerate(existing)
    )


@st.composite
def _cases(draw: st.DrawFn, *, used: bool = True) -> _Case:
    name = draw(st.sampled_from(models.NAMES))
    mode = draw(st.integers(0, 3)) > 0
    existing = _geometry(draw, name) if mode else []
    gpu = models.gpu(
        name,
        mig_mode=mode,
        mig_pending=mode if draw(st.integers(0, 3)) else not mode,
        instances=_instances(draw, name, existing),
    )
    wanted = draw(_layouts(name, existing))
    slots = st.sampled_from(existing) if used and existing else st.nothing()
    in_use = draw(st.sets(slots)) if used else set()
    allowed = draw(st.sets(slots)) if used else set()
    return _Case(
        gpu,
        wanted,
        tuple(gpu_plan.InUse(0, each, "a process") for each in sorted(in_use)),
        frozenset((0, each) for each in allowed),
    )


_settings = hypothesis.settings(max_examples=300, deadline=None)


@hypothesis.given(_cases())
@_settings
def test_the_hardware_takes_every_step_and_ends_as_planned(
    case: _Case,
) -> None:
    done = case.executed()
    located = sorted(
        map(target.located, done.gpu.instances),
        key=lambda each: (each.placement, each.profile),
    )
    assert tuple(located) == case.plan().after


@hypothesis.given(_cases())
@_settings
def test_nothing_is_left_to_do_after_a_plan(case: _Case) -> None:
    again = case.executed().plan()
    assert again.steps == ()
    assert again.disturbed == ()
    assert (again.missing, again.waiting) == (
        case.plan().missing,
        case.plan().waiting,
    )


@hypothesis.given(_cases())
@_settings
def test_the_layout_is_reached_where_nothing_waits(case: _Case) -> None:
    todo = case.plan()
    done = case.executed()
    assert done.matches() is (not todo.waiting and not todo.missing)


@hypothesis.given(_cases(used=False))
@_settings
def test_no_steps_are_due_exactly_where_the_node_matches(
    case: _Case,
) -> None:
    todo = case.plan()
    assert not todo.missing
    assert not todo.waiting
    assert case.matches() is (not todo.steps)


@hypothesis.given(_cases())
@_settings
def test_what_is_kept_stays_the_same_instance(case: _Case) -> None:
    todo = case.plan()
    after = {
        target.located(each): each for each in case.executed().gpu.instances
    }
    for each in case.gpu.instances:
        slot = target.located(each)
        if slot in case.pinned:
            assert set(each.compute_instances) <= set(
                after[slot].compute_instances
            )
        if slot in todo.after:
            assert after[slot].gi_id == each.gi_id


@hypothesis.given(_cases())
@_settings
def test_an_instance_as_declared_is_not_touched(case: _Case) -> None:
    """Counted: as many as can be have no step at all."""
    todo = case.plan()
    if not case.wanted.mig_enabled or case.in_use:
        return
    kept = [
        each
        for each in case.gpu.instances
        if target.located(each) in todo.after
    ]
    matched = matching.match(case.wanted.instances, kept)
    as_declared = [
        instance
        for wanted, instance in matched.pairs
        if matching.has_declared_cis(wanted, instance)
    ]
    touched = {
        step.gi_id
        for step in todo.steps
        if isinstance(step, steps.DestroyComputeInstance)
    } | {
        next(i.gi_id for i in kept if target.located(i) == step.slot)
        for step in todo.steps
        if isinstance(step, steps.CreateComputeInstance)
        and step.slot in map(target.located, kept)
    }
    assert len({i.gi_id for i in kept} - touched) >= len(as_declared)


@hypothesis.given(_cases())
@_settings
def test_what_waited_is_all_that_goes_when_it_is_free(case: _Case) -> None:
    first = case.plan()
    freed = dataclasses.replace(case.executed(), in_use=())
    gone = [
        step
        for step in freed.plan().steps
        if isinstance(step, steps.DestroyGpuInstance)
    ]
    assert len(gone) <= len(first.waiting)
    assert freed.plan().missing == ()


@hypothesis.given(_cases())
@_settings
def test_disturbed_is_exactly_what_is_in_use_and_loses_something(
    case: _Case,
) -> None:
    todo = case.plan()
    by_id = {each.gi_id: target.located(each) for each in case.gpu.instances}
    lost = {
        by_id[step.gi_id]
        for step in todo.steps
        if isinstance(
            step, steps.DestroyComputeInstance | steps.DestroyGpuInstance
        )
    }
    assert {e.slot for e in todo.disturbed} == lost & {
        e.slot for e in case.in_use
    }
    assert {(0, each.slot) for each in todo.disturbed} <= case.allowed


def _lines(todo: gpu_plan.GpuPlan) -> list[str]:
    return [str(step) for step in todo.steps]


def _declared(
    *wanted: str, shape: tuple[str, ...] | None = ("",)
) -> layout.GpuLayout:
    """``3g.20gb`` or ``3g.20gb@4:4``, each with its full CI or ``shape``."""
    found = []
    for text in wanted:
        profile, at, place = text.partition("@")
        start_size = [int(part) for part in place.split(":")] if at else []
        found.append(
            layout.DeclaredInstance(
                profile,
                model.Placement(*start_size) if at else None,
                (profile,) if shape == ("",) else shape,
            )
        )
    return layout.GpuLayout(True, tuple(found), 1)


def _used(*slots: str) -> tuple[gpu_plan.InUse, ...]:
    found = []
    for text in slots:
        profile, _, place = text.partition("@")
        start, size = map(int, place.split(":"))
        slot = Located(profile, model.Placement(start, size))
        found.append(gpu_plan.InUse(0, slot, "a process"))
    return tuple(found)


_TWO_3G = models.gpu(
    instances=(
        models.instance("3g.20gb", "0:4", gi_id=2),
        models.instance("3g.20gb", "4:4", gi_id=1),
    )
)
_MIXED = _declared("1g.5gb", "1g.5gb", "1g.5gb", "4g.20gb")
_DESTROY_FIRST = [
    "destroy compute instance 0 (3g.20gb) of GPU instance 2",
    "destroy GPU instance 2 (3g.20gb at 0:4)",
]
_DESTROY_SECOND = [
    "destroy compute instance 0 (3g.20gb) of GPU instance 1",
    "destroy GPU instance 1 (3g.20gb at 4:4)",
]
_CREATE_4G = [
    "create GPU instance 4g.20gb at 0:4",
    "create compute instance 4g.20gb in 4g.20gb at 0:4",
]
_CREATE_1G = [
    line
    for at in (4, 5, 6)
    for line in (
        f"create GPU instance 1g.5gb at {at}:1",
        f"create compute instance 1g.5gb in 1g.5gb at {at}:1",
    )
]


def test_2x_3g_to_3x_1g_and_4g_with_none_in_use_takes_all_steps() -> None:
    todo = _Case(_TWO_3G, _MIXED).plan()
    assert _lines(todo) == (
        _DESTROY_FIRST + _DESTROY_SECOND + _CREATE_4G + _CREATE_1G
    )
    assert (todo.missing, todo.waiting, todo.disturbed) == ((), (), ())


def test_with_the_first_3g_in_use_the_1g_come_and_the_4g_waits() -> None:
    used = _used("3g.20gb@0:4")
    todo = _Case(_TWO_3G, _MIXED, used).plan()
    assert _lines(todo) == _DESTROY_SECOND + _CREATE_1G
    assert todo.missing == ("4g.20gb",)
    assert todo.waiting == used


def test_with_the_second_3g_in_use_the_4g_comes_and_the_1g_wait() -> None:
    used = _used("3g.20gb@4:4")
    todo = _Case(_TWO_3G, _MIXED, used).plan()
    assert _lines(todo) == _DESTROY_FIRST + _CREATE_4G
    assert todo.missing == ("1g.5gb",) * 3
    assert todo.waiting == used


def test_with_both_3g_in_use_nothing_is_done() -> None:
    used = _used("3g.20gb@0:4", "3g.20gb@4:4")
    todo = _Case(_TWO_3G, _MIXED, used).plan()
    assert todo.steps == ()
    assert todo.waiting == used


def test_what_is_in_use_goes_where_the_operator_names_it() -> None:
    used = _used("3g.20gb@0:4", "3g.20gb@4:4")
    named = frozenset({(0, used[0].slot)})
    todo = _Case(_TWO_3G, _MIXED, used, named).plan()
    assert _lines(todo) == _DESTROY_FIRST + _CREATE_4G
    assert todo.disturbed == used[:1]
    assert todo.waiting == used[1:]


def test_a_name_for_another_gpu_allows_nothing_here() -> None:
    used = _used("3g.20gb@0:4")
    named = frozenset({(1, used[0].slot)})
    assert _Case(_TWO_3G, _MIXED, used, named).plan().disturbed == ()


def test_what_is_in_use_on_another_gpu_does_not_pin_this_one() -> None:
    elsewhere = tuple(
        dataclasses.replace(each, gpu_index=1) for each in _used("3g.20gb@0:4")
    )
    assert not _Case(_TWO_3G, _MIXED, elsewhere).plan().waiting


def test_use_of_an_instance_that_is_gone_pins_nothing() -> None:
    empty = models.gpu(mig_mode=True, mig_pending=True)
    off = layout.GpuLayout(False, (), 1)
    used = _used("3g.20gb@0:4")
    todo = _Case(empty, off, used).plan()
    assert _lines(todo) == ["switch MIG mode off"]
    assert (todo.waiting, todo.disturbed) == ((), ())


def test_a_whole_instance_is_divided_without_destroying_it() -> None:
    gpu = models.gpu(instances=(models.instance("3g.20gb", "4:4"),))
    todo = _Case(gpu, _declared("3g.20gb", shape=_DIVIDED)).plan()
    assert _lines(todo) == [
        "destroy compute instance 0 (3g.20gb) of GPU instance 4",
        *["create compute instance 1c.3g.20gb in 3g.20gb at 4:4"] * 3,
    ]


def test_a_compute_instance_that_was_left_out_is_added() -> None:
    gpu = models.gpu(
        instances=(models.instance("3g.20gb", "4:4", _DIVIDED[:2]),)
    )
    todo = _Case(gpu, _declared("3g.20gb", shape=_DIVIDED)).plan()
    assert _lines(todo) == [
        "create compute instance 1c.3g.20gb in 3g.20gb at 4:4"
    ]


def test_an_instance_in_use_gets_what_it_lacks_and_loses_nothing() -> None:
    used = _used("3g.20gb@4:4")
    lacking = models.gpu(
        instances=(models.instance("3g.20gb", "4:4", _DIVIDED[:2]),)
    )
    whole = models.gpu(instances=(models.instance("3g.20gb", "4:4"),))
    wanted = _declared("3g.20gb", shape=_DIVIDED)
    assert len(_Case(lacking, wanted, used).plan().steps) == 1
    assert _Case(lacking, wanted, used).plan().waiting == ()
    assert _Case(whole, wanted, used).plan().steps == ()
    assert _Case(whole, wanted, used).plan().waiting == used


def test_an_instance_with_a_vm_gets_nothing_from_the_host() -> None:
    (used,) = _used("3g.20gb@4:4")
    vm = (dataclasses.replace(used, vm=True),)
    bare = models.gpu(instances=(models.instance("3g.20gb", "4:4", ()),))
    whole = models.gpu(instances=(models.instance("3g.20gb", "4:4"),))
    wanted = _declared("3g.20gb")
    assert _Case(bare, wanted, vm).plan().steps == ()
    assert _Case(bare, wanted, vm).plan().waiting == vm
    assert _Case(whole, wanted, vm).plan().waiting == ()


def test_dividing_an_instance_in_use_disturbs_it() -> None:
    gpu = models.gpu(instances=(models.instance("3g.20gb", "4:4"),))
    used = _used("3g.20gb@4:4")
    named = frozenset({(0, used[0].slot)})
    wanted = _declared("3g.20gb", shape=_DIVIDED)
    assert _Case(gpu, wanted, used, named).plan().disturbed == used


def test_a_2c_is_not_created_between_1c_that_stay() -> None:
    """Where they lie is not observed, and a 2c has one place in a 3g."""
    gpu = models.gpu(instances=(models.instance("3g.20gb", "4:4", _DIVIDED),))
    wanted = _declared("3g.20gb", shape=("2c.3g.20gb", "1c.3g.20gb"))
    assert _lines(_Case(gpu, wanted).plan()) == [
        "destroy compute instance 0 (1c.3g.20gb) of GPU instance 4",
        "destroy compute instance 1 (1c.3g.20gb) of GPU instance 4",
        "destroy compute instance 2 (1c.3g.20gb) of GPU instance 4",
        "create compute instance 2c.3g.20gb in 3g.20gb at 4:4",
        "create compute instance 1c.3g.20gb in 3g.20gb at 4:4",
    ]


@pytest.mark.parametrize("shape", [(), ("3g.20gb",), _DIVIDED])
def test_without_compute_instances_asked_for_any_are_right(
    shape: tuple[str, ...],
) -> None:
    gpu = models.gpu(instances=(models.instance("3g.20gb", "4:4", shape),))
    assert _Case(gpu, _declared("3g.20gb", shape=None)).plan().steps == ()


def test_without_compute_instances_asked_for_none_is_made() -> None:
    todo = _Case(models.gpu(), _declared("3g.20gb@4:4", shape=None)).plan()
    assert _lines(todo) == ["create GPU instance 3g.20gb at 4:4"]


def test_a_ci_whose_name_lacks_the_attribute_is_the_declared_one() -> None:
    gpu = models.gpu(
        instances=(models.instance("1g.5gb+me", "0:1", ("1g.5gb",)),)
    )
    case = _Case(gpu, _declared("1g.5gb+me"))
    assert case.matches()
    assert case.plan().steps == ()


def test_an_instance_moves_where_its_placement_is_declared() -> None:
    gpu = models.gpu(instances=(models.instance("1g.5gb", "0:1"),))
    assert _lines(_Case(gpu, _declared("1g.5gb@6:1")).plan()) == [
        "destroy compute instance 0 (1g.5gb) of GPU instance 0",
        "destroy GPU instance 0 (1g.5gb at 0:1)",
        "create GPU instance 1g.5gb at 6:1",
        "create compute instance 1g.5gb in 1g.5gb at 6:1",
    ]


@pytest.mark.parametrize(
    ("mode", "pending", "enable", "steps"),
    [
        (False, False, True, ["switch MIG mode on"]),
        (False, True, True, ["switch MIG mode on"]),
        (True, False, True, ["switch MIG mode on"]),
        (True, True, True, []),
        (False, False, False, []),
        (False, True, False, ["switch MIG mode off"]),
        (True, False, False, ["switch MIG mode off"]),
        (True, True, False, ["switch MIG mode off"]),
    ],
)
def test_the_mode_is_switched_where_it_is_not_as_declared_for_good(
    mode: bool, pending: bool, enable: bool, steps: list[str]
) -> None:
    gpu = models.gpu(mig_mode=mode, mig_pending=pending)
    case = _Case(gpu, layout.GpuLayout(enable, (), 1))
    assert _lines(case.plan()) == steps


def test_the_mode_is_on_before_anything_is_created() -> None:
    gpu = models.gpu(mig_mode=False, mig_pending=False)
    first, *_ = _lines(_Case(gpu, _MIXED).plan())
    assert first == "switch MIG mode on"


def test_the_mode_goes_off_after_all_instances() -> None:
    off = layout.GpuLayout(False, (), 1)
    assert _lines(_Case(_TWO_3G, off).plan()) == [
        *_DESTROY_FIRST,
        *_DESTROY_SECOND,
        "switch MIG mode off",
    ]


def test_the_mode_stays_on_while_an_instance_is_in_use() -> None:
    off = layout.GpuLayout(False, (), 1)
    used = _used("3g.20gb@0:4")
    todo = _Case(_TWO_3G, off, used).plan()
    assert _lines(todo) == _DESTROY_SECOND
    assert todo.waiting == used


def test_gpus_that_are_lost_incapable_or_undeclared_have_no_plan() -> None:
    wanted = layout.NodeLayout(
        "label", "file", dict.fromkeys((0, 1, 2), _MIXED)
    )
    node = models.node(
        models.gpu(index=0),
        models.gpu(index=1, fault="GPU is lost"),
        models.gpu(index=2, mig_capable=False),
        models.gpu(index=3),
    )
    assert [each.gpu.index for each in plan.plan(node, wanted)] == [0]
