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
"""Which GPUs and instances XIDs made unfit, and until when; pure."""

import collections.abc
import dataclasses

from mig_placement.hardware import model


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """An ailment and what it was seen on.

    :ivar identity: tells an instance from another one that was created
        later under the same id; empty for a whole GPU.
    """

    ailment: model.Ailment
    identity: tuple[str, ...] = ()


Marks = frozenset[Mark]


def ailments(marks: Marks) -> frozenset[model.Ailment]:
    return frozenset(mark.ailment for mark in marks)


def record(
    marks: Marks,
    events: collections.abc.Iterable[model.Event],
    node: model.Node,
    ignored: collections.abc.Container[int],
) -> Marks:
    """The marks after events.

    An event without a UUID came from a GPU that does not answer any more;
    the observation shows that one as lost.
    """
    new = {
        Mark(ailment, _identity(ailment, node) or ())
        for event in events
        if event.xid is not None and event.xid not in ignored
        for ailment in [model.Ailment(event.gpu_uuid, event.xid, event.gi_id)]
        if event.gpu_uuid
    }
    return marks | new


def still_there(marks: Marks, node: model.Node) -> Marks:
    """The marks less those whose GPU or instance has gone or is a new one.

    A GPU that does not answer keeps its marks.
    """
    faulty = {gpu.uuid for gpu in node.gpus if gpu.fault}
    return frozenset(
        mark
        for mark in marks
        if mark.ailment.gpu_uuid in faulty
        or _identity(mark.ailment, node) == mark.identity
    )


def _identity(
    ailment: model.Ailment, node: model.Node
) -> tuple[str, ...] | None:
    for gpu in node.gpus:
        if gpu.uuid == ailment.gpu_uuid:
            if ailment.gi_id is None:
                return ()
            return next(
                (
                    _instance_identity(instance)
                    for instance in gpu.instances
                    if instance.gi_id == ailment.gi_id
                ),
                None,
            )
    return None


def _instance_identity(instance: model.GpuInstance) -> tuple[str, ...]:
    # GI and CI ids are reused; a MIG device's UUID never is.
    uuids = sorted(ci.mig_uuid or "" for ci in instance.compute_instances)
    return instance.profile, str(instance.placement), *uuids
