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
"""Makes a simulated node, removes it, and disturbs its host."""

import collections.abc
import contextlib
import os
from typing import Any
from typing import Self

from mig_placement.simulator import actions
from mig_placement.simulator import codes
from mig_placement.simulator import node_base
from mig_placement.simulator import node_faults
from mig_placement.simulator import node_gpus
from mig_placement.simulator import node_instances
from mig_placement.simulator import slots
from mig_placement.simulator import state as states
from mig_placement.simulator import summary

DRIVER = "580.159.04"


class SimulatedNode(
    node_gpus.Gpus, node_instances.Instances, node_faults.Faults
):
    """The node of a state file, which need not exist yet.

    What it does counts as no NVML call, takes no delay and meets no fault.
    Every method raises SimulatorError: the file is missing or holds no
    state, there is no such GPU or instance, or NVML would refuse.
    """

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
        addresses = pci_addresses or slots.addresses(len(models))
        if len(addresses) != len(models):
            raise codes.SimulatorError("not as many PCI addresses as models")
        with self._store.locked():
            self._continue_counting(state, overwrite)
            for model, address in zip(models, addresses, strict=True):
                gpu = slots.new_gpu(state, model, address)
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
        node_base.settle(state)
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


def _wake_all(state: states.State) -> None:
    for gpu in state.gpus:
        state.emit(gpu, codes.EVENT_MIG_CONFIG_CHANGE)
