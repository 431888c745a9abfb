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
"""What XIDs make unfit, and until when."""

import dataclasses

from mig_placement.hardware import health
from mig_placement.hardware import model
from tests.unit import pictures

_NONE: health.Marks = frozenset()


def _node(*gpus: model.Gpu) -> model.Node:
    return model.Node("580", gpus)


def _with_uuid(gpu: model.Gpu, uuid: str) -> model.Gpu:
    instances = tuple(
        dataclasses.replace(
            each,
            compute_instances=(model.ComputeInstance(0, each.profile, uuid),),
        )
        for each in gpu.instances
    )
    return dataclasses.replace(gpu, instances=instances)


def _with_uuids(gpu: model.Gpu, *uuids: str) -> model.Gpu:
    """Each instance with these compute instances."""
    instances = tuple(
        dataclasses.replace(
            each,
            compute_instances=tuple(
                model.ComputeInstance(n, f"1c.{each.profile}", uuid)
                for n, uuid in enumerate(uuids)
            ),
        )
        for each in gpu.instances
    )
    return dataclasses.replace(gpu, instances=instances)


_GPU = _with_uuid(pictures.gpu(0, 2), "MIG-1")
_XID = model.Event("GPU-0", xid=79)
_XID_ON_GI = model.Event("GPU-0", xid=94, gi_id=1)


def _after(event: model.Event, *later: model.Gpu) -> frozenset[model.Ailment]:
    marks = health.record(_NONE, [event], _node(_GPU), {31})
    for gpu in later:
        marks = health.still_there(marks, _node(gpu))
    return health.ailments(marks)


def test_an_xid_marks_the_gpu() -> None:
    assert _after(_XID, _GPU) == {model.Ailment("GPU-0", 79)}


def test_an_xid_on_an_instance_marks_the_instance() -> None:
    assert _after(_XID_ON_GI, _GPU) == {model.Ailment("GPU-0", 94, 1)}


def test_an_ignored_xid_marks_nothing() -> None:
    assert _after(model.Event("GPU-0", xid=31)) == set()


def test_a_configuration_change_marks_nothing() -> None:
    assert _after(model.Event("GPU-0")) == set()


def test_an_event_from_nowhere_marks_nothing() -> None:
    assert _after(model.Event("", xid=79)) == set()


def test_an_instance_that_was_created_anew_is_fit() -> None:
    again = _with_uuid(pictures.gpu(0, 2), "MIG-2")
    assert _after(_XID_ON_GI, again) == set()


def test_a_destroyed_instance_takes_its_mark_along() -> None:
    assert _after(_XID_ON_GI, pictures.gpu(0, 1)) == set()


def test_a_gpu_that_was_taken_out_takes_its_mark_along() -> None:
    assert _after(_XID, dataclasses.replace(_GPU, uuid="GPU-9")) == set()


def test_a_gpu_that_does_not_answer_keeps_its_marks() -> None:
    lost = dataclasses.replace(_GPU, fault="lost", instances=())
    assert _after(_XID_ON_GI, lost, _GPU) == {model.Ailment("GPU-0", 94, 1)}


def test_an_instance_with_one_compute_instance_made_anew_stays_unfit() -> None:
    first, second, third = (
        _with_uuids(_GPU, "MIG-1", "MIG-2"),
        _with_uuids(_GPU, "MIG-1", "MIG-3"),
        _with_uuids(_GPU, "MIG-4", "MIG-3"),
    )
    assert _after(_XID_ON_GI, first, second, third) == {
        model.Ailment("GPU-0", 94, 1)
    }


def test_an_instance_whose_compute_instances_are_all_new_is_fit() -> None:
    assert not _after(
        _XID_ON_GI,
        _with_uuids(_GPU, "MIG-1", "MIG-2"),
        _with_uuids(_GPU, "MIG-3", "MIG-4"),
    )


def test_an_instance_without_compute_instances_stays_unfit() -> None:
    bare = _with_uuids(_GPU)
    marks = health.record(_NONE, [_XID_ON_GI], _node(bare), {31})
    marks = health.still_there(marks, _node(bare))
    assert health.ailments(marks) == {model.Ailment("GPU-0", 94, 1)}


def _after_a_fault(*later: model.Gpu) -> frozenset[model.Ailment]:
    """The XID comes while the GPU does not answer."""
    lost = dataclasses.replace(_GPU, fault="lost", instances=())
    marks = health.record(_NONE, [_XID_ON_GI], _node(lost), {31})
    for gpu in (lost, *later):
        marks = health.still_there(marks, _node(gpu))
    return health.ailments(marks)


def test_an_xid_in_a_fault_marks_the_instance_seen_after_it() -> None:
    assert _after_a_fault(_GPU, _GPU) == {model.Ailment("GPU-0", 94, 1)}


def test_an_xid_in_a_fault_marks_nothing_that_is_made_later() -> None:
    again = _with_uuid(_GPU, "MIG-2")
    assert _after_a_fault(_GPU, again) == set()
    assert _after_a_fault(pictures.gpu(0, 1), _GPU) == set()


def test_a_gpu_that_has_not_answered_yet_keeps_its_marks() -> None:
    # As after a restart of the agent.
    unknown = model.Gpu(index=0, fault="lost")
    assert _after(_XID_ON_GI, unknown, _GPU) == {model.Ailment("GPU-0", 94, 1)}
