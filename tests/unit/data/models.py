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
"""GPUs of every known model, built from recorded profiles."""

import functools
import json
import pathlib
from typing import Any

from mig_placement.hardware import model

HERE = pathlib.Path(__file__).parent
A100 = "A100-40GB"
H100 = "H100-80GB"
RTX = "RTX-PRO-6000-Blackwell-96GB"


@functools.cache
def _recorded() -> dict[str, Any]:
    text = (HERE / "mig_profiles.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


NAMES = tuple(_recorded())


@functools.cache
def profiles(name: str) -> tuple[model.Profile, ...]:
    return tuple(_profile(plain) for plain in _recorded()[name]["profiles"])


def _profile(plain: dict[str, Any]) -> model.Profile:
    return model.Profile(
        name=plain["name"],
        profile_id=plain["id"],
        enum=plain["enum"],
        slices=plain["slices"],
        memory_mib=plain["mib"],
        multiprocessors=plain["sm"],
        max_instances=plain["max"],
        engines=model.Engines(*plain["engines"]),
        placements=tuple(
            model.Placement(start, plain["size"]) for start in plain["starts"]
        ),
    )


def gpu(name: str = A100, index: int = 0, **changes: Any) -> model.Gpu:
    """A GPU of that model with MIG on and no instances."""
    values: dict[str, Any] = {
        "index": index,
        "uuid": f"GPU-{index:08x}-0000-0000-0000-000000000000",
        "pci_address": f"0000:{0xC1 + index:02x}:00.0",
        "pci_device_id": int(_recorded()[name]["pci_device_id"], 16),
        "pci_subsystem_id": 0x134F10DE,
        "product": _recorded()[name]["product"],
        "mig_capable": True,
        "mig_mode": True,
        "mig_pending": True,
        "profiles": profiles(name),
        **changes,
    }
    return model.Gpu(**values)


def node(*gpus: model.Gpu) -> model.Node:
    return model.Node(driver_version="580.159.04", gpus=gpus)


def instance(
    profile: str,
    place: str,
    cis: tuple[str, ...] | None = None,
    gi_id: int | None = None,
) -> model.GpuInstance:
    """A GPU instance with its full compute instance, or with ``cis``.

    :param place: ``start:size``; the start is the id too, by default.
    """
    start, size = (int(part) for part in place.split(":"))
    names = (profile,) if cis is None else cis
    return model.GpuInstance(
        gi_id=start if gi_id is None else gi_id,
        profile=profile,
        placement=model.Placement(start, size),
        compute_instances=tuple(
            model.ComputeInstance(number, name)
            for number, name in enumerate(names)
        ),
    )
