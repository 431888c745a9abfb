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

"""Makes a simulated node and disturbs it, from tests and from a command."""

import collections.abc
import contextlib
import errno
import os
from typing import Any
from typing import Self

from mig_placement.simulator import actions
from mig_placement.simulator import catalog
from mig_placement.simulator import codes
from mig_placement.simulator import parse
from mig_placement.simulator import rules
from mig_placement.simulator import state as states
from mig_placement.simulator import store
from mig_placement.simulator import summary
from mig_placement.simulator import sysfs
from mig_placement.simulator import vgpu as vgpus

# A GPU by index, UUID or PCI address.
GpuRef = int | str
# A GPU instance by id or by (start, size).
InstanceRef = int | tuple[int, int]

DRIVER = "580.159.04"
_FIRST_BUS = 0x41


class SimulatedNode:
    """The node of a state file, which need not exist yet.

    What it does counts as no NVML call, takes no delay and meets no fault.
    Every method raises SimulatorError: the file is missing or holds no
    state, there is no such GPU or instance, or NVML would refuse.

    :param path: the state file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._store = store.Store(path, lambda state: state)

    @property
    def path(self) -> str:
        """The state file's absolute path."""
        return self._store.path

    def create(
        self,
        models: collections.abc.Sequence[str],
        *,
        pci_addresses: collections.abc.Sequence[str] | None = None,
        mig: bool = False,
        driver: str = DRIVER,
        vgpu: str = "",
        seed: str | None = None,
        overwrite: bool = False,
    ) -> Self:
        """Make the node, with a GPU of each model.

        :param models: keys of models(), for example ``A100-40GB``.
        :param pci_addresses: of the GPUs, default 00000000:41:00.0 upward.
        :param mig: the MIG mode of all GPUs.
        :param driver: the driver's version.
        :param vgpu: the way of the vGPU host driver, ``mdev`` or ``vfio``;
            the node then has a sysfs of its own.
        :param seed: makes all UUIDs the same again; default random.
        :param overwrite: replace the node if there is one; its waiters
            are woken and have to register with the new GPUs.
        """
        state = states.State(seed or os.urandom(8).hex(), driver, vgpu)
        addresses = pci_addresses or _addresses(len(models))
        if len(addresses) != len(models):
            raise codes.SimulatorError("not as many PCI addresses as models")
        with self._store.locked():
            self._continue_counting(state, overwrite)
            for model, address in zip(models, addresses, strict=True):
                gpu = _new_gpu(state, model, address)
                gpu.mode = gpu.pending = mig
                state.gpus.append(gpu)
            self._write_new(state)
        return self

    def _continue_counting(self, state: states.State, agreed: bool) -> None:
        if not os.path.lexists(self.path):
            return
        if not agreed:
            raise codes.SimulatorError(f"{self.path}: exists already")
        with contextlib.suppress(codes.SimulatorError):
            old = self._store.read()
            state.last_serial = old.last_serial
            state.last_event = old.last_event
            for gpu in old.gpus:
                state.emit(gpu, codes.EVENT_MIG_CONFIG_CHANGE)

    def _write_new(self, state: states.State) -> None:
        _settle(state)
        self._store.write(state)

    def delete(self) -> None:
        """Remove the state file and what lies beside it."""
        self._store.delete()

    def summary(self) -> dict[str, Any]:
        """The state as plain values, for printing and comparing."""
        return summary.summary(self._store.read())

    @property
    def mutations(self) -> int:
        """Mutating NVML calls made since create(), refused ones too."""
        return self._store.read().mutations

    # The host.

    def reboot(self) -> None:
        """Reboot: instances and processes go, Ampere keeps its MIG mode,
        later architectures lose it, lost GPUs are back."""
        with self._change() as state:
            actions.reboot(state)

    def set_driver(self, present: bool) -> None:
        """Load or unload the driver."""
        with self._change() as state:
            state.driver_present = present
            _wake_all(state)

    def set_privileged(self, privileged: bool) -> None:
        """Whether NVML's callers may list and change instances."""
        with self._change() as state:
            state.privileged = privileged

    # GPUs.

    def set_mig(self, gpu: GpuRef, enabled: bool) -> bool:
        """Set the MIG mode; False where it is pending until a reset."""
        with self._change() as state:
            status = actions.set_mode(state, _gpu(state, gpu), enabled)
        return status == codes.SUCCESS

    def reset_gpu(self, gpu: GpuRef, *, force: bool = False) -> None:
        """Reset a GPU: instances go, the pending MIG mode is applied.

        :param force: also while some process has an NVML session, which
            a real reset refuses as "in use by another client".
        """
        with self._change() as state, store.no_session(self.path) as free:
            if not (free or force):
                raise codes.Refused(codes.IN_USE, "an NVML session is open")
            actions.reset(state, _gpu(state, gpu))

    def lose_gpu(self, gpu: GpuRef) -> None:
        """The GPU falls off the bus (XID 79)."""
        with self._change() as state:
            actions.lose(state, _gpu(state, gpu, lost=True))

    def return_gpu(self, gpu: GpuRef) -> None:
        """A lost GPU is back, as after a reset."""
        with self._change() as state:
            actions.bring_back(state, _gpu(state, gpu, lost=True))

    def add_gpu(self, model: str, pci_address: str | None = None) -> None:
        """Plug a GPU in, behind the others; MIG mode off."""
        with self._change() as state:
            used = {gpu.pci for gpu in state.gpus}
            free = [
                address
                for address in _addresses(parse.MAX_GPUS)
                if address not in used
            ]
            address = pci_address or next(iter(free), "")
            state.gpus.append(_new_gpu(state, model, address))
            _settle(state)

    def remove_gpu(self, gpu: GpuRef) -> None:
        """Unplug a GPU; those behind it move up by one index."""
        with self._change() as state:
            removed = _gpu(state, gpu, lost=True)
            state.emit(removed, codes.EVENT_MIG_CONFIG_CHANGE)
            state.gpus.remove(removed)

    def move_gpu(self, gpu: GpuRef, pci_address: str) -> None:
        """Put a GPU into another slot; the host is off meanwhile."""
        with self._change() as state:
            moved = _gpu(state, gpu, lost=True)
            if any(each.pci == pci_address.upper() for each in state.gpus):
                raise codes.SimulatorError("the slot is taken")
            actions.reboot(state)
            moved.pci = pci_address.upper()
            _settle(state)

    def replace_gpu(self, gpu: GpuRef, model: str | None = None) -> None:
        """Put a new GPU into a GPU's slot; MIG mode off."""
        with self._change() as state:
            old = _gpu(state, gpu, lost=True)
            state.emit(old, codes.EVENT_MIG_CONFIG_CHANGE)
            new = _new_gpu(state, model or old.model, old.pci)
            state.gpus[state.gpus.index(old)] = new

    def send_xid(
        self,
        gpu: GpuRef,
        xid: int,
        gi: InstanceRef | None = None,
        ci: int | None = None,
    ) -> None:
        """Report an XID, of the whole GPU or of one instance."""
        with self._change() as state:
            sick = _gpu(state, gpu, lost=True)
            gi_id = None if gi is None else _gi(sick, gi).gi_id
            state.emit(sick, codes.EVENT_XID, xid, gi_id, ci)

    # Virtual functions.

    @property
    def sysfs_root(self) -> str:
        """The directory that stands for /sys, of a node with vGPUs."""
        return sysfs.root(self.path)

    def set_sriov(
        self, gpu: GpuRef, on: bool = True, *, force: bool = False
    ) -> None:
        """As sriov-manage: all functions on or off; instances go.

        :param force: also while some process has an NVML session, which
            is refused as "Cannot obtain unbindLock".
        """
        with self._change() as state, store.no_session(self.path) as free:
            where = _gpu(state, gpu)
            if not (free or force):
                raise codes.SimulatorError("Cannot obtain unbindLock")
            actions.set_sriov(state, where, on)

    def write_sysfs(self, path: str, text: str) -> None:
        """Write to a file below the sysfs root, as the kernel lets one.

        :raises OSError: as the kernel or the driver refuses.
        """
        try:
            with self._store.change() as state:
                sysfs.written(state, path, text)
        except codes.SimulatorError as error:
            raise OSError(errno.EIO, str(error)) from error

    def set_vm(self, pci_address: str, running: bool) -> None:
        """Start or end a VM with the vGPU of a function."""
        with self._change() as state:
            _, function = vgpus.find(state, pci_address)
            if not function.type_id:
                raise codes.SimulatorError("there is no vGPU")
            function.vm = running

    # Instances.

    def create_instance(
        self,
        gpu: GpuRef,
        profile: int | str,
        start: int | None = None,
        compute_instances: bool | collections.abc.Sequence[str] = True,
    ) -> int:
        """Create a GPU instance, and compute instances in it.

        :param profile: profile id or name.
        :param start: in placement units; default where the driver likes.
        :param compute_instances: True is one that fills it, False none,
            else their profile names, for example ``1c.3g.20gb``.
        :returns: the GPU instance's id.
        """
        with self._change() as state:
            where = _gpu(state, gpu)
            wanted = _profile(where, profile)
            at = None if start is None else (start, wanted.size)
            gi = actions.create_gi(state, where, wanted, at)
            names = compute_instances
            if isinstance(names, bool):
                names = [wanted.name] if names else []
            for name in names:
                actions.create_ci(state, where, gi, _ci(where, gi, name))
        return gi.gi_id

    def destroy_instance(self, gpu: GpuRef, instance: InstanceRef) -> None:
        """Destroy a GPU instance with its compute instances."""
        with self._change() as state:
            where = _gpu(state, gpu)
            actions.destroy_whole(state, where, _gi(where, instance))

    def create_compute_instance(
        self,
        gpu: GpuRef,
        instance: InstanceRef,
        profile: int | str,
        start: int | None = None,
    ) -> int:
        """Create a compute instance; returns its id in the GPU instance."""
        with self._change() as state:
            where = _gpu(state, gpu)
            gi = _gi(where, instance)
            wanted = _ci(where, gi, profile)
            at = None if start is None else (start, wanted.slices)
            return actions.create_ci(state, where, gi, wanted, at).ci_id

    def destroy_compute_instance(
        self, gpu: GpuRef, instance: InstanceRef, ci_id: int
    ) -> None:
        """Destroy one compute instance and leave its GPU instance."""
        with self._change() as state:
            where = _gpu(state, gpu)
            gi = _gi(where, instance)
            for ci in gi.compute:
                if ci.ci_id == ci_id:
                    return actions.destroy_ci(state, where, gi, ci)
            raise codes.SimulatorError(f"no compute instance {ci_id}")

    def clear(self, gpu: GpuRef) -> None:
        """Destroy all instances of a GPU."""
        with self._change() as state:
            actions.clear(state, _gpu(state, gpu))

    def add_process(
        self,
        gpu: GpuRef,
        instance: InstanceRef | None,
        pid: int,
        ci: int | None = None,
    ) -> None:
        """Run a process on a GPU instance, or on the whole GPU (None).

        :param ci: the compute instance; default the first, if any.
        """
        with self._change() as state:
            where = _gpu(state, gpu)
            process = states.Process(pid)
            if instance is not None:
                gi = _gi(where, instance)
                ids = sorted(item.ci_id for item in gi.compute)
                process.gi_id = gi.gi_id
                process.ci_id = ci if ci is not None else next(iter(ids), None)
            where.processes.append(process)
            _settle(state)

    def remove_process(
        self, gpu: GpuRef, instance: InstanceRef | None, pid: int
    ) -> None:
        """End a process; SimulatorError where it does not run there."""
        with self._change() as state:
            where = _gpu(state, gpu)
            gi_id = None if instance is None else _gi(where, instance).gi_id
            for process in where.processes:
                if (process.pid, process.gi_id) == (pid, gi_id):
                    return where.processes.remove(process)
            raise codes.SimulatorError(f"no process {pid} there")

    # Faults, for NVML's callers only.

    def set_delay(self, milliseconds: int) -> None:
        """How long every mutating NVML call takes from now on."""
        with self._change() as state:
            state.delay_ms = milliseconds
            _settle(state)

    def fail_next(self, k: int = 1, code: int = codes.UNKNOWN) -> None:
        """The k-th next mutating NVML call (1 is the next) fails once.

        :param code: the NVML return code that it gives.
        """
        self._add_fault(k, "fail", code)

    def kill_next(self, k: int = 1, *, after: bool = False) -> None:
        """The k-th next mutating NVML call kills its process (SIGKILL).

        :param after: once the change was made, else before it is.
        """
        self._add_fault(k, "kill_after" if after else "kill_before")

    def _add_fault(
        self, k: int, action: str, code: int = codes.UNKNOWN
    ) -> None:
        with self._change() as state:
            at = state.mutations + k
            state.faults.append(states.Fault(at, action, code))
            _settle(state)

    def refuse_gi_destroy(self, times: int = 1) -> None:
        """So many GPU instance destroys say IN_USE, though all compute
        instances are gone."""
        with self._change() as state:
            state.stuck_destroys = times
            _settle(state)

    def clear_faults(self) -> None:
        """No more failures, kills, refusals or delay."""
        with self._change() as state:
            state.faults.clear()
            state.stuck_destroys = state.delay_ms = 0

    @contextlib.contextmanager
    def _change(self) -> collections.abc.Iterator[states.State]:
        try:
            with self._store.change() as state:
                yield state
        except codes.Refused as error:
            raise codes.SimulatorError(f"refused: {error.why}") from error
        except OSError as error:
            raise codes.SimulatorError(f"refused: {error.strerror}") from error


