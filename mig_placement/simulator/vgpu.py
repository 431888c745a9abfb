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
"""Virtual functions and vGPUs: what the host driver allows and refuses."""

import errno
import os

from mig_placement.simulator import catalog
from mig_placement.simulator import rules
from mig_placement.simulator import state as states


def refusal(number: int, why: str) -> OSError:
    return OSError(number, f"{os.strerror(number)} ({why})")


def supported(state: states.State, gpu: states.Gpu) -> catalog.Vgpu | None:
    """What the GPU can do under the host driver, if that is there."""
    return gpu.kind().vgpu if state.vgpu else None


def pf_address(gpu: states.Gpu) -> str:
    """The GPU's address as sysfs has it."""
    domain, rest = gpu.pci.lower().split(":", 1)
    return f"{int(domain, 16):04x}:{rest}"


def address(gpu: states.Gpu, number: int) -> str:
    """The address of a function, contiguous from the model's offset on."""
    kind = gpu.kind().vgpu
    if kind is None:
        raise LookupError(f"{gpu.model} has no functions")
    domain, bus, rest = pf_address(gpu).split(":")
    device, own = rest.split(".")
    routing = int(bus, 16) << 8 | int(device, 16) << 3 | int(own)
    routing += kind.offset + number
    return f"{domain}:{routing >> 8:02x}:{routing >> 3 & 31:02x}.{routing & 7}"


def find(
    state: states.State, pci_address: str
) -> tuple[states.Gpu, states.Function]:
    """A function by its address.

    :raises OSError: ENOENT, there is none.
    """
    for gpu in state.gpus:
        for number, function in enumerate(gpu.functions):
            if address(gpu, number) == pci_address:
                return gpu, function
    raise refusal(errno.ENOENT, f"no function {pci_address}")


def set_sriov(state: states.State, gpu: states.Gpu, on: bool) -> None:
    """Switch all functions on or off, which destroys all instances.

    :raises OSError: ENOENT, the GPU has none; EBUSY, a VM runs.
    """
    kind = supported(state, gpu)
    if kind is None:
        raise refusal(errno.ENOENT, "no SR-IOV")
    if on == bool(gpu.functions):
        return
    if any(each.vm for each in gpu.functions):
        raise refusal(errno.EBUSY, "a VM runs")
    gpu.instances.clear()
    gpu.functions = [
        states.Function() for _ in range(kind.functions if on else 0)
    ]


def creatable(
    state: states.State, gpu: states.Gpu, function: states.Function
) -> tuple[catalog.VgpuType, ...]:
    """Types that could be made on a function now; none on a full one."""
    kind = supported(state, gpu)
    if kind is None or function.type_id:
        return ()
    return tuple(
        each for each in kind.types if _home(gpu, kind, each) is not None
    )


def _home(
    gpu: states.Gpu, kind: catalog.Vgpu, wanted: catalog.VgpuType
) -> states.GpuInstance | None:
    """A GPU instance with room for a vGPU; it has one size at a time."""
    for gi in gpu.instances:
        if rules.profile_of(gpu, gi).name != wanted.profile:
            continue
        there = [each for each in gpu.functions if each.gi == gi.serial]
        sizes = {_size(kind, each.type_id) for each in there}
        if sizes <= {wanted.framebuffer_mib} and (
            len(there) < wanted.max_per_instance
        ):
            return gi
    return None


def _size(kind: catalog.Vgpu, type_id: int) -> int:
    found = kind.type(type_id)
    return found.framebuffer_mib if found else 0


def create(
    state: states.State,
    gpu: states.Gpu,
    function: states.Function,
    type_id: int,
    uuid: str = "",
) -> None:
    """Make a vGPU on a function.

    :raises OSError: EPERM, there is one; EINVAL, no such type; EIO, not
        to be made now.
    """
    kind = supported(state, gpu)
    wanted = kind.type(type_id) if kind else None
    if function.type_id:
        raise refusal(errno.EPERM, "a vGPU exists")
    if kind is None or wanted is None:
        raise refusal(errno.EINVAL if uuid else errno.EIO, "no such type")
    home = _home(gpu, kind, wanted)
    if home is None:
        raise refusal(errno.EIO, "no GPU instance for it")
    function.type_id, function.gi, function.uuid = type_id, home.serial, uuid


def clear(function: states.Function) -> None:
    """Take the vGPU away.

    :raises OSError: EPERM, there is none, or a VM holds it.
    """
    if not function.type_id:
        raise refusal(errno.EPERM, "there is no vGPU")
    if function.vm:
        raise refusal(errno.EPERM, "a VM holds it")
    function.type_id, function.gi, function.uuid = 0, 0, ""


def carried(gpu: states.Gpu, gi: states.GpuInstance) -> bool:
    """Whether a vGPU lives on a GPU instance."""
    return any(each.gi == gi.serial for each in gpu.functions)


def contradiction(state: states.State, gpu: states.Gpu) -> str:
    """Why the functions' state cannot be, or nothing where it can."""
    kind = supported(state, gpu)
    if not gpu.functions:
        return ""
    if kind is None or len(gpu.functions) != kind.functions:
        return "has another number of functions than its model"
    serials = {gi.serial for gi in gpu.instances}
    for each in gpu.functions:
        if each.type_id and (
            each.gi not in serials or kind.type(each.type_id) is None
        ):
            return "has a vGPU of no type or on no GPU instance"
    return ""
