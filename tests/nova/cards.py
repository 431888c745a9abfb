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
"""GPUs as the simulated node's vGPU driver shows them to libvirt."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from mig_placement import simulator
from mig_placement.hardware import model

_DEVICES = "bus/pci/devices"
# SR-IOV of the simulated A100.
_FIRST_VF = 4


@dataclasses.dataclass(frozen=True)
class Vf:
    """A virtual function.

    :param available: mdevs of each type that could be made on it now.
    :param current: the vGPU type that it has, on hosts without mdevs.
    :param gi_id: the GPU instance of its vGPU.
    """

    address: str
    available: Mapping[str, int]
    current: int = 0
    gi_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Card:
    """A GPU; without SR-IOV it has no VFs.

    :param address: of the physical function.
    """

    address: str
    vfs: tuple[Vf, ...]


@dataclasses.dataclass(frozen=True)
class Mdev:
    """A mediated device of a VF."""

    uuid: str
    vf: str
    type: str


class Cards:
    """All GPUs of a node.

    :param vfs: how many of each GPU's functions tests name.
    """

    def __init__(self, gpus: simulator.SimulatedNode, vfs: int = 3) -> None:
        self._gpus = gpus
        self._vfs = vfs
        self._known: tuple[object, list[Card]] = (None, [])

    def enable_sriov(self) -> None:
        """As sriov-manage, whoever has NVML open."""
        for index, gpu in enumerate(self._all()):
            if not gpu["functions"]:
                self._gpus.set_sriov(index, force=True)

    def version(self) -> object:
        """Another one whenever anything has changed."""
        found = os.stat(self._gpus.path)
        return found.st_mtime_ns, found.st_ino

    def now(self) -> list[Card]:
        """What the driver shows."""
        version = self.version()
        if self._known[0] != version:
            self._known = version, self._read()
        return self._known[1]

    def _read(self) -> list[Card]:
        return [
            Card(
                _address(gpu),
                tuple(self._vf(item) for item in gpu["functions"]),
            )
            for gpu in self._all()
        ]

    def mdevs(self) -> list[Mdev]:
        """Those that exist, in use by a VM or not."""
        return [
            Mdev(item["mdev"], item["pci_address"], _name(item["type_id"]))
            for gpu in self._all()
            for item in gpu["functions"]
            if item["mdev"]
        ]

    def create_mdev(self, mdev: Mdev) -> None:
        """``echo UUID > create``; OSError where the driver refuses."""
        folder = f"{_DEVICES}/{mdev.vf}/mdev_supported_types/{mdev.type}"
        self._gpus.write_sysfs(f"{folder}/create", mdev.uuid)

    def remove_mdev(self, uuid: str) -> None:
        """``echo 1 > remove``."""
        self._gpus.write_sysfs(f"bus/mdev/devices/{uuid}/remove", "1")

    def set_type(self, vf: str, wanted: int) -> None:
        """Write ``current_vgpu_type``; 0 takes it away."""
        path = f"{_DEVICES}/{vf}/nvidia/current_vgpu_type"
        self._gpus.write_sysfs(path, str(wanted))

    def has_type(self, vf: str) -> bool:
        return any(
            item["pci_address"] == vf and item["type_id"]
            for gpu in self._all()
            for item in gpu["functions"]
        )

    def vf_addresses(self, gpu: int) -> list[str]:
        """Where a GPU's first VFs are, or will be."""
        own = _address(self._all()[gpu])
        places = range(_FIRST_VF, _FIRST_VF + self._vfs)
        return [model.function_address(own, place) for place in places]

    def _all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._gpus.summary()["gpus"]
        return found

    def _vf(self, item: Mapping[str, Any]) -> Vf:
        return Vf(
            item["pci_address"],
            self._available(item["pci_address"]),
            item["type_id"],
            item["gi_id"],
        )

    def _available(self, vf: str) -> dict[str, int]:
        root = pathlib.Path(self._gpus.sysfs_root) / _DEVICES / vf
        files = root.glob("mdev_supported_types/*/available_instances")
        return {file.parent.name: int(file.read_text()) for file in files}


def _name(type_id: int) -> str:
    return f"nvidia-{type_id}"


def _address(gpu: Mapping[str, Any]) -> str:
    """As sysfs has it; NVML's has a domain of eight digits."""
    return str(gpu["pci_address"]).lower()[4:]
