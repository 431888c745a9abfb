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
"""simulate: make, reboot and disturb a simulated node."""

import argparse
import json

from cliff import command

from mig_placement import exception
from mig_placement import simulator
from mig_placement.cmd import base
from mig_placement.cmd import lister


class _Simulate(base.Mixin, command.Command):
    """A command that changes a simulated node's state file."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("state", help="state file of the simulated node")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        try:
            said = self.change(
                simulator.SimulatedNode(parsed_args.state), parsed_args
            )
        except simulator.SimulatorError as error:
            raise exception.ConfigError(
                str(error),
                where=f"simulated node {parsed_args.state}",
                mend="'mig-placement simulate show' tells what there is,"
                " 'simulate create --overwrite' makes it anew",
            ) from error
        if said:
            self.app.stdout.write(f"{said}\n")

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        """Do it; what to tell the user."""
        raise NotImplementedError


def _add_gpu(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "gpu", type=_gpu, help="index, UUID or PCI address of the GPU"
    )


def _gpu(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _instance(text: str) -> int | tuple[int, int]:
    """A GPU instance's id, or its placement as start:size."""
    start, colon, size = text.partition(":")
    return (int(start), int(size)) if colon else int(text)


class Create(_Simulate):
    """Make a node, for example of A100-40GB A100-40GB."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "model",
            nargs="+",
            help=f"one of {', '.join(sorted(simulator.models()))}",
        )
        parser.add_argument(
            "--mig", action="store_true", help="switch MIG mode on"
        )
        parser.add_argument(
            "--vgpu",
            choices=("none", "mdev", "vfio"),
            default="none",
            help="with NVIDIA's vGPU host driver, in the way of older"
            " kernels (mdev) or of newer ones (vfio)",
        )
        parser.add_argument(
            "--overwrite", action="store_true", help="replace a node"
        )
        return parser

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        node.create(
            args.model,
            mig=args.mig,
            vgpu="" if args.vgpu == "none" else args.vgpu,
            overwrite=args.overwrite,
        )
        count = len(args.model)
        return f"{count} GPU{'s' if count > 1 else ''} in {node.path}"


class Show(lister.Lister):
    """Show a node's state, as the simulator keeps it."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("state", help="state file of the simulated node")
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        try:
            summary = simulator.SimulatedNode(parsed_args.state).summary()
        except simulator.SimulatorError as error:
            raise exception.ConfigError(
                str(error),
                where=f"simulated node {parsed_args.state}",
                mend="make one with 'mig-placement simulate create'",
            ) from error
        return ("Field", "Value"), [
            (name, json.dumps(value)) for name, value in summary.items()
        ]


class Reboot(_Simulate):
    """Reboot: instances go; MIG mode stays on Ampere, goes from Hopper on."""

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        node.reboot()
        return None


class Mode(_Simulate):
    """Switch a GPU's MIG mode."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_gpu(parser)
        parser.add_argument("mode", choices=("on", "off"))
        return parser

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        if node.set_mig(args.gpu, args.mode == "on"):
            return None
        return "pending until the GPU is reset"


class _OnGpu(_Simulate):
    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_gpu(parser)
        return parser


class Sriov(_OnGpu):
    """Switch a GPU's virtual functions, as sriov-manage; instances go."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("mode", choices=("on", "off"))
        return parser

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        node.set_sriov(args.gpu, args.mode == "on")
        return None


class Reset(_OnGpu):
    """Reset a GPU: instances go, a pending MIG mode is applied."""

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        node.reset_gpu(args.gpu)
        return None


class Lose(_OnGpu):
    """Let a GPU fall off the bus."""

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        node.lose_gpu(args.gpu)
        return None


class Return(_OnGpu):
    """Bring a lost GPU back."""

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        node.return_gpu(args.gpu)
        return None


class Add(_OnGpu):
    """Create GPU instances with their compute instances."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "profile",
            nargs="+",
            help="profile name or id; with @START at a placement",
        )
        parser.add_argument(
            "--no-compute-instances",
            action="store_true",
            help="leave the GPU instances without compute instances",
        )
        return parser

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        made = []
        for text in args.profile:
            name, _, start = text.partition("@")
            made.append(
                node.create_instance(
                    args.gpu,
                    int(name) if name.isdigit() else name,
                    int(start) if start else None,
                    not args.no_compute_instances,
                )
            )
        return f"GPU instances {' '.join(str(each) for each in made)}"


class Remove(_OnGpu):
    """Destroy GPU instances with their compute instances."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "instance",
            nargs="*",
            type=_instance,
            help="id, or placement as START:SIZE; default: all",
        )
        return parser

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        if not args.instance:
            node.clear(args.gpu)
        for each in args.instance:
            node.destroy_instance(args.gpu, each)
        return None


class Xid(_OnGpu):
    """Report an XID of a GPU, or of one GPU instance."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("xid", type=int)
        parser.add_argument(
            "--instance", type=_instance, help="id, or START:SIZE"
        )
        return parser

    def change(
        self, node: simulator.SimulatedNode, args: argparse.Namespace
    ) -> str | None:
        node.send_xid(args.gpu, args.xid, args.instance)
        return None
