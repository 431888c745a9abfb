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
"""The verdict: what the comparison of node and layout says, as values."""

import dataclasses
import enum


class Reason(enum.StrEnum):
    """Why the gate is closed; each is a trait CUSTOM_MIG_BLOCKED_<REASON>."""

    STARTING = "STARTING"
    HOLD = "HOLD"
    LAYOUT_INVALID = "LAYOUT_INVALID"
    CONFIG_INVALID = "CONFIG_INVALID"
    HARDWARE_ERROR = "HARDWARE_ERROR"
    GPU_LOST = "GPU_LOST"
    GPU_UNHEALTHY = "GPU_UNHEALTHY"
    MIG_DISABLED = "MIG_DISABLED"
    MIG_ENABLED = "MIG_ENABLED"
    MODE_PENDING = "MODE_PENDING"
    INSTANCE_MISSING = "INSTANCE_MISSING"
    INSTANCE_EXTRA = "INSTANCE_EXTRA"
    INSTANCE_UNHEALTHY = "INSTANCE_UNHEALTHY"
    COMPUTE_INSTANCE_MISSING = "COMPUTE_INSTANCE_MISSING"
    SRIOV_DISABLED = "SRIOV_DISABLED"
    VGPU_TYPE_MISSING = "VGPU_TYPE_MISSING"
    ATTACH_UNSUPPORTED = "ATTACH_UNSUPPORTED"
    RESTORING = "RESTORING"
    SHUTDOWN = "SHUTDOWN"
    # The host leaves service: mig-placement retire.
    RETIRED = "RETIRED"
    # The GPU itself is as declared; with scope = node another one is not.
    OTHER_GPU = "OTHER_GPU"
    # The layout does not name this GPU: nothing of it is offered.
    UNDECLARED = "UNDECLARED"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One reason and a sentence fragment that an operator can act on."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclasses.dataclass(frozen=True, slots=True)
class GpuVerdict:
    """What is wrong with one GPU; nothing, where it is as declared.

    :ivar unfit: what makes single instances unfit; they are not offered,
        the others are.
    :ivar declared: whether the layout names this GPU.
    :ivar units: instances fit to be offered, by profile (``1g.5gb``, or
        ``1c.3g.20gb`` for compute instances smaller than their GPU
        instance).
    """

    index: int
    findings: tuple[Finding, ...] = ()
    unfit: tuple[Finding, ...] = ()
    declared: bool = True
    units: tuple[tuple[str, int], ...] = ()

    @property
    def matches(self) -> bool:
        return not self.findings


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison's outcome for the node and for each GPU of it.

    :ivar findings: what concerns the node as a whole (no NVML, no layout,
        a hold); each closes every GPU, whatever the scope.
    """

    findings: tuple[Finding, ...] = ()
    gpus: tuple[GpuVerdict, ...] = ()

    @property
    def matches(self) -> bool:
        """The node is as declared. An undeclared GPU does not unmatch it."""
        return not self.findings and all(
            gpu.matches for gpu in self.gpus if gpu.declared
        )
