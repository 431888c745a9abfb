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

"""A state file is read as an attacker might have written it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies

from mig_placement.simulator import actions
from mig_placement.simulator import parse
from mig_placement.simulator import rules
from mig_placement.simulator import state as states


def example() -> states.State:
    state = states.State("seed", "580.159.04")
    gpu = states.Gpu(
        state.new_serial(),
        "A100-40GB",
        "GPU-" + state.derived_uuid("gpu", 1),
        "00000000:41:00.0",
        True,
        True,
    )
    state.gpus.append(gpu)
    profile = gpu.kind().profile("3g.20gb")
    assert profile is not None
    for _ in range(2):
        gi = actions.create_gi(state, gpu, profile)
        whole = rules.compute_profile(gpu.kind(), profile, profile.name)
        assert whole is not None
        actions.create_ci(state, gpu, gi, whole)
    state.faults.append(states.Fault(3, "fail", 23))
    gpu.processes.append(states.Process(42, gi.gi_id, 0))
    return state


PLAIN: dict[str, Any] = json.loads(example().encoded())

# Where the lie is, and what is told there.
LIES: list[tuple[list[str | int], Any]] = [
    (["format"], 1),
    (["seed"], ""),
    (["seed"], "a\nb"),
    (["driver"], 580),
    (["driver_present"], 1),
    (["boots"], 0),
    (["delay_ms"], -1),
    (["delay_ms"], 10**9),
    (["mutations"], True),
    (["mutations"], 1.5),
    (["last_serial"], 1),
    (["events"], {}),
    (["events"], [[1, 1, 8, 0, 0, 0]] * 300),
    (["events", 0], [1, 1, 8, 0, 0]),
    (["events", 0], [1, 1, 8, 0, 0, 1 << 32]),
    (["faults", 0, "action"], "rm"),
    (["gpus"], None),
    (["gpus", 0], 7),
    (["gpus", 0, "model"], "Voodoo"),
    (["gpus", 0, "uuid"], "../x"),
    (["gpus", 0, "pci"], "0000:41:00.0"),
    (["gpus", 0, "mode"], False),
    (["gpus", 0, "instances", 0, "profile_id"], 99),
    (["gpus", 0, "instances", 0, "gi_id"], 5),
    (["gpus", 0, "instances", 0, "start"], 0),
    (["gpus", 0, "instances", 0, "serial"], 1),
    (["gpus", 0, "instances", 0, "compute", 0, "profile_id"], 4),
    (["gpus", 0, "instances", 0, "compute", 0, "start"], 1),
    (["gpus", 0, "processes", 0, "pid"], 0),
    (["gpus", 0, "processes", 0, "gi_id"], "2"),
]


def with_lie(path: list[str | int], value: Any) -> bytes:
    plain = copy.deepcopy(PLAIN)
    place: Any = plain
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(plain).encode()


def test_a_state_is_read_as_it_was_written() -> None:
    assert parse.state(example().encoded()) == example()


@pytest.mark.parametrize(("path", "value"), LIES)
def test_a_lie_in_the_file_is_refused(
    path: list[str | int], value: Any
) -> None:
    with pytest.raises(parse.Malformed):
        parse.state(with_lie(path, value))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[]", b"null", b"[" * 100_000, b"1" * 5000],
)
def test_what_is_no_state_is_refused(raw: bytes) -> None:
    with pytest.raises(parse.Malformed):
        parse.state(raw)


def test_overlapping_instances_are_refused() -> None:
    state = example()
    first, second = state.gpus[0].instances
    second.start, second.gi_id = first.start, first.gi_id
    with pytest.raises(parse.Malformed, match="overlapping"):
        parse.state(state.encoded())


def test_more_media_engines_than_there_are_are_refused() -> None:
    state = states.State("seed", "580.159.04")
    gpu = states.Gpu(
        state.new_serial(),
        "A30-24GB",
        "GPU-" + state.derived_uuid("gpu", 1),
        "00000000:41:00.0",
        True,
        True,
    )
    state.gpus.append(gpu)
    for name, start in (("1g.6gb+me", 0), ("2g.12gb+me", 2)):
        profile = gpu.kind().profile(name)
        assert profile is not None
        gi_id = rules.gi_id(gpu.kind(), profile, start)
        gpu.instances.append(
            states.GpuInstance(
                state.new_serial(), gi_id, profile.profile_id, start
            )
        )
    with pytest.raises(parse.Malformed, match="media engines"):
        parse.state(state.encoded())


def test_two_gpus_in_one_slot_are_refused() -> None:
    state = example()
    state.gpus.append(
        states.Gpu(
            state.new_serial(),
            "A100-40GB",
            "GPU-" + state.derived_uuid("gpu", 2),
            state.gpus[0].pci,
        )
    )
    with pytest.raises(parse.Malformed, match="one pci"):
        parse.state(state.encoded())


@given(
    strategies.integers(0, 2000),
    strategies.sampled_from([0, 10, 34, 44, 48, 57, 91, 123, 255]),
)
def test_a_flipped_byte_is_refused_or_harmless(
    position: int, byte: int
) -> None:
    raw = bytearray(example().encoded())
    raw[position % len(raw)] = byte
    try:
        state = parse.state(bytes(raw))
    except parse.Malformed:
        return
    assert all(rules.contradiction(gpu) == "" for gpu in state.gpus)


def test_the_ring_keeps_the_newest_events() -> None:
    state = example()
    for _ in range(2 * states.RING_SIZE):
        actions.lose(state, state.gpus[0])
        actions.bring_back(state, state.gpus[0])
        state.emit(state.gpus[0], 8)
    assert len(state.events) == states.RING_SIZE
    assert state.events[-1].seq == state.last_event
