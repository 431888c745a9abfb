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
"""The verdict on a node."""

import collections
import collections.abc
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement.geometry import compare
from mig_placement.geometry import instances
from mig_placement.geometry import layout
from mig_placement.geometry import solver
from mig_placement.geometry import verdict
from mig_placement.hardware import model
from tests.unit.data import models

_R = verdict.Reason
_SEVEN = tuple(models.instance("1g.5gb", f"{at}:1") for at in range(7))


def _declared(
    profile: str, place: str = "", cis: tuple[str, ...] | None = ()
) -> instances.DeclaredInstance:
    numbers = [int(part) for part in place.split(":") if part]
    return instances.DeclaredInstance(
        profile,
        model.Placement(*numbers) if numbers else None,
        (profile,) if cis == () else cis,
    )


def _layout(
    *wanted: instances.DeclaredInstance, enabled: bool = True
) -> layout.NodeLayout:
    return layout.NodeLayout(
        "x", "l.yaml:3", {0: layout.GpuLayout(enabled, wanted, 4)}
    )


_SEVEN_WANTED = _layout(*[_declared("1g.5gb")] * 7)


def _judge(
    wanted: layout.NodeLayout,
    *have: model.GpuInstance,
    ailments: collections.abc.Collection[model.Ailment] = (),
    **changes: Any,
) -> verdict.GpuVerdict:
    node = models.node(models.gpu(instances=have, **changes))
    judged = compare.compare(node, wanted, ailments)
    assert judged.findings == ()
    (gpu,) = judged.gpus
    return gpu


def _said(judged: verdict.GpuVerdict) -> list[str]:
    return [str(finding) for finding in judged.findings]


def _sick(xid: int, gi_id: int | None = None) -> model.Ailment:
    return model.Ailment(models.gpu().uuid, xid, gi_id)


def test_a_gpu_as_declared_matches_and_is_offered() -> None:
    judged = _judge(_SEVEN_WANTED, *_SEVEN)
    assert judged.matches
    assert judged.declared
    assert judged.units == (("1g.5gb", 7),)


def test_missing_instances_are_counted() -> None:
    judged = _judge(_SEVEN_WANTED, *_SEVEN[:5])
    assert _said(judged) == ["INSTANCE_MISSING: 2 of 7 1g.5gb missing"]
    assert judged.units == (("1g.5gb", 5),)


def test_extra_instances_are_counted_with_their_slices() -> None:
    judged = _judge(_layout(*[_declared("1g.5gb")] * 5), *_SEVEN)
    assert _said(judged) == [
        "INSTANCE_EXTRA: 2x 1g.5gb more than declared at 5:1, 6:1"
    ]


def test_another_profile_is_missing_and_extra() -> None:
    judged = _judge(
        _layout(_declared("4g.20gb")), models.instance("3g.20gb", "0:4")
    )
    assert _said(judged) == [
        "INSTANCE_MISSING: 1 of 1 4g.20gb missing",
        "INSTANCE_EXTRA: 1x 3g.20gb more than declared at 0:4",
    ]


def test_an_instance_at_another_placement_is_missing_and_extra() -> None:
    judged = _judge(
        _layout(_declared("3g.20gb", "0:4")),
        models.instance("3g.20gb", "4:4"),
    )
    assert _said(judged) == [
        "INSTANCE_MISSING: 1 of 1 3g.20gb missing at 0:4",
        "INSTANCE_EXTRA: 1x 3g.20gb more than declared at 4:4",
    ]


def test_mig_on_and_empty_matches_when_nothing_is_declared() -> None:
    assert _judge(_layout()).matches
    assert _said(_judge(_layout(), _SEVEN[0])) == [
        "INSTANCE_EXTRA: 1x 1g.5gb more than declared at 0:1"
    ]


def test_mig_off_is_said_without_a_word_on_each_instance() -> None:
    judged = _judge(_SEVEN_WANTED, mig_mode=False, mig_pending=False)
    assert _said(judged) == [
        "MIG_DISABLED: MIG mode is off, 7x 1g.5gb missing"
    ]
    assert judged.units == ()
    judged = _judge(_layout(), mig_mode=False, mig_pending=False)
    assert _said(judged) == ["MIG_DISABLED: MIG mode is off"]


