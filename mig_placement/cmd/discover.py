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
"""profiles and discover: what the GPUs can have, and what they have."""

import argparse
import collections.abc

from mig_placement import conf
from mig_placement.cmd import base
from mig_placement.cmd import hypothetical
from mig_placement.cmd import lister
from mig_placement.hardware import model
from mig_placement.hardware import session
from mig_placement.hardware import usage
from mig_placement.placement import names
from mig_placement.service import nvml

_Rows = collections.abc.Iterator[tuple[object, ...]]
_Table = tuple[tuple[str, ...], _Rows]


class Profiles(lister.Lister):
    """Show the GPU instance profiles and placements of each GPU."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        hypothetical.add_model(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        settings = self.settings()
        node = (
            hypothetical.node(parsed_args.model)
            if parsed_args.model
            else base.observe(settings)
        )
        columns = (
            "GPU",
            "Product",
            "Profile",
            "ID",
            "Resource class",
            "Compute slices",
            "Memory MiB",
            "SMs",
            "Most",
            "Placements",
        )
        return columns, _profiles(node, settings.classes)


def _profiles(
    node: model.Node, classes: collections.abc.Mapping[str, str]
) -> _Rows:
    for gpu in node.gpus:
        for profile in gpu.profiles:
            yield (
                gpu.index,
                gpu.product,
                profile.name,
                profile.profile_id,
                names.class_name(profile.name, classes),
                profile.slices,
                profile.memory_mib,
                profile.multiprocessors,
                profile.max_instances,
                " ".join(str(each) for each in profile.placements),
            )


class Discover(lister.Lister):
    """Show GPUs, their MIG mode and the instances that exist.

    With --functions show their virtual functions, what vGPU type each has,
    on which GPU instance, and the VM that runs with it where NVML knows.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--functions",
            action="store_true",
            help="show virtual functions instead of instances",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        if parsed_args.functions:
            return _FUNCTION_COLUMNS, iter(_functions_of(self.settings()))
        columns = (
            "GPU",
            "PCI address",
            "Product",
            "MIG mode",
            "GI",
            "Profile",
            "Placement",
            "Compute instances",
            "UUID",
        )
        return columns, _instances(base.observe(self.settings()))


_FUNCTION_COLUMNS = (
    "GPU",
    "PCI address",
    "Function",
    "Way",
    "vGPU type",
    "GI",
    "VM",
)


def _functions_of(settings: conf.Settings) -> list[tuple[object, ...]]:
    nvml.choose_library(settings)
    with session.Session(functions=nvml.all_functions(settings)) as opened:
        node = opened.observe()
        return [
            row
            for gpu in node.gpus
            if gpu.sriov and not gpu.fault
            for row in _functions(gpu, usage.vms(gpu))
        ]


def _functions(
    gpu: model.Gpu, vms: collections.abc.Mapping[int, tuple[str, ...]]
) -> _Rows:
    names_of = {each.type_id: each.name for each in gpu.vgpu_types}
    functions = gpu.sriov.functions if gpu.sriov else ()
    if not functions:
        yield gpu.index, gpu.pci_address, "SR-IOV is off", "", "", "", ""
    for each in functions:
        type_id = each.current_type or each.mdev_type
        yield (
            gpu.index,
            gpu.pci_address,
            each.pci_address,
            "vfio" if each.is_variant else "mdev" if each.mdev_types else "",
            names_of.get(type_id, str(type_id)) if type_id else "",
            "" if each.gi_id is None else each.gi_id,
            " ".join(vms.get(-1 if each.gi_id is None else each.gi_id, ())),
        )


def mode(gpu: model.Gpu) -> str:
    """The MIG mode in a word or two."""
    if gpu.fault:
        return f"unknown: {gpu.fault}"
    if not gpu.mig_capable:
        return "not capable"
    current = "on" if gpu.mig_mode else "off"
    if gpu.mig_mode == gpu.mig_pending:
        return current
    return f"{current}, {'on' if gpu.mig_pending else 'off'} pending"


def _instances(node: model.Node) -> _Rows:
    for gpu in node.gpus:
        first = (gpu.index, gpu.pci_address, gpu.product, mode(gpu))
        if not gpu.instances:
            yield (*first, "", "", "", "", gpu.uuid)
        for instance in gpu.instances:
            yield (
                *first,
                instance.gi_id,
                instance.profile,
                str(instance.placement),
                " ".join(
                    f"{ci.ci_id}:{ci.profile}"
                    for ci in instance.compute_instances
                ),
                gpu.uuid,
            )
