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
"""status: what the agent last saw and did."""

import argparse
import collections.abc
import sys
from typing import Any

from cliff import columns
from cliff import show

from mig_placement import exception
from mig_placement.cmd import base
from mig_placement.cmd import drawing
from mig_placement.service import lock
from mig_placement.service import status


class _Reasons(columns.FormattableColumn[Any]):
    def human_readable(self) -> str:
        return "\n".join(f"{r['reason']}: {r['detail']}" for r in self._value)

    def machine_readable(self) -> Any:
        return self._value


class _Lines(columns.FormattableColumn[Any]):
    def human_readable(self) -> str:
        return "\n".join(self._value)

    def machine_readable(self) -> Any:
        return self._value


class _Gpus(columns.FormattableColumn[Any]):
    def human_readable(self) -> str:
        return "\n".join(
            line for gpu in self._value for line in gpu_lines(gpu)
        )

    def machine_readable(self) -> Any:
        return self._value


class Status(base.Mixin, show.ShowOne):
    """Show what the agent last saw and did.

    Exit status 0: the gate is open; 3: it is closed or not known, or no
    agent runs to keep it true.
    """

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], tuple[object, ...]]:
        settings = self.settings()
        value = status.read(settings.run_dir)
        runs = lock.agent_runs(settings.run_dir)
        fields = _fields(value, runs)
        if not runs:
            print(
                "mig-placement: no agent runs on this node, this is what the"
                " last one saw; start mig-placement-agent",
                file=sys.stderr,
            )
        if not runs or value["gate"]["state"] != "open":
            self.exit_status = exception.EXIT_MISMATCH
        return tuple(fields), tuple(fields.values())


def _fields(
    value: collections.abc.Mapping[str, Any], runs: bool
) -> dict[str, object]:
    try:
        placement = value["placement"]
        return {
            "host": value["host"],
            "agent": f"running (pid {value['pid']})" if runs else "stopped",
            "updated": value["updated"],
            "gate": value["gate"]["state"],
            "since": value["gate"]["since"],
            "reasons": _Reasons(value["gate"]["reasons"]),
            "layout": value["layout"]["label"],
            "layout_file": value["layout"]["file"],
            "placement": "in step" if placement["in_step"] else "not in step",
            "placement_trouble": placement["trouble"],
            "placement_last_success": placement["last_success"],
            "compute_service": value.get("compute_service", ""),
            "restore": _Lines(value["restore"]),
            "nova": _Lines(value["nova"]),
            "gpus": _Gpus(value["gpus"]),
        }
    except (LookupError, TypeError) as error:
        raise exception.ConfigError(
            f"the status file is of another version ({error!r})",
            mend="restart mig-placement-agent",
        ) from error


def gpu_lines(gpu: collections.abc.Mapping[str, Any]) -> list[str]:
    """A GPU's head line, its slices drawn, and why it is closed."""
    gate = "closed" if gpu["reasons"] else "open"
    drawn = drawing.slices(
        gpu["slices"],
        [(i["profile"], i["start"], i["size"]) for i in gpu["instances"]],
    )
    lines = [
        f"GPU {gpu['index']} {gpu['pci_address']} {gpu['product']}: {gate}",
        drawn,
        *(
            f"  {r['reason']}: {r['detail']}"
            for r in (*gpu["reasons"], *gpu["unfit"])
        ),
    ]
    return [line for line in lines if line]
