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
"""Runs plans: GPUs in parallel, steps in order, and back where one fails."""

import collections.abc
import concurrent.futures
import dataclasses
from typing import Protocol

from mig_placement import exception
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import layout
from mig_placement.geometry import plan as plans
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.hardware import model


class Hands(Protocol):
    """What touches the hardware. Raises HardwareError."""

    def do(self, index: int, step: steps.Step) -> bool:
        """Whether the step is in force now, and does not wait for a reset."""

    def look(self, index: int) -> model.Gpu:
        """The GPU as it is now."""

    def in_use(
        self, gpu: model.Gpu
    ) -> collections.abc.Sequence[gpu_plan.InUse]:
        """Instances that must not be destroyed."""


Progress = collections.abc.Callable[[int, steps.Step], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one GPU's plan.

    :ivar gpu: as it was before.
    :ivar done: steps that were made.
    :ivar error: why a step failed; empty where none did.
    :ivar kept: what was done was right, and stays.
    :ivar rolled_back: the GPU has the geometry again that it had.
    :ivar needs_reset: MIG mode waits for a reset of the GPU.
    :ivar needs_sriov: all is ready for SR-IOV to be switched on, which
        is not done while NVML is open.
    :ivar exists: the instances at the end, where the roll-back failed.
    """

    gpu: model.Gpu
    done: tuple[steps.Step, ...] = ()
    error: str = ""
    kept: bool = False
    rolled_back: bool = False
    needs_reset: bool = False
    needs_sriov: bool = False
    exists: tuple[str, ...] = ()

    @property
    def index(self) -> int:
        return self.gpu.index

    @property
    def failed(self) -> bool:
        return bool(self.error)

    def __str__(self) -> str:
        return f"GPU {self.index}: {self.text()}"

    def text(self) -> str:
        """What became of it, without saying of which GPU."""
        if self.needs_reset:
            return "MIG mode waits for a reset of the GPU"
        if self.needs_sriov:
            return "SR-IOV is to be switched on"
        if not self.error:
            return f"{len(self.done)} steps done"
        if self.kept:
            return f"{self.error}; the instances are kept"
        if self.rolled_back:
            return f"{self.error}; it has the geometry again that it had"
        now = ", ".join(self.exists) or "no instance"
        return f"{self.error}; it could not be rolled back and now has {now}"


def apply(
    todo: collections.abc.Sequence[gpu_plan.GpuPlan],
    hands: Hands,
    progress: Progress = lambda index, step: None,
) -> tuple[Outcome, ...]:
    """Run the plans; never raises for what a GPU does.

    GPUs go in parallel: NVML lets go of the interpreter while it works,
    and destroying an instance takes a second.
    """
    work = [each for each in todo if each.steps]
    if not work:
        return ()
    with concurrent.futures.ThreadPoolExecutor(len(work)) as pool:
        return tuple(
            pool.map(lambda each: _apply_one(each, hands, progress), work)
        )


def _apply_one(
    one: gpu_plan.GpuPlan, hands: Hands, progress: Progress
) -> Outcome:
    index = one.gpu.index
    done: list[steps.Step] = []
    try:
        for step in one.steps:
            if isinstance(step, steps.EnableSriov):
                return Outcome(one.gpu, tuple(done), needs_sriov=True)
            in_force = hands.do(index, step)
            done.append(step)
            progress(index, step)
            if not in_force:
                return Outcome(one.gpu, tuple(done), needs_reset=True)
    except exception.HardwareError as error:
        if len(done) < len(one.steps) and isinstance(
            one.steps[len(done)], steps.SetVgpuType
        ):
            # The instances are as declared, and only wait for their types.
            return Outcome(one.gpu, tuple(done), str(error), kept=True)
        return _rolled_back(one, tuple(done), str(error), hands)
    return Outcome(one.gpu, tuple(done))


def _rolled_back(
    one: gpu_plan.GpuPlan,
    done: tuple[steps.Step, ...],
    error: str,
    hands: Hands,
) -> Outcome:
    """Plan the way back from what exists now, and go it."""
    index = one.gpu.index
    try:
        now = hands.look(index)
        for step in _way_back(one.gpu, now, hands).steps:
            hands.do(index, step)
        now = hands.look(index)
    except exception.HardwareError as again:
        return Outcome(
            one.gpu, done, f"{error}; {again}", exists=_existing(index, hands)
        )
    if geometry(now) == geometry(one.gpu):
        return Outcome(one.gpu, done, error, rolled_back=True)
    return Outcome(one.gpu, done, error, exists=_existing(index, hands))


def _way_back(
    before: model.Gpu, now: model.Gpu, hands: Hands
) -> gpu_plan.GpuPlan:
    """The plan to what was before, whatever was done and half done since."""
    if geometry(now) == geometry(before) and now.mig_pending == (
        before.mig_pending
    ):
        # Nothing was done; what was pending stays so.
        return gpu_plan.GpuPlan(now)
    wanted = layout.GpuLayout(
        mig_enabled=before.mig_mode,
        instances=tuple(as_declared(each) for each in before.instances),
        line=0,
    )
    kinds = {each.type_id: each for each in before.vgpu_types}
    types = {
        address: kinds[type_id]
        for address, type_id in _types(before)
        if type_id in kinds
    }
    return plans.plan_back(now, wanted, types, hands.in_use(now))


def _types(gpu: model.Gpu) -> tuple[tuple[str, int], ...]:
    """Functions with a vGPU, and its type."""
    functions = gpu.sriov.functions if gpu.sriov else ()
    return tuple(
        (each.pci_address, each.current_type)
        for each in functions
        if each.current_type
    )


def as_declared(instance: model.GpuInstance) -> layout.DeclaredInstance:
    """An instance as a layout would declare it, at its placement."""
    return layout.DeclaredInstance(
        profile=instance.profile,
        placement=instance.placement,
        compute_instances=tuple(
            each.profile for each in instance.compute_instances
        ),
    )


def geometry(gpu: model.Gpu) -> tuple[object, ...]:
    """What of a GPU a layout is about: equal means nothing changed."""
    return (
        gpu.mig_mode,
        len(gpu.sriov.functions) if gpu.sriov else 0,
        _types(gpu),
        *(
            (
                target.located(instance),
                tuple(sorted(ci.profile for ci in instance.compute_instances)),
            )
            for instance in gpu.instances
        ),
    )


def _existing(index: int, hands: Hands) -> tuple[str, ...]:
    try:
        gpu = hands.look(index)
    except exception.HardwareError as error:
        return (f"what cannot be seen ({error})",)
    return tuple(
        f"{each.profile} at {each.placement}"
        f" with {len(each.compute_instances)} compute instances"
        for each in gpu.instances
    )
