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
"""check: is the layout possible, and does the node match it."""

import argparse
import collections
import collections.abc
import dataclasses
import pathlib

from mig_placement import conf
from mig_placement import exception
from mig_placement.cmd import base
from mig_placement.cmd import hypothetical
from mig_placement.cmd import lister
from mig_placement.geometry import compare
from mig_placement.geometry import functions
from mig_placement.geometry import layout
from mig_placement.geometry import layout_file
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import health
from mig_placement.hardware import model
from mig_placement.service import hold
from mig_placement.service import marks
from mig_placement.service import way as ways

_COLUMNS = ("GPU", "PCI address", "Declared", "Observed", "Verdict", "Why")


class Check(lister.Lister):
    """Check the layout, and compare the node with it.

    Exit status 0: the node matches; 3: it does not; 2: the layout cannot
    be had. With --model the layout alone is checked.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "file",
            nargs="?",
            help="layout file; default: [layout] file of the configuration",
        )
        parser.add_argument(
            "--label", help="label under mig-configs; default: as the agent"
        )
        hypothetical.add_model(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        settings = self.settings()
        node, wanted = resolve(settings, parsed_args)
        if parsed_args.model:
            return _COLUMNS[:4], [_declared(gpu, wanted) for gpu in node.gpus]
        ailments = health.ailments(marks.read(settings.run_dir))
        compared = compare.compare(node, wanted, ailments)
        verdict = functions.judge(compared, node, wanted, ways.way(settings))
        held = hold.read(settings.state_dir)
        unfit = any(gpu.unfit for gpu in verdict.gpus)
        if held is not None or unfit or not verdict.matches:
            self.exit_status = exception.EXIT_MISMATCH
        return _COLUMNS, _rows(node, wanted, verdict, held)


def resolve(
    settings: conf.Settings, parsed_args: argparse.Namespace
) -> tuple[model.Node, layout.NodeLayout]:
    """The node, or one of --model, and its layout.

    :raises LayoutError: it cannot have the layout.
    :raises HardwareError: NVML gives no usable answer.
    """
    path = pathlib.Path(parsed_args.file or settings.layout_file)
    declared = layout_file.load(path)
    if parsed_args.label:
        # What is asked for by hand is checked, whatever host it is for.
        declared = dataclasses.replace(declared, hosts=())
    node = (
        hypothetical.node(parsed_args.model)
        if parsed_args.model
        else base.observe(settings)
    )
    label = parsed_args.label or settings.label
    return node, layout.resolve(declared, settings.host, label, node)


def _declared(gpu: model.Gpu, wanted: layout.NodeLayout) -> tuple[object, ...]:
    asked = wanted.gpus.get(gpu.index)
    if asked is None:
        text = "nothing"
    elif not asked.mig_enabled:
        text = "MIG off"
    else:
        text = counted(each.profile for each in asked.instances)
    observed = counted(each.profile for each in gpu.instances)
    return gpu.index, gpu.pci_address, text, observed


def counted(profiles: collections.abc.Iterable[str]) -> str:
    """``1x 4g.20gb + 3x 1g.5gb``, or ``empty``; the same for the same."""
    counts = sorted(collections.Counter(profiles).items(), reverse=True)
    return " + ".join(f"{n}x {name}" for name, n in counts) or "empty"


def _rows(
    node: model.Node,
    wanted: layout.NodeLayout,
    verdict: verdicts.Verdict,
    held: hold.Hold | None,
) -> list[tuple[object, ...]]:
    judged = {gpu.index: gpu for gpu in verdict.gpus}
    rows: list[tuple[object, ...]] = [
        (*_declared(gpu, wanted), *_judgement(judged[gpu.index]))
        for gpu in node.gpus
    ]
    rows += [
        ("node", "", "", "", "mismatch", str(f)) for f in verdict.findings
    ]
    if held is not None:
        rows.append(("node", "", "", "", "held", f"HOLD: {held}"))
    return rows


def _judgement(judged: verdicts.GpuVerdict) -> tuple[str, str]:
    found = (*judged.findings, *judged.unfit)
    why = "; ".join(str(finding) for finding in found)
    if not judged.declared:
        return "undeclared", why
    if not judged.matches:
        return "mismatch", why
    return "unfit" if judged.unfit else "match", why
