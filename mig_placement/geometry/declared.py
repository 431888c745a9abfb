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
"""What a layout file declares, as values that know their lines."""

import collections.abc
import dataclasses

from mig_placement.geometry import yaml_tree
from mig_placement.hardware import model


def normal_uuid(text: str) -> str:
    """A GPU's UUID in one form, empty where it is not known."""
    return f"GPU-{text[4:].lower()}" if text else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """A GPU as an entry names it.

    :ivar value: NVML's index; or a UUID (``GPU-...``, lower case after
        the prefix); or a PCI address in sysfs form.
    """

    value: int | str
    line: int

    def is_of(self, gpu: model.Gpu) -> bool:
        return self.value in (
            gpu.index,
            normal_uuid(gpu.uuid),
            gpu.pci_address or None,
        )

    def __str__(self) -> str:
        if isinstance(self.value, int):
            return f"GPU index {self.value}"
        return self.value


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceFilter:
    """A GPU model by its PCI ids, 0xDDDDVVVV and 0xSSSSVVVV.

    :ivar subsystem_id: None is any.
    """

    device_id: int
    subsystem_id: int | None = None

    def fits(self, gpu: model.Gpu) -> bool:
        return self.device_id == gpu.pci_device_id and self.subsystem_id in (
            None,
            gpu.pci_subsystem_id,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class WantedPlacement:
    """:ivar size: None is the size that the profile has at that start."""

    start: int
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.start}" + (f":{self.size}" if self.size else "")


@dataclasses.dataclass(frozen=True, slots=True)
class MigDevices:
    """How many instances of a profile an entry wants, or where.

    :ivar profile: as written: a name, or nvidia-smi's number.
    :ivar placements: one for each of ``count``; None is anywhere. Of
        compute instances smaller than their GPU instance these are the
        GPU instance's: equal ones share one.
    """

    profile: str
    count: int
    placements: tuple[WantedPlacement, ...] | None
    line: int


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What some GPUs are to have.

    :ivar devices: None is all.
    :ivar filters: none is any model.
    :ivar compute_instances: whether every GPU instance is to have its
        compute instances; False is ours, for vGPU hosts.
    """

    source: str
    label: str
    line: int
    devices: tuple[Device, ...] | None
    filters: tuple[DeviceFilter, ...]
    mig_enabled: bool
    mig_devices: tuple[MigDevices, ...] = ()
    compute_instances: bool = True

    def where(self, line: int | None = None) -> str:
        """For an error that concerns the entry or one line of it."""
        return yaml_tree.where(self.source, line or self.line, self.label)


@dataclasses.dataclass(frozen=True, slots=True)
class Label:
    name: str
    line: int
    entries: tuple[Entry, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class HostRule:
    """A line of ``mig-nodes``: hosts of that glob have that label."""

    glob: str
    label: str
    line: int


@dataclasses.dataclass(frozen=True, slots=True)
class LayoutFile:
    """A valid layout file. Whether a node can have it is not known yet."""

    source: str
    labels: collections.abc.Mapping[str, Label]
    hosts: tuple[HostRule, ...] = ()
