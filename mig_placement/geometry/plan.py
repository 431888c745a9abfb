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
"""From the node that is to the layout: a plan for each GPU; pure."""

import collections.abc
import dataclasses

from mig_placement.geometry import functions
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import instance_plan
from mig_placement.geometry import layout
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.geometry import vgpu_steps
from mig_placement.hardware import model


def plan(
    node: model.Node,
    wanted: layout.NodeLayout,
    in_use: collections.abc.Collection[gpu_plan.InUse] = (),
    allowed: collections.abc.Container[tuple[int, target.Located]] = (),
    way: functions.Way = functions.Way(),  # noqa: B008 (frozen)
) -> tuple[gpu_plan.GpuPlan, ...]:
    """Plans of the GPUs that the layout names and that answer.

    :param in_use: instances with processes, vGPUs or allocations on them.
    :param allowed: (GPU index, slot) of those that may go nevertheless.
    :param way: how VMs get their slices, and so what functions are to be.
    :raises LayoutError: the layout cannot be attached in that way.
    """
    return tuple(
        _Gpu(
            gpu,
            [each for each in in_use if each.gpu_index == gpu.index],
            allowed,
            way,
        ).attachable(wanted.gpus[gpu.index])
        for gpu in node.gpus
        if gpu.index in wanted.gpus and not gpu.fault and gpu.mig_capable
    )


def plan_back(
    gpu: model.Gpu,
    wanted: layout.GpuLayout,
    types: vgpu_steps.Types,
    in_use: collections.abc.Iterable[gpu_plan.InUse],
) -> gpu_plan.GpuPlan:
    """The plan to what a GPU was, with the vGPUs of its functions.

    :param types: what each function had, by its address.
    :param in_use: instances that must stay.
    """
    return _Gpu(gpu, list(in_use)).typed(wanted, types)


class _Gpu:
    """Plans one GPU."""

    def __init__(
        self,
        gpu: model.Gpu,
        in_use: list[gpu_plan.InUse],
        allowed: collections.abc.Container[tuple[int, target.Located]] = (),
        way: functions.Way = functions.Way(),  # noqa: B008 (frozen)
    ) -> None:
        self._gpu = gpu
        self._way = way
        # What was in use and is gone needs no care any more.
        existing = {target.located(each) for each in gpu.instances}
        used = [each for each in in_use if each.slot in existing]
        self._pinned = frozenset(
            each.slot for each in used if (gpu.index, each.slot) not in allowed
        )
        # Where VMs have vGPUs, one may start on what is allocated.
        vms = way.attach is not functions.Attach.NONE
        guests = self._pinned.intersection(
            each.slot for each in used if vms or each.vm
        )
        self._instances = instance_plan.Planner(
            gpu, used, self._pinned, guests
        )

    def attachable(self, wanted: layout.GpuLayout) -> gpu_plan.GpuPlan:
        """The plan with what functions need before and after it.

        :raises LayoutError: the layout cannot be attached in this way.
        """
        need = functions.needed(self._gpu, wanted, self._way)
        types = {each.pci_address: each.vgpu_type for each in need}
        sriov = self._gpu.sriov
        if need and sriov is not None and not sriov.functions:
            return self._with_sriov(wanted, types)
        if self._way.attach is not functions.Attach.VFIO:
            # Shut-off VMs may have them, of another [nova] attach.
            return self.typed(wanted, None)
        why = functions.occupied(self._gpu, need)
        if why:
            return self._instances.blocked(why)
        return self.typed(wanted, types)

    def typed(
        self, wanted: layout.GpuLayout, types: vgpu_steps.Types | None
    ) -> gpu_plan.GpuPlan:
        """The plan with what brings functions to these types."""
        one = self._instances.planned(wanted)
        if one.blocked:
            return one
        return vgpu_steps.with_types(one, types, self._pinned)

    def _with_sriov(
        self, wanted: layout.GpuLayout, types: vgpu_steps.Types
    ) -> gpu_plan.GpuPlan:
        """SR-IOV before all that would not survive it."""
        emptied = self._instances.planned(
            dataclasses.replace(wanted, instances=())
        )
        if emptied.waiting:
            # Nothing can follow: what is there stays.
            return self._instances.blocked()
        bare = dataclasses.replace(
            self._gpu, instances=(), mig_mode=True, mig_pending=True
        )
        vfio = self._way.attach is functions.Attach.VFIO
        filled = vgpu_steps.with_types(
            instance_plan.Planner(bare).planned(wanted),
            types if vfio else None,
        )
        return dataclasses.replace(
            emptied,
            steps=(*emptied.steps, steps.EnableSriov(), *filled.steps),
            after=filled.after,
        )
