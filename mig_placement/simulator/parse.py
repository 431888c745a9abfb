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

"""Reads a state file's JSON into a State, and trusts none of it."""

import collections.abc
import json
import re
from typing import TypeVar

from mig_placement.simulator import catalog
from mig_placement.simulator import codes
from mig_placement.simulator import rules
from mig_placement.simulator import state as states
from mig_placement.simulator import vgpu

MAX_GPUS = 64
MAX_BYTES = 8 << 20

_T = TypeVar("_T")
_BIG = 1 << 53
_ACTIONS = ("fail", "kill_before", "kill_after")
_PCI = re.compile(r"[0-9A-F]{8}:[0-9A-F]{2}:[01][0-9A-F]\.[0-7]")
_UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORD = re.compile(r"[\w.-]{1,64}", re.ASCII)
_VGPU = re.compile("|mdev|vfio")
_MDEV = re.compile(r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Malformed(Exception):
    """The file does not hold a state; the text says where and why."""


class Fields:
    """A JSON object whose members are asked for by kind."""

    def __init__(self, plain: object, where: str) -> None:
        if not isinstance(plain, dict):
            raise Malformed(f"{where} is no object")
        self._plain = plain
        self._where = where

    def refuse(self, name: str, why: str) -> Malformed:
        return Malformed(f"{self._where}.{name} {why}")

    def number(self, name: str, low: int = 0, high: int = _BIG) -> int:
        value = self._plain.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(name, "is no number in its range")
        return value

    def optional(self, name: str, high: int = _BIG) -> int | None:
        if self._plain.get(name) is None:
            return None
        return self.number(name, 0, high)

    def flag(self, name: str) -> bool:
        value = self._plain.get(name)
        if not isinstance(value, bool):
            raise self.refuse(name, "is neither true nor false")
        return value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self._plain.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.refuse(name, f"does not look like {pattern.pattern}")
        return value

    def items(
        self,
        name: str,
        most: int,
        parse: collections.abc.Callable[[object, str], _T],
    ) -> list[_T]:
        value = self._plain.get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self.refuse(name, f"is no list of at most {most}")
        return [
            parse(item, f"{self._where}.{name}[{index}]")
            for index, item in enumerate(value)
        ]


def state(raw: bytes) -> states.State:
    """The state in a file's content.

    :raises Malformed: it holds none.
    """
    try:
        plain = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON ({type(error).__name__})") from error
    fields = Fields(plain, "state")
    if fields.number("format") != states.FORMAT:
        raise fields.refuse("format", f"is not {states.FORMAT}")
    return _checked(_state(fields))


def _state(fields: Fields) -> states.State:
    return states.State(
        seed=fields.text("seed", _WORD),
        driver=fields.text("driver", _WORD),
        vgpu=fields.text("vgpu", _VGPU),
        driver_present=fields.flag("driver_present"),
        privileged=fields.flag("privileged"),
        boots=fields.number("boots", 1),
        delay_ms=fields.number("delay_ms", 0, 60_000),
        mutations=fields.number("mutations"),
        stuck_destroys=fields.number("stuck_destroys"),
        last_serial=fields.number("last_serial"),
        last_event=fields.number("last_event"),
        faults=fields.items("faults", 1000, _fault),
        events=fields.items("events", states.RING_SIZE, _event),
        gpus=fields.items("gpus", MAX_GPUS, _gpu),
    )


def _fault(plain: object, where: str) -> states.Fault:
    fields = Fields(plain, where)
    action = fields.text("action", _WORD)
    if action not in _ACTIONS:
        raise fields.refuse("action", f"is none of {', '.join(_ACTIONS)}")
    return states.Fault(
        fields.number("at", 1), action, fields.number("code", 1, 999)
    )


def _event(plain: object, where: str) -> states.Event:
    if (
        not isinstance(plain, list)
        or len(plain) != len(states.Event._fields)
        or not all(type(item) is int and 0 <= item < _BIG for item in plain)
        or max(plain[4:]) > codes.WHOLE_GPU
    ):
        raise Malformed(f"{where} is no event")
    return states.Event(*plain)


def _gpu(plain: object, where: str) -> states.Gpu:
    fields = Fields(plain, where)
    gpu = states.Gpu(
        serial=fields.number("serial", 1, 0xFFFFFFFF),
        model=fields.text("model", _WORD),
        uuid=fields.text("uuid", _UUID),
        pci=fields.text("pci", _PCI),
        mode=fields.flag("mode"),
        pending=fields.flag("pending"),
        lost=fields.flag("lost"),
        instances=fields.items("instances", 64, _instance),
        processes=fields.items("processes", 1000, _process),
        functions=fields.items("functions", 64, _function),
    )
    if gpu.model not in catalog.models():
        raise fields.refuse("model", "is not a model that can be simulated")
    return gpu


def _instance(plain: object, where: str) -> states.GpuInstance:
    fields = Fields(plain, where)
    return states.GpuInstance(
        serial=fields.number("serial", 1, 0xFFFFFFFF),
        gi_id=fields.number("gi_id", 0, 63),
        profile_id=fields.number("profile_id", 0, 1000),
        start=fields.number("start", 0, 63),
        compute=fields.items("compute", 64, _compute),
    )


def _compute(plain: object, where: str) -> states.ComputeInstance:
    fields = Fields(plain, where)
    return states.ComputeInstance(
        serial=fields.number("serial", 1, 0xFFFFFFFF),
        ci_id=fields.number("ci_id", 0, 63),
        profile_id=fields.number("profile_id", 0, 63),
        start=fields.number("start", 0, 63),
    )


def _process(plain: object, where: str) -> states.Process:
    fields = Fields(plain, where)
    return states.Process(
        fields.number("pid", 1, 0xFFFFFFFF),
        fields.optional("gi_id", 63),
        fields.optional("ci_id", 63),
    )


def _function(plain: object, where: str) -> states.Function:
    fields = Fields(plain, where)
    return states.Function(
        fields.number("type_id", 0, 0xFFFF),
        fields.number("gi", 0, 0xFFFFFFFF),
        fields.text("uuid", _MDEV),
        fields.flag("vm"),
    )


def _checked(state: states.State) -> states.State:
    for name in ("serial", "uuid", "pci"):
        if len({getattr(gpu, name) for gpu in state.gpus}) < len(state.gpus):
            raise Malformed(f"two GPUs have one {name}")
    for index, gpu in enumerate(state.gpus):
        fault = rules.contradiction(gpu) or vgpu.contradiction(state, gpu)
        if fault:
            raise Malformed(f"state.gpus[{index}] {fault}")
    serials = _serials(state)
    if len(set(serials)) < len(serials) or max([0, *serials]) > (
        state.last_serial
    ):
        raise Malformed("serial numbers are not unique or above the last")
    return state


def _serials(state: states.State) -> list[int]:
    gis = [gi for gpu in state.gpus for gi in gpu.instances]
    return [
        *(gpu.serial for gpu in state.gpus),
        *(gi.serial for gi in gis),
        *(ci.serial for gi in gis for ci in gi.compute),
    ]