def _settle(state: states.State) -> None:
    """Refuse what the file may not hold, before it is written."""
    try:
        parse.state(state.encoded())
    except parse.Malformed as error:
        raise codes.SimulatorError(str(error)) from error


def _addresses(count: int) -> list[str]:
    return [
        f"00000000:{_FIRST_BUS + index:02X}:00.0" for index in range(count)
    ]


def _new_gpu(state: states.State, model: str, address: str) -> states.Gpu:
    if model not in catalog.models():
        known = ", ".join(catalog.models())
        raise codes.SimulatorError(f"no model {model!r}, there are {known}")
    serial = state.new_serial()
    uuid = "GPU-" + state.derived_uuid("gpu", serial)
    return states.Gpu(serial, model, uuid, address.upper())


def _wake_all(state: states.State) -> None:
    for gpu in state.gpus:
        state.emit(gpu, codes.EVENT_MIG_CONFIG_CHANGE)


def _gpu(
    state: states.State, wanted: GpuRef, *, lost: bool = False
) -> states.Gpu:
    """The GPU that is meant; a lost one only where that is of no matter."""
    for index, gpu in enumerate(state.gpus):
        if wanted in (index, gpu.uuid, gpu.pci, gpu.pci[4:].lower()):
            if gpu.lost and not lost:
                raise codes.Refused(codes.GPU_IS_LOST)
            return gpu
    raise codes.SimulatorError(f"no GPU {wanted}")


def _gi(gpu: states.Gpu, wanted: InstanceRef) -> states.GpuInstance:
    for gi in gpu.instances:
        placement = (gi.start, rules.profile_of(gpu, gi).size)
        if wanted in (gi.gi_id, placement):
            return gi
    raise codes.SimulatorError(f"no GPU instance {wanted} on {gpu.pci}")


def _profile(gpu: states.Gpu, wanted: int | str) -> catalog.Profile:
    profile = gpu.kind().profile(wanted)
    if profile is None:
        known = ", ".join(item.name for item in gpu.kind().profiles)
        raise codes.SimulatorError(
            f"{gpu.model} has no profile {wanted}, it has {known}"
        )
    return profile


def _ci(
    gpu: states.Gpu, gi: states.GpuInstance, wanted: int | str
) -> rules.ComputeProfile:
    profile = rules.profile_of(gpu, gi)
    found = rules.compute_profile(gpu.kind(), profile, wanted)
    if found is None:
        items = rules.compute_profiles(gpu.kind(), profile)
        known = ", ".join(item.name for item in items)
        raise codes.SimulatorError(
            f"{profile.name} has no compute profile {wanted}, it has {known}"
        )
    return found
