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

"""The simulated node's state as values, and as the plain JSON of its file."""

import dataclasses
import hashlib
import itertools
import json
from typing import Any
from typing import NamedTuple

from mig_placement.simulator import catalog
from mig_placement.simulator import codes

FORMAT = 2

# More geometry changes than this between two looks at the ring are lost.
RING_SIZE = 256


@dataclasses.dataclass(slots=True)
class ComputeInstance:
    """A CI.

    :ivar serial: unique in the life of the node; makes handle and UUID.
    :ivar profile_id: a compute instance profile's id, see rules.
    :ivar start: in compute slices of the GPU instance.
    """

    serial: int
    ci_id: int
    profile_id: int
    start: int


@dataclasses.dataclass(slots=True)
class GpuInstance:
    """A GI; ``start`` is in placement units of the GPU."""

    serial: int
    gi_id: int
    profile_id: int
    start: int
    compute: list[ComputeInstance] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Process:
    """A process on a GPU; the whole of it where ``gi_id`` is None."""

    pid: int
    gi_id: int | None = None
    ci_id: int | None = None


@dataclasses.dataclass(slots=True)
class Function:
    """A virtual function (VF) and the vGPU on it.

    :ivar type_id: of the vGPU; 0 without one.
    :ivar gi: serial of the GPU instance that carries it.
    :ivar uuid: of the mdev, empty on the variant driver's path.
    :ivar vm: whether a VM runs with it.
    """

    type_id: int = 0
    gi: int = 0
    uuid: str = ""
    vm: bool = False


@dataclasses.dataclass(slots=True)
class Gpu:
    """A GPU in its slot.

    :ivar model: key of catalog.models().
    :ivar pci: as NVML prints it, ``00000000:41:00.0``.
    :ivar mode: the current MIG mode; ``pending`` that after a reset.
    :ivar functions: none until SR-IOV is switched on.
    """

    serial: int
    model: str
    uuid: str
    pci: str
    mode: bool = False
    pending: bool = False
    lost: bool = False
    instances: list[GpuInstance] = dataclasses.field(default_factory=list)
    processes: list[Process] = dataclasses.field(default_factory=list)
    functions: list[Function] = dataclasses.field(default_factory=list)

    def kind(self) -> catalog.Model:
        return catalog.models()[self.model]


class Event(NamedTuple):
    """What a waiter is told; ``gpu`` is the GPU's serial."""

    seq: int
    gpu: int
    type: int
    data: int = 0
    gi_id: int = codes.WHOLE_GPU
    ci_id: int = codes.WHOLE_GPU


@dataclasses.dataclass(slots=True)
class Fault:
    """What befalls the mutating call number ``at``.

    :ivar action: ``fail``, ``kill_before`` or ``kill_after``.
    :ivar code: the NVML return code of a failure.
    """

    at: int
    action: str
    code: int = codes.UNKNOWN


@dataclasses.dataclass(slots=True)
class State:
    """Everything that processes share about the node.

    :ivar vgpu: the vGPU host driver's way, ``mdev`` or ``vfio``; empty for
        a host without that driver, whose GPUs have no functions.
    :ivar delay_ms: how long a mutating NVML call takes, in milliseconds.
    :ivar mutations: mutating NVML calls made so far, refused ones too.
    :ivar stuck_destroys: so many GPU instance destroys will say IN_USE.
    """

    seed: str
    driver: str
    vgpu: str = ""
    driver_present: bool = True
    privileged: bool = True
    boots: int = 1
    delay_ms: int = 0
    mutations: int = 0
    stuck_destroys: int = 0
    last_serial: int = 0
    last_event: int = 0
    faults: list[Fault] = dataclasses.field(default_factory=list)
    events: list[Event] = dataclasses.field(default_factory=list)
    gpus: list[Gpu] = dataclasses.field(default_factory=list)

    def new_serial(self) -> int:
        self.last_serial += 1
        return self.last_serial

    def derived_uuid(self, what: str, number: int) -> str:
        """Always the same one for a seed, as the tests need it."""
        text = f"{self.seed}/{what}/{number}".encode()
        digest = hashlib.sha256(text).hexdigest()
        cuts = itertools.pairwise((0, 8, 12, 16, 20, 32))
        return "-".join(digest[start:end] for start, end in cuts)

    @property
    def boot_id(self) -> str:
        return self.derived_uuid("boot", self.boots)

    def mig_uuid(self, ci: ComputeInstance) -> str:
        return "MIG-" + self.derived_uuid("mig", ci.serial)

    def emit(
        self,
        gpu: Gpu,
        kind: int,
        data: int = 0,
        gi_id: int | None = None,
        ci_id: int | None = None,
    ) -> None:
        """Put an event into the ring; the oldest falls out of a full one."""
        self.last_event += 1
        self.events.append(
            Event(
                self.last_event,
                gpu.serial,
                kind,
                data,
                codes.WHOLE_GPU if gi_id is None else gi_id,
                codes.WHOLE_GPU if ci_id is None else ci_id,
            )
        )
        del self.events[:-RING_SIZE]

    def encoded(self) -> bytes:
        """The content of the state file, for parse.state to read."""
        plain = {"format": FORMAT, **_members(self)}
        return json.dumps(
            plain, separators=(",", ":"), default=_members
        ).encode()


def _members(value: Any) -> dict[str, Any]:
    # dataclasses.asdict copies all that is below, ten times slower.
    return {name: getattr(value, name) for name in value.__slots__}
