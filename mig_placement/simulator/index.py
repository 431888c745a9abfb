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

"""A parsed state made ready for questions: everything found by handle."""

import functools

from mig_placement.simulator import codes
from mig_placement.simulator import packed
from mig_placement.simulator import rules
from mig_placement.simulator import state as states

# A handle is a number of its kind and a serial, never a real address.
_GPU, _GI, _CI, _MIG, _EVENTS = (kind << 44 for kind in (1, 2, 3, 4, 5))

# What a process takes, since MIG reports need a figure: 512 MiB.
PROCESS_BYTES = 512 << 20


def gpu_handle(serial: int) -> int:
    """The number of a GPU's handle."""
    return _GPU + serial


def event_set_key(number: int) -> bytes:
    """The bytes of an event set's handle."""
    return packed.HANDLE.pack(_EVENTS + number)


def gi_key(serial: int) -> bytes:
    """The bytes of a GPU instance's handle."""
    return packed.HANDLE.pack(_GI + serial)


def ci_key(serial: int) -> bytes:
    """The bytes of a compute instance's handle."""
    return packed.HANDLE.pack(_CI + serial)


class Device:
    """What a device handle stands for: a GPU or a MIG device.

    :ivar handle: the pointer's number; ``key`` its bytes.
    :ivar fault: the code that every call gets, or SUCCESS.
    """

    name: str
    memory_bytes: int

    def __init__(self, handle: int, fault: int) -> None:
        self.handle = handle
        self.key = packed.HANDLE.pack(handle)
        self.fault = fault

    @functools.cached_property
    def uuid(self) -> str:
        raise NotImplementedError

    def processes(self) -> list[states.Process]:
        raise NotImplementedError

    def memory(self) -> tuple[int, int, int]:
        """Total, free and used bytes."""
        used = PROCESS_BYTES * len(self.processes())
        return self.memory_bytes, max(self.memory_bytes - used, 0), used


class Card(Device):
    """A physical GPU.

    :ivar packed: the answers about its model.
    :ivar instances: by profile id.
    """

    def __init__(self, state: states.State, index: int) -> None:
        self.gpu = state.gpus[index]
        super().__init__(
            gpu_handle(self.gpu.serial),
            codes.GPU_IS_LOST if self.gpu.lost else codes.SUCCESS,
        )
        self.index = index
        self.privileged = state.privileged
        self.model = self.gpu.kind()
        self.packed = packed.packed_model(self.model)
        self.name = self.model.product
        self.memory_bytes = self.model.memory_mib << 20
        self.instances = [
            Instance(state, self, gi)
            for gi in sorted(self.gpu.instances, key=lambda gi: gi.gi_id)
        ]
        self.mig_devices = [
            compute.device
            for instance in self.instances
            for compute in instance.compute
        ]

    @functools.cached_property
    def uuid(self) -> str:
        return self.gpu.uuid

    def processes(self) -> list[states.Process]:
        return self.gpu.processes

    @functools.cached_property
    def pci_info(self) -> bytes:
        return packed.pci_info(self.model, self.gpu.pci)

    @functools.cached_property
    def handles_by_profile(self) -> dict[int, bytes]:
        """GPU instance handles, ready for the caller's array."""
        found = dict.fromkeys(self.packed.by_id, b"")
        for instance in self.instances:
            found[instance.gi.profile_id] += instance.key
        return found

    @functools.cached_property
    def remaining(self) -> dict[int, int]:
        """How many instances can still be created, by profile id."""
        return {
            profile.profile_id: rules.remaining(self.gpu, profile)
            for profile in self.model.profiles
        }


class Instance:
    """A GPU instance."""

    def __init__(
        self, state: states.State, card: Card, gi: states.GpuInstance
    ) -> None:
        handle = _GI + gi.serial
        self.key = packed.HANDLE.pack(handle)
        self.card = card
        self.gi = gi
        self.packed = card.packed.by_id[gi.profile_id]
        self.handle = handle
        self.info = packed.GI_INFO.pack(
            card.handle,
            gi.gi_id,
            gi.profile_id,
            gi.start,
            self.packed.profile.size,
        )
        self.compute = [
            Compute(state, self, ci)
            for ci in sorted(gi.compute, key=lambda ci: ci.ci_id)
        ]

    @functools.cached_property
    def handles_by_profile(self) -> dict[int, bytes]:
        found = dict.fromkeys(self.packed.compute, b"")
        for compute in self.compute:
            found[compute.ci.profile_id] += compute.key
        return found

    def remaining(self, profile: rules.ComputeProfile) -> int:
        return len(rules.free_compute_starts(self.card.gpu, self.gi, profile))


class Compute:
    """A compute instance, with the MIG device that it makes."""

    def __init__(
        self,
        state: states.State,
        instance: Instance,
        ci: states.ComputeInstance,
    ) -> None:
        handle = _CI + ci.serial
        self.key = packed.HANDLE.pack(handle)
        self.instance = instance
        self.ci = ci
        self.packed = instance.packed.compute[ci.profile_id]
        self.info = packed.CI_INFO.pack(
            instance.card.handle,
            instance.handle,
            ci.ci_id,
            ci.profile_id,
            ci.start,
            self.packed.profile.slices,
        )
        self.device = MigDevice(state, self)


class MigDevice(Device):
    """A MIG device: a compute instance as CUDA sees it."""

    def __init__(self, state: states.State, compute: Compute) -> None:
        card = compute.instance.card
        super().__init__(_MIG + compute.ci.serial, card.fault)
        self.card = card
        self.compute = compute
        self.gi_id = compute.instance.gi.gi_id
        self.ci_id = compute.ci.ci_id
        self.profile = compute.instance.packed.profile
        self.name = f"{card.name} MIG {compute.packed.profile.name}"
        self.memory_bytes = self.profile.memory_mib << 20
        self._state = state

    @functools.cached_property
    def uuid(self) -> str:
        return self._state.mig_uuid(self.compute.ci)

    def processes(self) -> list[states.Process]:
        return [
            process
            for process in self.card.gpu.processes
            if (process.gi_id, process.ci_id) == (self.gi_id, self.ci_id)
        ]

    @functools.cached_property
    def attributes(self) -> bytes:
        """nvmlDeviceAttributes_t."""
        profile = self.profile
        compute = self.compute.packed.profile
        return packed.ATTRIBUTES.pack(
            compute.multiprocessors,
            profile.copy_engines,
            *profile.media_engines,
            profile.compute_slices,
            compute.slices,
            profile.memory_mib,
        )


class Index:
    """One state of the node, by handle."""

    def __init__(self, state: states.State) -> None:
        self.state = state
        self.cards = [Card(state, index) for index in range(len(state.gpus))]
        self.devices: dict[bytes, Device] = {}
        self.instances: dict[bytes, Instance] = {}
        self.compute: dict[bytes, Compute] = {}
        for card in self.cards:
            self._add(card)
        self.by_serial = {card.gpu.serial: card for card in self.cards}

    def _add(self, card: Card) -> None:
        self.devices[card.key] = card
        for instance in card.instances:
            self.instances[instance.key] = instance
            for compute in instance.compute:
                self.compute[compute.key] = compute
                self.devices[compute.device.key] = compute.device

    def by_uuid(self, uuid: str) -> Device | None:
        """The GPU or MIG device of that UUID."""
        for device in self.devices.values():
            if device.uuid == uuid:
                return device
        return None
