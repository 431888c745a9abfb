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
"""Nodes with SR-IOV and vGPU types, and layouts of theirs, for tests."""

import collections.abc
import pathlib

from mig_placement.geometry import functions
from mig_placement.geometry import layout
from mig_placement.hardware import model
from mig_placement.nova import config_files
from mig_placement.nova import needed
from tests.unit.data import models

FIRST_TYPE = 400
TOTAL_FUNCTIONS = 16


def vgpu_types(name: str) -> tuple[model.VgpuType, ...]:
    """One compute type for each profile; ids differ between models."""
    first = FIRST_TYPE + 100 * models.NAMES.index(name)
    return tuple(
        model.VgpuType(
            type_id=first + number,
            name=f"{name}-{profile.slices}-{number}C",
            profile=profile.name,
        )
        for number, profile in enumerate(models.profiles(name))
    )


def function(
    gpu: int, index: int, attach: str, types: frozenset[int]
) -> model.VirtualFunction:
    return model.VirtualFunction(
        pci_address=function_address(gpu, index),
        mdev_types=types if attach == "mdev" else frozenset(),
        is_variant=attach == "vfio",
    )


def function_address(gpu: int, index: int) -> str:
    """As sysfs has it; 0000:41:00.4 is the first of GPU 0."""
    return model.function_address(f"0000:{0xC1 + gpu:02x}:00.0", 4 + index)


def gpu(
    index: int = 0,
    name: str = models.A100,
    attach: str = "mdev",
    *,
    sriov: bool = True,
    **changes: object,
) -> model.Gpu:
    types = vgpu_types(name)
    ids = frozenset(each.type_id for each in types)
    virtual = tuple(
        function(index, number, attach, ids)
        for number in range(TOTAL_FUNCTIONS if sriov else 0)
    )
    values: dict[str, object] = {
        "vgpu_types": types,
        "sriov": model.Sriov(TOTAL_FUNCTIONS, 4, 1, virtual),
        **changes,
    }
    return models.gpu(name, index, **values)


def node_layout(
    *gpus: collections.abc.Sequence[str], label: str = "some"
) -> layout.NodeLayout:
    """A layout of so many profiles on each GPU, by its index."""
    return layout.NodeLayout(
        label=label,
        source="layout.yaml:3",
        gpus={
            index: layout.GpuLayout(
                mig_enabled=True,
                instances=tuple(
                    layout.DeclaredInstance(each, None, None)
                    for each in profiles
                ),
                line=4,
            )
            for index, profiles in enumerate(gpus)
        },
    )


def rules_of(
    attach: str,
    vgpu_types: collections.abc.Mapping[str, str] | None = None,
    classes: collections.abc.Mapping[str, str] | None = None,
) -> needed.Rules:
    way = functions.Way(functions.Attach(attach), vgpu_types or {})
    return needed.Rules(way, classes or {})


def config(
    *gpus: collections.abc.Sequence[str],
    attach: str = "mdev",
    classes: collections.abc.Mapping[str, str] | None = None,
    vgpu_types: collections.abc.Mapping[str, str] | None = None,
) -> needed.NovaConfig:
    """What A100s with so many profiles each need."""
    node = models.node(*(gpu(i, attach=attach) for i in range(len(gpus))))
    rules = rules_of(attach, vgpu_types, classes)
    return needed.needed(node, node_layout(*gpus), rules)


def read(folder: pathlib.Path, *texts: str) -> config_files.Found:
    """Texts as the files of one nova-compute, in this order."""
    paths = []
    for number, text in enumerate(texts):
        path = folder / f"nova-{number}.conf"
        path.write_text(text)
        paths.append(str(path))
    return config_files.read(paths)
