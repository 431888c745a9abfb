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

"""What changes a node: every operation checks all before it changes any."""

from mig_placement.simulator import catalog
from mig_placement.simulator import codes
from mig_placement.simulator import rules
from mig_placement.simulator import state as states
from mig_placement.simulator import vgpu

# "GPU has fallen off the bus."
XID_FALLEN_OFF = 79


def _changed(state: states.State, gpu: states.Gpu) -> None:
    state.emit(gpu, codes.EVENT_MIG_CONFIG_CHANGE)


def set_mode(state: states.State, gpu: states.Gpu, mode: bool) -> int:
    """Set the MIG mode as nvmlDeviceSetMigMode does.

    :returns: the activation status, an NVML return code.
    :raises Refused: IN_USE, there are GPU instances to be lost, or SR-IOV
        is on.
    """
    if not mode and (gpu.instances or gpu.functions):
        raise codes.Refused(codes.IN_USE, "has GPU instances or functions")
    before = (gpu.mode, gpu.pending)
    gpu.pending = mode
    status = _activation(gpu)
    if status == codes.SUCCESS:
        gpu.mode = mode
    if before != (gpu.mode, gpu.pending):
        _changed(state, gpu)
    return status


def _activation(gpu: states.Gpu) -> int:
    if gpu.mode == gpu.pending:
        return codes.SUCCESS
    if gpu.processes:
        return codes.IN_USE
    if gpu.kind().mode_change_needs_reset:
        return codes.RESET_REQUIRED
    return codes.SUCCESS


def clear(state: states.State, gpu: states.Gpu) -> None:
    """Destroy every compute instance and GPU instance of a GPU.

    :raises Refused: IN_USE, processes run on it.
    """
    for gi in list(gpu.instances):
        destroy_whole(state, gpu, gi)


def destroy_whole(
    state: states.State, gpu: states.Gpu, gi: states.GpuInstance
) -> None:
    """Destroy a GPU instance and the compute instances in it.

    :raises Refused: IN_USE, processes run on it.
    """
    _refuse_if_carrying(gpu, gi)
    if any(process.gi_id == gi.gi_id for process in gpu.processes):
        raise codes.Refused(codes.IN_USE, "processes run on it")
    for ci in list(gi.compute):
        destroy_ci(state, gpu, gi, ci)
    destroy_gi(state, gpu, gi)


def _refuse_if_carrying(gpu: states.Gpu, gi: states.GpuInstance) -> None:
    if vgpu.carried(gpu, gi):
        raise codes.Refused(codes.IN_USE, "a vGPU lives on it")


def create_gi(
    state: states.State,
    gpu: states.Gpu,
    profile: catalog.Profile,
    placement: tuple[int, int] | None = None,
) -> states.GpuInstance:
    """Create a GPU instance, where the driver likes or at a placement.

    :raises Refused: NOT_SUPPORTED (MIG mode is off), INVALID_ARGUMENT (not
        a placement of the profile), INSUFFICIENT_RESOURCES.
    """
    if not gpu.mode:
        raise codes.Refused(codes.NOT_SUPPORTED, "MIG mode is off")
    if placement is not None and placement not in profile.placements:
        raise codes.Refused(
            codes.INVALID_ARGUMENT, f"is no placement of {profile.name}"
        )
    start = _start(gpu, profile, placement)
    gi = states.GpuInstance(
        serial=state.new_serial(),
        gi_id=rules.gi_id(gpu.kind(), profile, start),
        profile_id=profile.profile_id,
        start=start,
    )
    gpu.instances.append(gi)
    _changed(state, gpu)
    return gi


def _start(
    gpu: states.Gpu,
    profile: catalog.Profile,
    placement: tuple[int, int] | None,
) -> int:
    free = rules.free_starts(gpu, profile)
    if placement is not None:
        free = tuple(start for start in free if start == placement[0])
    if not free or not rules.remaining(gpu, profile):
        raise codes.Refused(
            codes.INSUFFICIENT_RESOURCES, f"no room for {profile.name}"
        )
    return free[0]