def test_mig_on_is_said_where_it_is_to_be_off() -> None:
    judged = _judge(_layout(enabled=False), *_SEVEN)
    assert _said(judged) == ["MIG_ENABLED: MIG mode is on, with 7x 1g.5gb"]
    assert judged.units == ()
    off = _judge(_layout(enabled=False), mig_mode=False, mig_pending=False)
    assert off.matches


def test_a_pending_mode_is_a_reason_of_its_own() -> None:
    judged = _judge(_SEVEN_WANTED, *_SEVEN, mig_pending=False)
    assert _said(judged) == [
        "MODE_PENDING: MIG mode is on and will be off after a reset of the GPU"
    ]
    judged = _judge(_layout(), mig_mode=False, mig_pending=True)
    assert [f.reason for f in judged.findings] == [
        _R.MODE_PENDING,
        _R.MIG_DISABLED,
    ]


def test_a_lost_gpu_has_nothing() -> None:
    judged = _judge(_SEVEN_WANTED, *_SEVEN, fault="GPU is lost")
    assert _said(judged) == ["GPU_LOST: GPU is lost"]
    assert judged.declared
    assert judged.units == ()


def test_a_gpu_that_vanished_is_a_finding_of_the_node() -> None:
    wanted = layout.NodeLayout(
        "x", "l.yaml:3", {1: layout.GpuLayout(True, (), 4)}
    )
    judged = compare.compare(models.node(models.gpu()), wanted)
    assert [str(finding) for finding in judged.findings] == [
        "GPU_LOST: GPU 1 is declared and has vanished"
    ]
    assert not judged.matches


def test_a_gpu_instance_without_its_compute_instance_is_not_offered() -> None:
    bare = models.instance("1g.5gb", "1:1", cis=())
    other = models.instance("1g.5gb", "2:1", cis=())
    judged = _judge(
        _layout(*[_declared("1g.5gb")] * 3), _SEVEN[0], bare, other
    )
    assert _said(judged) == [
        "COMPUTE_INSTANCE_MISSING: in 1g.5gb at 1:1, 2:1: compute instance"
        " 1x 1g.5gb missing"
    ]
    assert judged.units == (("1g.5gb", 1),)


def test_compute_instances_that_are_not_asked_for_do_not_count() -> None:
    wanted = _layout(*[_declared("3g.20gb", cis=None)] * 2)
    bare = models.instance("3g.20gb", "0:4", cis=())
    full = models.instance("3g.20gb", "4:4")
    judged = _judge(wanted, bare, full)
    assert judged.matches
    assert judged.units == (("3g.20gb", 2),)


def test_a_divided_gpu_instance_is_offered_by_compute_instance() -> None:
    small = ("2c.3g.20gb", "1c.3g.20gb")
    judged = _judge(
        _layout(_declared("3g.20gb", cis=small)),
        models.instance("3g.20gb", "0:4", cis=small[::-1]),
    )
    assert judged.matches
    assert judged.units == (("1c.3g.20gb", 1), ("2c.3g.20gb", 1))


def test_other_compute_instances_than_declared_are_missing_and_extra() -> None:
    small = ("1c.3g.20gb",) * 2
    judged = _judge(
        _layout(_declared("3g.20gb")),
        models.instance("3g.20gb", "0:4", cis=small),
    )
    assert _said(judged) == [
        "COMPUTE_INSTANCE_MISSING: in 3g.20gb at 0:4: compute instance 1x"
        " 3g.20gb missing",
        "INSTANCE_EXTRA: in 3g.20gb at 0:4: compute instance 2x 1c.3g.20gb"
        " more than declared",
    ]


def test_a_sick_instance_is_not_offered() -> None:
    judged = _judge(
        _SEVEN_WANTED, *_SEVEN, ailments=[_sick(94, 3), _sick(63, 3)]
    )
    assert [str(each) for each in judged.unfit] == [
        "INSTANCE_UNHEALTHY: 1g.5gb at 3:1: XID 63, 94"
    ]
    assert judged.matches
    assert judged.units == (("1g.5gb", 6),)


def test_nothing_of_a_sick_gpu_is_offered() -> None:
    judged = _judge(_SEVEN_WANTED, *_SEVEN, ailments=[_sick(79)])
    assert _said(judged) == ["GPU_UNHEALTHY: XID 79"]
    assert judged.units == ()


