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
"""The status file: what the agent last saw and did, for people and tools."""

import collections.abc
import dataclasses
import datetime
import os
import pathlib
import time
from typing import Any

from mig_placement import conf
from mig_placement import exception
from mig_placement.geometry import states
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model as hardware
from mig_placement.hardware import usage
from mig_placement.placement import desired
from mig_placement.service import files

_NAME = "status.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """One tick of the agent.

    :ivar told: whether Placement holds what the picture asks for.
    :ivar trouble: why not, where it does not.
    :ivar restore: what was done to bring the layout back, and what that
        waits for.
    :ivar root_missing: Placement knows no such node, and so offers nothing.
    :ivar compute_service: what is known of nova-compute's service, where
        [gate] compute_service asks for that.
    :ivar failed: who did not answer, where something failed.
    :ivar coming: what the agent will do next.
    :ivar restoring: the agent changes the geometry just now.
    """

    picture: desired.Picture
    scope: desired.Scope
    told: bool
    trouble: str = ""
    restore: tuple[str, ...] = ()
    root_missing: bool = False
    compute_service: str = ""
    failed: str = ""
    coming: str = ""
    restoring: bool = False

    @property
    def gate(self) -> str:
        """``open``, ``closed``, or ``unknown`` to us at the moment."""
        if not self.told:
            return "unknown"
        return "open" if any(self.open_gpus()) else "closed"

    def open_gpus(self) -> list[hardware.Gpu]:
        node = self.picture.node
        return [
            gpu
            for gpu in (node.gpus if node else ())
            if gpu.mig_capable
            and not desired.blocking(gpu, self.picture, self.scope)
        ]

    def reasons(self) -> tuple[verdicts.Finding, ...]:
        return self._reasons({})

    def _reasons(
        self, gpus: collections.abc.Mapping[int, hardware.Gpu]
    ) -> tuple[verdicts.Finding, ...]:
        """:param gpus: those that are named by their address too."""
        judged = self.picture.verdict
        return (
            *judged.findings,
            *(
                dataclasses.replace(
                    finding, detail=f"{name}: {finding.detail}"
                )
                for gpu in judged.gpus
                for name in [gpus.get(gpu.index, f"GPU {gpu.index}")]
                for finding in self._of_gpu(gpu)
            ),
        )

    def _of_gpu(
        self, gpu: verdicts.GpuVerdict
    ) -> tuple[verdicts.Finding, ...]:
        against = self.picture.against.get(gpu.index, ())
        return (*gpu.findings, *against, *gpu.unfit)

    def line(self) -> str:
        """One line for logs and systemd."""
        return f"gate {self.gate}{self.because()}"

    def because(self) -> str:
        """What follows the word: reasons and trouble, if any."""
        node = self.picture.node
        gpus = {gpu.index: gpu for gpu in (node.gpus if node else ())}
        reasons = "; ".join(map(str, self._reasons(gpus)))
        reasons = f": {reasons}" if reasons else ""
        return f"{reasons}; {self.trouble}" if self.trouble else reasons


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def describe(
    report: Report, settings: conf.Settings, previous: Any, gpus: Any
) -> dict[str, Any]:
    """The status file's value.

    :param previous: the value before, for since when things are so.
    :param gpus: as ``gpus`` has it.
    """
    moment = now()
    before = previous if isinstance(previous, dict) else {}
    gate_before = before.get("gate") or {}
    same = gate_before.get("state") == report.gate
    placement_before = before.get("placement") or {}
    return {
        "host": settings.host,
        "hypervisor_hostname": settings.root_name,
        "pid": os.getpid(),
        "updated": moment,
        "written": time.time(),
        "gate": {
            "state": report.gate,
            "since": gate_before.get("since") if same else moment,
            "reasons": [_finding(each) for each in report.reasons()],
        },
        "hold": _hold(report),
        "next": report.coming,
        "layout": {
            "file": str(settings.layout_file),
            "label": report.picture.label,
        },
        "placement": {
            "in_step": report.told,
            "trouble": report.trouble,
            "root_missing": report.root_missing,
            "last_success": moment
            if report.told
            else placement_before.get("last_success"),
        },
        "compute_service": report.compute_service,
        "restore": list(report.restore),
        "restoring": report.restoring,
        "nova": list(report.picture.left_over),
        "gpus": gpus,
    }


def _hold(report: Report) -> str:
    """Why an operator holds the gate closed; empty where nobody does."""
    return next(
        (
            each.detail
            for each in report.picture.verdict.findings
            if each.reason is verdicts.Reason.HOLD
        ),
        "",
    )


def _finding(finding: verdicts.Finding) -> dict[str, str]:
    return {"reason": str(finding.reason), "detail": finding.detail}


def gpus(
    seen: desired.Picture, scope: desired.Scope, uses: usage.Usage
) -> list[dict[str, Any]]:
    """What the status file says of each GPU; pure.

    :param uses: who uses which instance, as NVML knows.
    """
    return [
        {
            **gpu_value(gpu),
            **_compared(gpu, seen, uses),
            "reasons": [
                _finding(each) for each in desired.blocking(gpu, seen, scope)
            ],
            "unfit": [
                _finding(each)
                for judged in [seen.gpu_verdict(gpu)]
                for each in (judged.unfit if judged else ())
            ],
            "units": seen.units(gpu),
        }
        for gpu in (seen.node.gpus if seen.node else ())
    ]


def _compared(
    gpu: hardware.Gpu, seen: desired.Picture, uses: usage.Usage
) -> dict[str, Any]:
    """Declared and observed instances, each with its state."""
    wanted = seen.wanted.gpus.get(gpu.index) if seen.wanted else None
    found = states.observed(gpu, seen.wanted)
    return {
        "declared": [
            {
                "profile": each.slot.profile,
                "start": each.slot.placement.start,
                "size": each.slot.placement.size,
                "state": "ok" if each.there else "missing",
            }
            for each in states.declared(gpu, wanted)
        ],
        "instances": [
            {
                **instance_value(each),
                "state": str(found[each.gi_id]),
                "xids": states.xids(gpu, seen.ailments, each.gi_id),
                **_use(uses.get((gpu.index, each.gi_id))),
            }
            for each in gpu.instances
        ],
    }


def _use(use: usage.Use | None) -> dict[str, int]:
    return {
        "processes": use.processes if use else 0,
        "vgpus": use.vgpus if use else 0,
    }


def gpu_value(gpu: hardware.Gpu) -> dict[str, Any]:
    """A GPU as plain values, its geometry included."""
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "pci_address": gpu.pci_address,
        "product": gpu.product,
        "mig_capable": gpu.mig_capable,
        "mig_mode": gpu.mig_mode,
        "mig_pending": gpu.mig_pending,
        "slices": slices(gpu),
        "fault": gpu.fault,
        "instances": [instance_value(each) for each in gpu.instances],
    }


def slices(gpu: hardware.Gpu) -> int:
    """Memory slices of a GPU."""
    return max(
        (
            placement.stop
            for profile in gpu.profiles
            for placement in profile.placements
        ),
        default=0,
    )


def instance_value(instance: hardware.GpuInstance) -> dict[str, Any]:
    return {
        "gi_id": instance.gi_id,
        "profile": instance.profile,
        "start": instance.placement.start,
        "size": instance.placement.size,
        "compute_instances": [
            {
                "ci_id": each.ci_id,
                "profile": each.profile,
                "mig_uuid": each.mig_uuid,
            }
            for each in instance.compute_instances
        ],
    }


def path(run_dir: pathlib.Path) -> pathlib.Path:
    return run_dir / _NAME


def read(run_dir: pathlib.Path) -> Any:
    """:raises NoStatus: there is no status file.
    :raises ConfigError: it is of no use.
    """
    value = files.read_json(path(run_dir))
    if value is None:
        raise exception.NoStatus(
            "no agent has written a status since the boot",
            where=str(path(run_dir)),
            mend="start mig-placement-agent, or give its --config-file",
        )
    if not isinstance(value, dict):
        raise exception.ConfigError(
            "no status", where=str(path(run_dir)), mend="remove the file"
        )
    return value
