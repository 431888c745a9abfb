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
"""Nodes and pictures built by hand, for tests of what is decided on them."""

from mig_placement.geometry import verdict
from mig_placement.hardware import model
from mig_placement.placement import desired

ROOT_NAME = "node1.example.org"
MATCH: tuple[verdict.Finding, ...] = ()
MISSING = (verdict.Finding(verdict.Reason.INSTANCE_MISSING, "1g.5gb"),)


def address(index: int) -> str:
    # With letters: Nova has them in capitals, and the kernel has not.
    return f"0000:{0xC1 + index:02x}:00.0"


def gpu(index: int = 0, instances: int = 0, **changes: object) -> model.Gpu:
    values: dict[str, object] = {
        "index": index,
        "uuid": f"GPU-{index}",
        "pci_address": address(index),
        "product": "NVIDIA A100-SXM4-40GB",
        "architecture": "Ampere",
        "compute_capability": (8, 0),
        "mig_capable": True,
        "mig_mode": True,
        "mig_pending": True,
        "instances": tuple(
            model.GpuInstance(
                gi_id=start,
                profile="1g.5gb",
                placement=model.Placement(start, 1),
            )
            for start in range(instances)
        ),
        **changes,
    }
    return model.Gpu(**values)  # type: ignore[arg-type]


def judged(
    index: int = 0,
    units: dict[str, int] | None = None,
    findings: tuple[verdict.Finding, ...] = MATCH,
) -> verdict.GpuVerdict:
    return verdict.GpuVerdict(
        index=index, findings=findings, units=tuple((units or {}).items())
    )


def picture(
    *verdicts: verdict.GpuVerdict,
    findings: tuple[verdict.Finding, ...] = (),
) -> desired.Picture:
    """A node whose GPUs have as many 1g.5gb as their verdict's units."""
    node = model.Node(
        driver_version="580.159.04",
        gpus=tuple(
            gpu(each.index, dict(each.units).get("1g.5gb", 0))
            for each in verdicts
        ),
    )
    return desired.Picture(
        verdict.Verdict(findings, tuple(verdicts)), node, "all-1g.5gb"
    )


def unseen(
    reason: verdict.Reason = verdict.Reason.HARDWARE_ERROR,
) -> desired.Picture:
    finding = verdict.Finding(reason, "no answer")
    return desired.Picture(verdict.Verdict(findings=(finding,)))