def test_ailments_of_what_is_gone_or_elsewhere_do_not_count() -> None:
    elsewhere = model.Ailment("GPU-other", 79)
    judged = _judge(_SEVEN_WANTED, *_SEVEN, ailments=[_sick(94, 9), elsewhere])
    assert judged.matches
    assert judged.units == (("1g.5gb", 7),)


_NOTHING = layout.NodeLayout("x", "l.yaml:3", {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"instances": _SEVEN[:2]},
            [
                "UNDECLARED: has 2x 1g.5gb, and the layout does not name"
                " this GPU"
            ],
        ),
        ({}, []),
        ({"mig_mode": False, "mig_pending": False}, []),
        ({"mig_capable": False, "mig_mode": False}, []),
        ({"fault": "GPU is lost"}, ["GPU_LOST: GPU is lost"]),
    ],
)
def test_nothing_of_an_undeclared_gpu_is_offered(
    changes: dict[str, Any], said: list[str]
) -> None:
    judged = compare.compare(models.node(models.gpu(**changes)), _NOTHING)
    (gpu,) = judged.gpus
    assert _said(gpu) == said
    assert not gpu.declared
    assert gpu.units == ()
    assert judged.matches


def test_each_gpu_is_judged_alone() -> None:
    node = models.node(
        models.gpu(instances=_SEVEN), models.gpu(index=1, instances=())
    )
    wanted = layout.NodeLayout(
        "x",
        "l.yaml:3",
        {0: _SEVEN_WANTED.gpus[0], 1: _SEVEN_WANTED.gpus[0]},
    )
    judged = compare.compare(node, wanted)
    assert [gpu.matches for gpu in judged.gpus] == [True, False]
    assert not judged.matches


@st.composite
def _geometry(draw: st.DrawFn) -> tuple[solver.Located, ...]:
    """What a GPU of some model may have, placed in some way."""
    profiles = models.profiles(models.A100)
    names = [profile.name for profile in profiles]
    counts: dict[str, int] = {}
    for name in draw(st.lists(st.sampled_from(names), max_size=8)):
        more = {**counts, name: counts.get(name, 0) + 1}
        if solver.solve(profiles, more) is not None:
            counts = more
    ways = list(solver.assignments(profiles, counts))
    return draw(st.sampled_from(ways))


def _observed(
    geometry: collections.abc.Iterable[solver.Located],
) -> tuple[model.GpuInstance, ...]:
    return tuple(
        models.instance(each.profile, str(each.placement)) for each in geometry
    )


@hypothesis.given(_geometry(), _geometry(), st.data())
@hypothesis.settings(max_examples=150, deadline=None)
def test_a_gpu_matches_exactly_when_it_has_what_is_declared(
    wanted: tuple[solver.Located, ...],
    have: tuple[solver.Located, ...],
    data: st.DataObject,
) -> None:
    fixed = data.draw(st.frozensets(st.sampled_from(wanted))) if wanted else ()
    declared = [
        _declared(e.profile, str(e.placement) if e in fixed else "")
        for e in wanted
    ]
    judged = _judge(_layout(*declared), *_observed(have))
    same = collections.Counter(e.profile for e in wanted) == (
        collections.Counter(e.profile for e in have)
    )
    assert judged.matches is (same and set(fixed) <= set(have))
    have_counts = collections.Counter(e.profile for e in have)
    assert dict(judged.units) == dict(have_counts)


@hypothesis.given(_geometry(), st.data())
@hypothesis.settings(max_examples=100, deadline=None)
def test_no_more_is_ever_offered_than_is_there_and_fit(
    have: tuple[solver.Located, ...], data: st.DataObject
) -> None:
    observed = tuple(
        model.GpuInstance(
            gi_id=instance.gi_id,
            profile=instance.profile,
            placement=instance.placement,
            compute_instances=instance.compute_instances
            if data.draw(st.booleans())
            else (),
        )
        for instance in _observed(have)
    )
    ids = [99, *(instance.gi_id for instance in observed)]
    sick = data.draw(st.sets(st.sampled_from(ids)))
    judged = _judge(
        _layout(*[_declared(e.profile) for e in have]),
        *observed,
        ailments=[_sick(94, gi_id) for gi_id in sick],
    )
    fit = collections.Counter(
        instance.profile
        for instance in observed
        if instance.compute_instances and instance.gi_id not in sick
    )
    assert dict(judged.units) == dict(fit)
    assert judged.matches is all(e.compute_instances for e in observed)
    assert len(judged.unfit) == sum(e.gi_id in sick for e in observed)
