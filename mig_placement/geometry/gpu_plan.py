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
"""What is to be done on one GPU, and what that waits for: values."""

import dataclasses

from mig_placement.geometry import target
from mig_placement.geometry.steps import Step
from mig_placement.hardware import model


@dataclasses.dataclass(frozen=True, slots=True)
class InUse:
    """An instance that must not be destroyed, and why (for people).

    :ivar vm: a VM is known to run on it.
    """

    gpu_index: int
    slot: target.Located
    why: str
    vm: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class GpuPlan:
    """What is to be done on one GPU.

    :ivar steps: in their order; empty where nothing is to be done.
    :ivar after: the instances at the end.
    :ivar disturbed: instances in use that the operator let be destroyed.
    :ivar waiting: instances in use that something declared waits for.
    :ivar missing: declared profiles that cannot be had until then.
    :ivar blocked: what the operator has to do first, where nothing is done
        until then.
    """

    gpu: model.Gpu
    steps: tuple[Step, ...] = ()
    after: tuple[target.Located, ...] = ()
    disturbed: tuple[InUse, ...] = ()
    waiting: tuple[InUse, ...] = ()
    missing: tuple[str, ...] = ()
    blocked: str = ""

    def is_due(self, *, by_command: bool) -> bool:
        """Whether something can be done now.

        :param by_command: by the operator's command, which what blocks our
            own steps does not block.
        """
        by_other_means = by_command and self.blocked and not self.waiting
        return bool(self.steps or by_other_means)

    @property
    def waits(self) -> bool:
        """Whether something is left to be done later."""
        return bool(self.waiting or self.blocked)
