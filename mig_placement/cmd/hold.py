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
"""hold and release: closing the gate by hand."""

import argparse
import collections.abc
import contextlib
import time
from typing import Any

from cliff import command

from mig_placement import conf
from mig_placement import exception
from mig_placement.cmd import base
from mig_placement.service import hold
from mig_placement.service import lock
from mig_placement.service import marks
from mig_placement.service import status

_POLL = 0.1


class _Told(base.Mixin, command.Command):
    """Changes the hold and waits until Placement has been told."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--timeout",
            type=float,
            default=30,
            metavar="SECONDS",
            help="how long to wait for the agent (default: 30)",
        )
        return parser

    def tell(
        self,
        settings: conf.Settings,
        timeout: float,
        seen: collections.abc.Callable[[Any], bool],
    ) -> str:
        """How it stands after the agent, or we, told Placement.

        :param seen: whether a status shows that the agent took it up.
        :raises PlacementError: Placement was not told.
        """
        if lock.agent_runs(settings.run_dir):
            return _wait(settings, timeout, seen)
        try:
            return self._tell(settings)
        except exception.RootNotFound:
            return _nothing_offered(settings)

    def _tell(self, settings: conf.Settings) -> str:
        # Imported here: with an agent the SDK is not needed.
        from mig_placement.cmd import sync

        options = conf.parse(self.app.config_arguments())
        outcome = sync.once(settings, options)
        return _gate("open" if outcome.desired.root_ready else "closed")


class Place(_Told):
    """Close the gate by hand, until 'release', over restarts and reboots.

    Running VMs keep what they have. The agent lets go of NVML, so that
    GPUs can be reset and SR-IOV set up.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("reason", nargs="+", help="why, for others")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        settings = self.settings()
        # A status that the agent's last run left may tell of a hold, too.
        before = time.time()
        held = hold.place(settings.state_dir, " ".join(parsed_args.reason))
        state = self.tell(
            settings,
            parsed_args.timeout,
            lambda value: _is_held(value) and _is_settled(value, before),
        )
        self.app.stdout.write(f"held: {held}; {state}\n")


class Release(_Told):
    """Take the hold away, and forget what XIDs said of the GPUs.

    The gate opens if the node is as declared.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        settings = self.settings()
        was_held = hold.release(settings.state_dir)
        forgotten = marks.clear(settings.run_dir)
        # Where nothing changed, the agent has nothing to look at anew.
        before = time.time() if was_held or forgotten else 0.0
        state = self.tell(
            settings,
            parsed_args.timeout,
            lambda value: not _is_held(value) and _is_settled(value, before),
        )
        what = "released" if was_held else "no hold was placed"
        if forgotten:
            word = "mark" if forgotten == 1 else "marks"
            what = f"{what}, {forgotten} health {word} forgotten"
        self.app.stdout.write(f"{what}; {state}\n")


def _gate(state: str) -> str:
    return f"the gate is {state}"


def _nothing_offered(settings: conf.Settings) -> str:
    return f"Placement does not know {settings.root_name}: nothing is offered"


def _is_held(value: Any) -> bool:
    return any(r["reason"] == "HOLD" for r in value["gate"]["reasons"])


def _is_settled(value: Any, moment: float) -> bool:
    """Whether it is of a later cycle, and of the end of that."""
    return bool(value["written"] >= moment) and not value.get("restoring")


def _wait(
    settings: conf.Settings,
    timeout: float,
    seen: collections.abc.Callable[[Any], bool],
) -> str:
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        with contextlib.suppress(exception.ConfigError):
            # The agent may not have written one yet.
            value = status.read(settings.run_dir)
            placement = value["placement"]
            if seen(value) and placement["in_step"]:
                return _gate(value["gate"]["state"])
            if seen(value) and placement.get("root_missing"):
                return _nothing_offered(settings)
        time.sleep(_POLL)
    raise exception.PlacementUnreachable(
        f"the agent did not confirm it within {timeout:g} s; until it does,"
        " Placement offers what it did before",
        where="mig-placement-agent",
        mend="look at 'mig-placement status'; it goes on trying",
    )
