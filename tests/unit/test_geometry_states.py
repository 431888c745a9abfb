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
"""How each instance of a GPU compares with the layout."""

from typing import Any

import pytest

from mig_placement.geometry import layout
from mig_placement.geometry import states
from mig_placement.hardware import model
from tests.unit.data import models

State = states.State


def _wanted(*instances: str) -> layout.GpuLayout:
    """Each ``profile`` or ``profile@start:size``."""
    return layout.GpuLayout(True, tuple(map(_declared, instances)), 1)


def _declared(text: str) -> layout.DeclaredInstance:
    profile, at, place = text.partition("@")
    start, _, size = place.partition(":")
    placement = model.Placement(int(start), int(size)) if at else None
    return layout.DeclaredInstance(profile, placement, (profile,))


def _gpu(*instances: model.GpuInstance, **changes: Any) -> model.Gpu:
    return models.gpu(instances=instances, **changes)


def _node(wanted: layout.GpuLayout) -> layout.NodeLayout:
    return layout.NodeLayout("label", "file:1", {0: wanted})


def _drawn(gpu: model.Gpu, wanted: layout.GpuLayout) -> list[str]:
    return [
        f"{each.slot.profile}@{each.slot.placement}"
        + ("" if each.there else "?")
        for each in states.declared(gpu, wanted)
    ]


def test_what_may_lie_anywhere_lies_where_it_is() -> None:
    gpu = _gpu(models.instance("1g.5gb", "5:1"))
    wanted = _wanted("1g.5gb")
    assert _drawn(gpu, wanted) == ["1g.5gb@5:1"]
    assert states.observed(gpu, _node(wanted)) == {5: State.OK}


def test_what_is_missing_lies_where_a_restore_would_put_it() -> None:
    gpu = _gpu(models.instance("3g.20gb", "0:4"))
    assert _drawn(gpu, _wanted("3g.20gb", "3g.20gb")) == [
        "3g.20gb@0:4",
        "3g.20gb@4:4?",
    ]


def test_one_that_lies_elsewhere_is_missing_and_extra() -> None:
    gpu = _gpu(models.instance("1g.5gb", "2:1"))
    wanted = _wanted("1g.5gb@0:1")
    assert _drawn(gpu, wanted) == ["1g.5gb@0:1?"]
    assert states.observed(gpu, _node(wanted)) == {2: State.EXTRA}


def test_one_that_is_in_the_way_of_the_others_has_to_move() -> None:
    gpu = _gpu(models.instance("1g.5gb", "0:1"))
    wanted = _wanted("1g.5gb", "4g.20gb")
    assert "4g.20gb@0:4?" in _drawn(gpu, wanted)
    assert states.observed(gpu, _node(wanted)) == {0: State.MOVES}


def test_other_compute_instances_are_amiss() -> None:
    gpu = _gpu(models.instance("1g.5gb", "0:1", ()))
    wanted = _node(_wanted("1g.5gb"))
    assert states.observed(gpu, wanted) == {0: State.AMISS}


def test_a_gpu_that_the_layout_does_not_name_has_only_extra_ones() -> None:
    gpu = _gpu(models.instance("1g.5gb", "0:1"))
    assert states.observed(gpu, layout.NodeLayout("label", "f:1", {})) == {
        0: State.EXTRA
    }
    assert states.declared(gpu, None) == ()


@pytest.mark.parametrize("fault", [None, "fell off the bus"])
def test_without_a_layout_or_an_answer_nothing_is_known(
    fault: str | None,
) -> None:
    gpu = _gpu(models.instance("1g.5gb", "0:1"), fault=fault)
    wanted = _node(_wanted("1g.5gb")) if fault else None
    assert states.observed(gpu, wanted) == {0: State.UNKNOWN}


def test_what_cannot_be_placed_is_drawn_where_it_is_declared() -> None:
    gpu = _gpu(models.instance("1g.5gb", "6:1"))
    wanted = _wanted("7g.40gb@0:8", "1g.5gb")
    assert _drawn(gpu, wanted) == ["7g.40gb@0:8?", "1g.5gb@6:1"]


def test_an_xid_of_the_gpu_concerns_each_of_its_instances() -> None:
    gpu = _gpu()
    found = [
        model.Ailment(gpu.uuid, 79),
        model.Ailment(gpu.uuid, 94, 2),
        model.Ailment("another", 48),
    ]
    assert states.xids(gpu, found, 2) == [79, 94]
    assert states.xids(gpu, found, 3) == [79]