def destroy_gi(
    state: states.State, gpu: states.Gpu, gi: states.GpuInstance
) -> None:
    """Destroy a GPU instance.

    :raises Refused: IN_USE, it has compute instances or processes.
    """
    if gi.compute or any(p.gi_id == gi.gi_id for p in gpu.processes):
        raise codes.Refused(codes.IN_USE, f"GPU instance {gi.gi_id} in use")
    _refuse_if_carrying(gpu, gi)
    gpu.instances.remove(gi)
    _changed(state, gpu)


def create_ci(
    state: states.State,
    gpu: states.Gpu,
    gi: states.GpuInstance,
    profile: rules.ComputeProfile,
    placement: tuple[int, int] | None = None,
) -> states.ComputeInstance:
    """Create a compute instance, the lowest free one or at a placement.

    :raises Refused: INVALID_ARGUMENT, INSUFFICIENT_RESOURCES.
    """
    possible = [(start, profile.slices) for start in profile.starts]
    if placement is not None and placement not in possible:
        raise codes.Refused(
            codes.INVALID_ARGUMENT, f"is no placement of {profile.name}"
        )
    free = rules.free_compute_starts(gpu, gi, profile)
    if placement is not None:
        free = tuple(start for start in free if start == placement[0])
    if not free:
        raise codes.Refused(
            codes.INSUFFICIENT_RESOURCES, f"no room for {profile.name}"
        )
    taken = {ci.ci_id for ci in gi.compute}
    ci = states.ComputeInstance(
        serial=state.new_serial(),
        ci_id=min(set(range(len(taken) + 1)) - taken),
        profile_id=profile.profile_id,
        start=free[0],
    )
    gi.compute.append(ci)
    _changed(state, gpu)
    return ci


def destroy_ci(
    state: states.State,
    gpu: states.Gpu,
    gi: states.GpuInstance,
    ci: states.ComputeInstance,
) -> None:
    """Destroy a compute instance.

    :raises Refused: IN_USE, a process runs on it.
    """
    if any(
        process.gi_id == gi.gi_id and process.ci_id == ci.ci_id
        for process in gpu.processes
    ):
        raise codes.Refused(
            codes.IN_USE, f"compute instance {ci.ci_id} in use"
        )
    gi.compute.remove(ci)
    _changed(state, gpu)


def reset(state: states.State, gpu: states.Gpu) -> None:
    """Reset one GPU: its instances go, the pending mode becomes current.

    :raises Refused: IN_USE, processes run on it.
    """
    if gpu.processes:
        raise codes.Refused(codes.IN_USE, "processes run on it")
    if any(function.vm for function in gpu.functions):
        raise codes.Refused(codes.IN_USE, "a VM runs on it")
    gpu.instances.clear()
    gpu.functions = [states.Function() for _ in gpu.functions]
    gpu.mode = gpu.pending
    _changed(state, gpu)


def set_sriov(state: states.State, gpu: states.Gpu, on: bool) -> None:
    """Switch SR-IOV, as sriov-manage does, which destroys all instances.

    :raises OSError: as vgpu.set_sriov.
    """
    vgpu.set_sriov(state, gpu, on)
    _changed(state, gpu)


def reboot(state: states.State) -> None:
    """What a reboot leaves: no instance, function or process, and from
    Hopper on no MIG mode either; Ampere keeps it in its flash."""
    state.boots += 1
    for gpu in state.gpus:
        gpu.processes.clear()
        gpu.functions.clear()
        gpu.lost = False
        if not gpu.kind().mode_change_needs_reset:
            gpu.pending = False
        reset(state, gpu)


def lose(state: states.State, gpu: states.Gpu) -> None:
    """The GPU falls off the bus, and its processes die."""
    if not gpu.lost:
        gpu.lost = True
        gpu.processes.clear()
        gpu.functions.clear()
        state.emit(gpu, codes.EVENT_XID, XID_FALLEN_OFF)


def bring_back(state: states.State, gpu: states.Gpu) -> None:
    """A lost GPU answers again; as after a reset."""
    if gpu.lost:
        gpu.lost = False
        reset(state, gpu)
