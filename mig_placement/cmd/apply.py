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
"""apply: do the steps to the layout."""

import argparse
import contextlib
import sys

from mig_placement import cycle
from mig_placement import exception
from mig_placement import restore
from mig_placement.cmd import ending
from mig_placement.cmd import lister
from mig_placement.cmd import restoring
from mig_placement.geometry import steps


class Apply(lister.Lister):
    """Bring the node to its layout.

    The gate is closed first, and opened only if the node is as declared
    afterwards. A GPU on which a step fails gets the geometry back that it
    had. By Ctrl-C, SIGTERM or a lost connection the tool that it runs is
    ended; GPUs whose steps were begun get all of them. Exit status 0: the
    node is as asked; 3: it is not; 128 and more: a signal ended it.
    """

    if_empty = "no steps, nothing was changed"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        restoring.add_options(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        arguments = self.app.config_arguments()
        with (
            ending.in_order(),
            restoring.scene(arguments, parsed_args) as scene,
        ):
            result = _applied(scene)
            if not _is_as_asked(scene) or not (
                parsed_args.empty or _matches(scene)
            ):
                self.exit_status = exception.EXIT_MISMATCH
            _tell(scene)
        return ("GPU", "Steps", "Outcome"), [
            *(
                (each.index, len(each.done), str(each))
                for each in result.outcomes
            ),
            *(
                (one.gpu.index, 0, line)
                for one in result.plans
                for line in restore.waiting_lines(one)
            ),
        ]


def _applied(scene: restoring.Scene) -> restore.Result:
    plans = scene.plans()
    indices = frozenset(each.gpu.index for each in plans if each.steps)
    if not indices:
        return restore.Result(plans)
    return scene.restorer(_show).run(
        scene.seen, scene.wanted, indices, scene.allowed
    )


def _show(index: int, step: steps.Step) -> None:
    """A line for each step, where a person looks on."""
    if sys.stderr.isatty():
        sys.stderr.write(f"GPU {index}: {step}\n")


def _matches(scene: restoring.Scene) -> bool:
    """Also a GPU that no plan could be made for, being lost, counts."""
    observer = cycle.Observer(scene.settings, scene.library)
    return observer.look().verdict.matches


def _is_as_asked(scene: restoring.Scene) -> bool:
    """Believe what is observed now."""
    node = scene.library.observe()
    plans = scene.restorer().plans(node, scene.wanted, scene.tree)
    return not any(each.steps or each.waits for each in plans)


def _tell(scene: restoring.Scene) -> None:
    """Bring Placement to what is true now, which may open the gate.

    :raises PlacementError: it was not told; the gate is closed.
    """
    if scene.cycle is not None:
        with (
            scene.cycle.undisturbed(wake=True),
            contextlib.suppress(exception.RootNotFound),
        ):
            scene.cycle.tell(scene.cycle.look())
