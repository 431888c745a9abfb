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
"""Writes a geometry as a layout file, with exact placements; pure."""

import collections
from typing import Any

import yaml

from mig_placement.hardware import model


def export(node: model.Node, label: str) -> str:
    """A layout file that the node matches as it is.

    GPUs are named by PCI address, which an index is not: it changes when a
    GPU is added. A GPU that does not answer is left out.
    """
    entries = [
        _entry(gpu)
        for gpu in node.gpus
        if gpu.mig_capable and gpu.pci_address and not gpu.fault
    ]
    value = {"version": "v1", "mig-configs": {label: entries}}
    text: str = yaml.safe_dump(value, sort_keys=False)
    return text


def _entry(gpu: model.Gpu) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "devices": [gpu.pci_address],
        "mig-enabled": gpu.mig_mode,
    }
    if gpu.mig_mode:
        entry["mig-devices"] = _devices(gpu)
        if not all(each.compute_instances for each in gpu.instances):
            # Nothing is asked of compute instances where one has none.
            entry["compute-instances"] = False
    return entry


def _devices(gpu: model.Gpu) -> dict[str, list[str]]:
    devices: dict[str, list[str]] = collections.defaultdict(list)
    plain = not all(each.compute_instances for each in gpu.instances)
    for instance in gpu.instances:
        profiles = [each.profile for each in instance.compute_instances]
        for profile in [instance.profile] if plain else profiles:
            devices[profile].append(str(instance.placement))
    return dict(devices)
