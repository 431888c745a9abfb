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
"""plan: the steps to the layout, drawn before and after."""

import argparse

from mig_placement import restore
from mig_placement.cmd import drawing
from mig_placement.cmd import lister
from mig_placement.cmd import restoring
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import steps
from mig_placement.hardware import model
from mig_placement.service import status


class Plan(lister.Lister):
    """Show the steps from the node as it is to the layout.

    Nothing is changed. Every instance that already fits is kept.
    """

    if_empty = "no steps"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        restoring.add_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        arguments = self.app.config_arguments()
        with restoring.scene(arguments, parsed_args) as scene:
            plans = scene.plans()
        if parsed_args.formatter == "table":
            for one in plans:
                self.app.stdout.write("\n".join(drawn(one)) + "\n\n")
        return ("GPU", "Step", "Action", "Profile", "Placement"), [
            (one.gpu.index, str(step), *_fields(step))
            for one in plans
            for step in one.steps
        ]


def _fields(step: steps.Step) -> tuple[str, str, str]:
    """Action, profile and placement of a step, for machines."""
    match step:
        case steps.SetMode():
            return "set-mode", "on" if step.enable else "off", ""
        case steps.DestroyComputeInstance():
            return "destroy-ci", step.ci.profile, ""
        case steps.DestroyGpuInstance():
            return "destroy-gi", step.slot.profile, str(step.slot.placement)
        case steps.CreateGpuInstance():
            return "create-gi", step.slot.profile, str(step.slot.placement)
        case steps.CreateComputeInstance():
            return "create-ci", step.profile, str(step.slot.placement)
        case steps.EnableSriov():
            return "enable-sriov", "", ""
        case steps.SetVgpuType():
            return "set-vgpu-type", step.name, step.pci_address
        case steps.ClearVgpuType():
            return "clear-vgpu-type", "", step.pci_address


def drawn(one: gpu_plan.GpuPlan) -> list[str]:
    """A GPU before and after, and whom the plan disturbs or waits for."""
    slices = status.slices(one.gpu)
    after = [
        (each.profile, each.placement.start, each.placement.size)
        for each in one.after
    ]
    return [
        f"{one.gpu} {one.gpu.product}",
        f"  before {drawing.slices(slices, _shown(one.gpu))}",
        f"  after  {drawing.slices(slices, after)}",
        *(
            f"  destroys {each.slot}, in use: {each.why}"
            for each in one.disturbed
        ),
        *(f"  {line}" for line in restore.waiting_lines(one)),
    ]


def _shown(gpu: model.Gpu) -> list[tuple[str, int, int]]:
    return [
        (each.profile, each.placement.start, each.placement.size)
        for each in gpu.instances
    ]
