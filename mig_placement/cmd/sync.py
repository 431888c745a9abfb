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
"""sync: one full cycle, then exit."""

import argparse
import contextlib
import logging

from oslo_config import cfg

from mig_placement import conf
from mig_placement import cycle
from mig_placement import exception
from mig_placement.cmd import lister
from mig_placement.placement import sync
from mig_placement.service import nvml
from mig_placement.service import way as ways

LOG = logging.getLogger(__name__)


class Sync(lister.Lister):
    """Observe, compare and bring Placement in step, once.

    Exit status 0: the gate is open; 3: it is closed.
    """

    if_empty = "Placement has it so: nothing to write"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="show the calls that would be made; write nothing",
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        options = conf.parse(self.app.config_arguments())
        settings = conf.settings(options)
        outcome = once(settings, options, dry_run=parsed_args.dry_run)
        if not outcome.desired.root_ready:
            self.exit_status = exception.EXIT_MISMATCH
        return ("Stage", "Method", "URL", "Change"), [
            (
                action.stage.name.lower(),
                action.request().method,
                action.request().url,
                str(action),
            )
            for action in outcome.actions
        ]


def once(
    settings: conf.Settings,
    options: cfg.ConfigOpts,
    *,
    dry_run: bool = False,
) -> sync.Outcome:
    """One cycle without an agent.

    :raises PlacementError: Placement does not hold what it should.
    """
    synchronizer = cycle.synchronizer(
        options, settings.root_name, ways.way(settings).attach
    )
    library = nvml.Nvml(settings)
    try:
        one = cycle.Cycle(settings, library, synchronizer)
        # A dry run makes no lock either.
        alone = one.undisturbed(wake=True)
        with contextlib.nullcontext() if dry_run else alone:
            seen = one.look()
            outcome = one.would_tell(seen) if dry_run else one.tell(seen)
            # Not before Placement was told: until then it is not closed.
            for finding in seen.verdict.findings:
                LOG.warning(
                    "the gate is closed, no new VM gets a slice: %s", finding
                )
            return outcome
    finally:
        library.let_go()
