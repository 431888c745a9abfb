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
"""What plan and apply share: their options, and how they get to a plan."""

import argparse
import collections.abc
import contextlib
import dataclasses
import re

from oslo_config import cfg

from mig_placement import conf
from mig_placement import cycle as cycles
from mig_placement import exception
from mig_placement import restore
from mig_placement.geometry import apply
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import layout
from mig_placement.geometry import target
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model
from mig_placement.placement import desired
from mig_placement.placement import model as placement
from mig_placement.service import nvml
from mig_placement.service import way as ways

_IN_USE = re.compile(r"(?P<gpu>\d+):(?P<profile>[^@]+)@(?P<start>\d+)")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--empty",
        action="store_true",
        help="the layout without any instance, MIG mode as it is",
    )
    parser.add_argument(
        "--destroy-in-use",
        metavar="GPU:PROFILE@START",
        action="append",
        default=[],
        help="let this instance be destroyed although it is in use, for"
        " example 0:3g.20gb@4; may be given more than once",
    )
    parser.add_argument(
        "--without-placement",
        action="store_true",
        help="there is no Placement to be told, and none that knows of"
        " allocations; for nodes that use the restore alone",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """What a command works on.

    :ivar cycle: None without Placement.
    :ivar tree: what Placement holds; None without, or without the node.
    """

    settings: conf.Settings
    library: nvml.Nvml
    seen: desired.Picture
    node: model.Node
    wanted: layout.NodeLayout
    allowed: restore.Allowed
    cycle: cycles.Cycle | None
    tree: placement.Tree | None

    def restorer(
        self, progress: apply.Progress = lambda index, step: None
    ) -> restore.Restorer:
        return restore.Restorer(
            self.settings,
            self.library,
            self.cycle or restore.NoPlacement(),
            self.settings.classes,
            progress,
        )

    def plans(self) -> tuple[gpu_plan.GpuPlan, ...]:
        """:raises HardwareError: NVML does not answer."""
        return self.restorer().plans(
            self.node, self.wanted, self.tree, self.allowed
        )


@contextlib.contextmanager
def scene(
    arguments: list[str], parsed_args: argparse.Namespace
) -> collections.abc.Iterator[Scene]:
    """Look at node, layout and Placement, and hold NVML meanwhile.

    :raises MigPlacementError: one of them cannot be had.
    """
    options = conf.parse(arguments)
    settings = conf.settings(options)
    library = nvml.Nvml(settings)
    cycle = (
        None
        if parsed_args.without_placement
        else _cycle(options, settings, library)
    )
    try:
        yield _scene(parsed_args, settings, library, cycle)
    finally:
        library.let_go()


def _cycle(
    options: cfg.ConfigOpts, settings: conf.Settings, library: nvml.Nvml
) -> cycles.Cycle:
    synchronizer = cycles.synchronizer(
        options, settings.root_name, ways.way(settings).attach
    )
    return cycles.Cycle(settings, library, synchronizer)


def _scene(
    parsed_args: argparse.Namespace,
    settings: conf.Settings,
    library: nvml.Nvml,
    cycle: cycles.Cycle | None,
) -> Scene:
    observer = cycle or cycles.Observer(settings, library)
    seen = observer.look()
    node = _observed(seen)
    return Scene(
        settings=settings,
        library=library,
        seen=seen,
        node=node,
        wanted=_empty(node) if parsed_args.empty else observer.wanted(node),
        allowed=frozenset(
            _allowed(text, node) for text in parsed_args.destroy_in_use
        ),
        cycle=cycle,
        tree=cycle.read() if cycle else None,
    )


def _observed(seen: desired.Picture) -> model.Node:
    """:raises MigPlacementError: the node was not looked at, and why."""
    if seen.node is not None:
        return seen.node
    finding = seen.verdict.findings[0]
    if finding.reason is verdicts.Reason.HARDWARE_ERROR:
        raise exception.HardwareError.again(finding.detail)
    if finding.reason is verdicts.Reason.RESTORING:
        raise exception.ConfigError(
            finding.detail,
            where="this node",
            mend="wait for it, and try again",
        )
    raise exception.ConfigError(
        finding.detail,
        where="the node is held",
        mend="run 'mig-placement release' first",
    )


def _empty(node: model.Node) -> layout.NodeLayout:
    """Without instances those GPUs that have some, MIG mode as it is."""
    gpus = {
        gpu.index: layout.GpuLayout(gpu.mig_pending, (), 0)
        for gpu in node.gpus
        if gpu.mig_capable and gpu.instances
    }
    return layout.NodeLayout("empty", "", gpus)


def _allowed(text: str, node: model.Node) -> tuple[int, target.Located]:
    """:raises ConfigError: there is no such instance."""
    match = _IN_USE.fullmatch(text)
    for gpu in node.gpus if match else ():
        for instance in gpu.instances:
            if (
                match
                and int(match["gpu"]) == gpu.index
                and int(match["start"]) == instance.placement.start
                and match["profile"] in _names_of(gpu, instance)
            ):
                return gpu.index, target.located(instance)
    raise exception.ConfigError(
        f"there is no instance {text}",
        where="--destroy-in-use",
        mend="write it as in 0:3g.20gb@4; see 'mig-placement discover'",
    )


def _names_of(gpu: model.Gpu, instance: model.GpuInstance) -> set[str]:
    """A profile's name, and its id as nvidia-smi has it."""
    return {instance.profile} | {
        str(each.profile_id)
        for each in gpu.profiles
        if each.name == instance.profile
    }
