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
"""What a node is to have: a label's entries, settled for its GPUs."""

import collections.abc
import dataclasses
import types

from mig_placement import exception
from mig_placement.geometry import declared
from mig_placement.geometry import instances as wanted
from mig_placement.geometry import label as labels
from mig_placement.geometry import yaml_tree
from mig_placement.hardware import model

DeclaredInstance = wanted.DeclaredInstance


@dataclasses.dataclass(frozen=True, slots=True)
class GpuLayout:
    """What one GPU is to have.

    :ivar instances: empty where MIG is to be off, where it is to be on
        without instances, and where a faulty GPU's profiles are unknown.
    :ivar line: of the entry in the layout file.
    """

    mig_enabled: bool
    instances: tuple[DeclaredInstance, ...]
    line: int


@dataclasses.dataclass(frozen=True, slots=True)
class NodeLayout:
    """What the node is to have.

    :ivar source: ``file:line`` of the label.
    :ivar gpus: by NVML's index; a GPU that is not among them is not
        declared.
    """

    label: str
    source: str
    gpus: collections.abc.Mapping[int, GpuLayout]


def resolve(
    layout_file: declared.LayoutFile,
    host: str,
    configured: str,
    node: model.Node,
) -> NodeLayout:
    """The host's layout, proven to be possible on the node's GPUs.

    :param configured: [layout] config.
    :raises LayoutError: no label, a GPU that the node does not have or
        that is named twice, or what a GPU cannot have.
    """
    label = labels.select(layout_file, host, configured)
    owners = _owners(label, node)
    gpus = {
        gpu.index: _gpu_layout(owners[gpu.index], gpu)
        for gpu in node.gpus
        if gpu.index in owners
    }
    return NodeLayout(
        label=label.name,
        source=yaml_tree.where(layout_file.source, label.line),
        gpus=types.MappingProxyType(gpus),
    )


def _owners(
    label: declared.Label, node: model.Node
) -> dict[int, declared.Entry]:
    """The entry of each GPU that the label declares, by index."""
    owners: dict[int, declared.Entry] = {}
    doubtful: list[tuple[model.Gpu, declared.Entry]] = []
    for entry in label.entries:
        for gpu in _named(entry, node, owners):
            if entry.filters and _model_unknown(gpu):
                doubtful.append((gpu, entry))
            elif not entry.filters or _fits(entry, gpu):
                _claim(owners, gpu, entry)
    # A lost GPU may be of the filter's model: it is declared, and so
    # keeps a node from matching without it.
    for gpu, entry in doubtful:
        owners.setdefault(gpu.index, entry)
    if not owners:
        raise _nothing_named(label.entries[0], node)
    return owners


def _nothing_named(
    entry: declared.Entry, node: model.Node
) -> exception.LayoutError:
    # One entry that fits nothing is no error: a label for a fleet has an
    # entry for each model (mig-parted's all-balanced), and a node has one
    # model. That no entry fits is: the operator meant this node.
    ids = sorted({f"0x{gpu.pci_device_id:08X}" for gpu in node.gpus})
    return exception.LayoutError(
        "no entry's devices and device-filter fit a GPU of this node",
        where=entry.where(),
        mend=f"it has {', '.join(ids)}" if ids else "it has no GPU",
    )


def _model_unknown(gpu: model.Gpu) -> bool:
    return bool(gpu.fault) and not gpu.pci_device_id


def _fits(entry: declared.Entry, gpu: model.Gpu) -> bool:
    return any(each.fits(gpu) for each in entry.filters)


def _claim(
    owners: dict[int, declared.Entry], gpu: model.Gpu, entry: declared.Entry
) -> None:
    first = owners.setdefault(gpu.index, entry)
    if first is not entry:
        raise exception.LayoutError(
            f"{gpu} is declared twice, first in line {first.line}",
            where=entry.where(),
            mend="declare each GPU in one entry",
        )


def _named(
    entry: declared.Entry,
    node: model.Node,
    owners: collections.abc.Container[int],
) -> tuple[model.Gpu, ...]:
    """The GPUs of an entry's devices, its filter aside."""
    if entry.devices is None:
        return node.gpus
    found: dict[int, model.Gpu] = {}
    for device in entry.devices:
        gpu = _find(device, entry, node, {*found}, owners)
        if gpu.index in found:
            raise exception.LayoutError(
                f"{device} is {gpu}, which the entry names already",
                where=entry.where(device.line),
                mend="name each GPU once",
            )
        found[gpu.index] = gpu
    return tuple(found.values())


def _find(
    device: declared.Device,
    entry: declared.Entry,
    node: model.Node,
    named: collections.abc.Container[int],
    owners: collections.abc.Container[int],
) -> model.Gpu:
    for gpu in node.gpus:
        if device.is_of(gpu):
            return gpu
    # A lost GPU may have no UUID and address any more: it may be the one.
    for gpu in node.gpus:
        nameless = gpu.fault and not gpu.uuid and not gpu.pci_address
        if (
            nameless
            and isinstance(device.value, str)
            and gpu.index not in named
            and gpu.index not in owners
        ):
            return gpu
    have = [_name_like(device, gpu) for gpu in node.gpus]
    raise exception.LayoutError(
        f"{device} is not on this node",
        where=entry.where(device.line),
        mend=f"it has {', '.join(filter(None, have)) or 'no GPU'}",
    )


def _name_like(device: declared.Device, gpu: model.Gpu) -> str:
    """A GPU by the kind of name that the operator used."""
    if isinstance(device.value, int):
        return str(gpu.index)
    return gpu.uuid if device.value.startswith("GPU-") else gpu.pci_address


def _gpu_layout(entry: declared.Entry, gpu: model.Gpu) -> GpuLayout:
    if not entry.mig_enabled:
        return GpuLayout(False, (), entry.line)
    if gpu.fault and not gpu.profiles:
        # Nothing can be checked; the comparison keeps this GPU closed.
        return GpuLayout(True, (), entry.line)
    if not gpu.mig_capable:
        raise exception.LayoutError(
            f"{gpu} ({gpu.product}) cannot do MIG",
            where=entry.where(),
            mend="leave it out by devices or device-filter",
        )
    return GpuLayout(True, _instances(entry, gpu), entry.line)


def _instances(
    entry: declared.Entry, gpu: model.Gpu
) -> tuple[DeclaredInstance, ...]:
    try:
        return wanted.instances(entry, gpu.profiles)
    except exception.LayoutError as error:
        raise exception.LayoutError(
            f"{gpu}: {error.what}", where=error.where, mend=error.mend
        ) from None
