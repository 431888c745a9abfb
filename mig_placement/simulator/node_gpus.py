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
"""Disturbs GPUs: MIG mode, resets, slots, XIDs and SR-IOV."""

import errno

from mig_placement.simulator import actions
from mig_placement.simulator import codes
from mig_placement.simulator import node_base
from mig_placement.simulator import parse
from mig_placement.simulator import refs
from mig_placement.simulator import slots
from mig_placement.simulator import store
from mig_placement.simulator import sysfs
from mig_placement.simulator import vgpu as vgpus


class Gpus(node_base.Base):
    """The GPUs of a simulated node and their virtual functions."""

    def set_mig(self, gpu: refs.GpuRef, enabled: bool) -> bool:
        """Set the MIG mode; False where it is pending until a reset."""
        with self._change() as state:
            status = actions.set_mode(
                state, refs.find_gpu(state, gpu), enabled
            )
        return status == codes.SUCCESS

    def reset_gpu(self, gpu: refs.GpuRef, *, force: bool = False) -> None:
        """Reset a GPU: instances go, the pending MIG mode is applied.

        :param force: also while some process has an NVML session, which
            a real reset refuses as "in use by another client".
        """
        with self._change() as state, store.no_session(self.path) as free:
            if not (free or force):
                raise codes.Refused(codes.IN_USE, "an NVML session is open")
            actions.reset(state, refs.find_gpu(state, gpu))

    def lose_gpu(self, gpu: refs.GpuRef) -> None:
        """The GPU falls off the bus (XID 79)."""
        with self._change() as state:
            actions.lose(state, refs.find_gpu(state, gpu, lost=True))

    def return_gpu(self, gpu: refs.GpuRef) -> None:
        """A lost GPU is back, as after a reset."""
        with self._change() as state:
            actions.bring_back(state, refs.find_gpu(state, gpu, lost=True))

    def add_gpu(self, model: str, pci_address: str | None = None) -> None:
        """Plug a GPU in, behind the others; MIG mode off."""
        with self._change() as state:
            used = {gpu.pci for gpu in state.gpus}
            free = [
                address
                for address in slots.addresses(parse.MAX_GPUS)
                if address not in used
            ]
            address = pci_address or next(iter(free), "")
            state.gpus.append(slots.new_gpu(state, model, address))
            node_base.settle(state)

    def remove_gpu(self, gpu: refs.GpuRef) -> None:
        """Unplug a GPU; those behind it move up by one index."""
        with self._change() as state:
            removed = refs.find_gpu(state, gpu, lost=True)
            state.emit(removed, codes.EVENT_MIG_CONFIG_CHANGE)
            state.gpus.remove(removed)

    def move_gpu(self, gpu: refs.GpuRef, pci_address: str) -> None:
        """Put a GPU into another slot; the host is off meanwhile."""
        with self._change() as state:
            moved = refs.find_gpu(state, gpu, lost=True)
            if any(each.pci == pci_address.upper() for each in state.gpus):
                raise codes.SimulatorError("the slot is taken")
            actions.reboot(state)
            moved.pci = pci_address.upper()
            node_base.settle(state)

    def replace_gpu(self, gpu: refs.GpuRef, model: str | None = None) -> None:
        """Put a new GPU into a GPU's slot; MIG mode off."""
        with self._change() as state:
            old = refs.find_gpu(state, gpu, lost=True)
            state.emit(old, codes.EVENT_MIG_CONFIG_CHANGE)
            new = slots.new_gpu(state, model or old.model, old.pci)
            state.gpus[state.gpus.index(old)] = new

    def send_xid(
        self,
        gpu: refs.GpuRef,
        xid: int,
        gi: refs.InstanceRef | None = None,
        ci: int | None = None,
    ) -> None:
        """Report an XID, of the whole GPU or of one instance."""
        with self._change() as state:
            sick = refs.find_gpu(state, gpu, lost=True)
            gi_id = None if gi is None else refs.find_gi(sick, gi).gi_id
            state.emit(sick, codes.EVENT_XID, xid, gi_id, ci)

    # Virtual functions.

    @property
    def sysfs_root(self) -> str:
        """The directory that stands for /sys, of a node with vGPUs."""
        return sysfs.root(self.path)

    def set_sriov(
        self, gpu: refs.GpuRef, on: bool = True, *, force: bool = False
    ) -> None:
        """As sriov-manage: all functions on or off; instances go.

        :param force: also while some process has an NVML session, which
            is refused as "Cannot obtain unbindLock".
        """
        with self._change() as state, store.no_session(self.path) as free:
            where = refs.find_gpu(state, gpu)
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
