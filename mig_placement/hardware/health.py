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
        later under the same id; empty for a whole GPU, and for an instance
        that could not be seen yet because its GPU did not answer.
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

    Each with the identity that is seen now: compute instances come and go
    in an instance that stays. A GPU that does not answer keeps its marks.
    """
    silent = {gpu.uuid for gpu in node.gpus if gpu.fault}
    if "" in silent:
        # It has not answered yet: it may be any GPU that is not seen.
        seen = {gpu.uuid for gpu in node.gpus}
        silent |= {mark.ailment.gpu_uuid for mark in marks} - seen
    return frozenset(
        kept
        for mark in marks
        for kept in (
            (mark,) if mark.ailment.gpu_uuid in silent else _seen(mark, node)
        )
    )


def _seen(mark: Mark, node: model.Node) -> tuple[Mark, ...]:
    """The mark as of now; none where it concerns what has gone."""
    now = _identity(mark.ailment, node)
    if now is None or not _is_same(mark.identity, now):
        return ()
    return (dataclasses.replace(mark, identity=now),)


def _is_same(before: tuple[str, ...], now: tuple[str, ...]) -> bool:
    """Whether two identities are of one instance, or of one GPU.

    One compute instance that is still there proves it: nothing of an
    instance outlives it.
    """
    if not before:
        # Not seen when its XID came: whatever has its id now may be it.
        return True
    uuids, uuids_now = set(before[2:]), set(now[2:])
    return before[:2] == now[:2] and (
        uuids == uuids_now or bool(uuids & uuids_now)
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
