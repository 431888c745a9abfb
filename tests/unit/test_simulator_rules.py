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

"""What may exist on a simulated GPU."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies

from mig_placement import simulator
from mig_placement.simulator import actions
from mig_placement.simulator import codes
from mig_placement.simulator import rules
from mig_placement.simulator import state as states

ALL = sorted(simulator.models())
every_model = pytest.mark.parametrize("key", ALL)


def new_state(key: str) -> tuple[states.State, states.Gpu]:
    state = states.State("seed", "580.159.04")
    gpu = states.Gpu(
        state.new_serial(), key, "GPU-x", "00000000:41:00.0", True, True
    )
    state.gpus.append(gpu)
    return state, gpu


def fill(state: states.State, gpu: states.Gpu, name: str) -> int:
    """Create instances of a profile until it is refused; how many."""
    profile = gpu.kind().profile(name)
    assert profile is not None
    for count in range(100):
        code = try_to_create(state, gpu, profile)
        if code != codes.SUCCESS:
            assert code == codes.INSUFFICIENT_RESOURCES
            return count
    raise AssertionError("no end")


def try_to_create(
    state: states.State, gpu: states.Gpu, profile: simulator.Profile
) -> int:
    try:
        actions.create_gi(state, gpu, profile)
    except codes.Refused as refusal:
        return refusal.code
    return codes.SUCCESS


@every_model
def test_placements_of_one_profile_never_overlap(key: str) -> None:
    for profile in simulator.models()[key].profiles:
        starts = sorted(profile.starts)
        pairs = itertools.pairwise(starts)
        assert all(b - a >= profile.size for a, b in pairs), profile.name


@every_model
def test_an_empty_gpu_takes_max_instances_of_every_profile(key: str) -> None:
    for profile in simulator.models()[key].profiles:
        state, gpu = new_state(key)
        assert rules.remaining(gpu, profile) == profile.max_instances
        assert fill(state, gpu, profile.name) == profile.max_instances


@every_model
def test_every_placement_has_an_id_of_its_own(key: str) -> None:
    model = simulator.models()[key]
    ids = {
        (profile.size, start): rules.gi_id(model, profile, start)
        for profile in model.profiles
        for start in profile.starts
    }
    assert len(set(ids.values())) == len(ids)


@every_model
def test_the_drivers_order_has_every_start_once(key: str) -> None:
    model = simulator.models()[key]
    for profile in model.profiles:
        order = rules.driver_order(model, profile)
        assert sorted(order) == sorted(profile.starts)


def test_the_driver_fills_eight_slices_in_the_order_seen_in_the_field() -> (
    None
):
    for name, order in (
        ("1g.5gb", [6, 4, 5, 0, 1, 2, 3]),
        ("3g.20gb", [4, 0]),
    ):
        state, gpu = new_state("A100-40GB")
        fill(state, gpu, name)
        assert [gi.start for gi in gpu.instances] == order


def test_two_3g_leave_no_room_for_a_1g() -> None:
    state, gpu = new_state("A100-40GB")
    assert fill(state, gpu, "3g.20gb") == 2
    assert fill(state, gpu, "1g.5gb") == 0


def test_three_1g_beside_a_4g_fit() -> None:
    state, gpu = new_state("A100-40GB")
    assert fill(state, gpu, "4g.20gb") == 1
    assert fill(state, gpu, "1g.5gb") == 3


def test_media_engines_bound_what_placements_would_allow() -> None:
    state, gpu = new_state("RTX-PRO-6000-Blackwell-96GB")
    assert fill(state, gpu, "1g.24gb+me.all") == 1
    assert fill(state, gpu, "1g.24gb") == 0
    assert fill(state, gpu, "1g.24gb-me") == 3


@given(strategies.data())
def test_any_history_of_creations_and_destructions_stays_possible(
    data: strategies.DataObject,
) -> None:
    state, gpu = new_state(data.draw(strategies.sampled_from(ALL)))
    profiles = gpu.kind().profiles
    for _ in range(data.draw(strategies.integers(1, 12))):
        destroy: bool = data.draw(strategies.booleans())
        if gpu.instances and destroy:
            which = data.draw(strategies.integers(0, len(gpu.instances) - 1))
            actions.destroy_gi(state, gpu, gpu.instances[which])
            continue
        profile = data.draw(strategies.sampled_from(profiles))
        at = data.draw(
            strategies.none() | strategies.sampled_from(profile.placements)
        )
        before = rules.remaining(gpu, profile)
        try:
            actions.create_gi(state, gpu, profile, at)
        except codes.Refused:
            assert before == 0 or at is not None
        else:
            assert before > 0
        assert not overlaps(gpu)
        assert rules.contradiction(gpu) == ""


def overlaps(gpu: states.Gpu) -> bool:
    """Told slice by slice, not with the bits of the code under test."""
    slices = [
        gi.start + offset
        for gi in gpu.instances
        for offset in range(rules.profile_of(gpu, gi).size)
    ]
    return len(set(slices)) != len(slices)


@given(strategies.data())
def test_remaining_capacity_is_what_can_really_be_created(
    data: strategies.DataObject,
) -> None:
    state, gpu = new_state(data.draw(strategies.sampled_from(ALL)))
    profiles = gpu.kind().profiles
    for _ in range(data.draw(strategies.integers(0, 4))):
        profile = data.draw(strategies.sampled_from(profiles))
        start = data.draw(strategies.sampled_from(profile.placements))
        try:
            actions.create_gi(state, gpu, profile, start)
        except codes.Refused:
            continue
    wanted = data.draw(strategies.sampled_from(profiles))
    left = rules.remaining(gpu, wanted)
    assert fill(state, gpu, wanted.name) == left


@every_model
def test_compute_instances_fill_a_gpu_instance_and_no_more(key: str) -> None:
    for profile in simulator.models()[key].profiles:
        state, gpu = new_state(key)
        gi = actions.create_gi(state, gpu, profile)
        for wanted in rules.compute_profiles(gpu.kind(), profile):
            for _ in wanted.starts:
                actions.create_ci(state, gpu, gi, wanted)
            with pytest.raises(codes.Refused) as refusal:
                actions.create_ci(state, gpu, gi, wanted)
            assert refusal.value.code == codes.INSUFFICIENT_RESOURCES
            assert [ci.ci_id for ci in gi.compute] == list(
                range(len(wanted.starts))
            )
            gi.compute.clear()


def test_compute_profiles_of_a_3g_are_those_that_nvidia_smi_lists() -> None:
    model = simulator.models()["A100-40GB"]
    profile = model.profile("3g.20gb")
    assert profile is not None
    assert [
        (item.name, item.profile_id, item.multiprocessors, item.starts)
        for item in rules.compute_profiles(model, profile)
    ] == [
        ("1c.3g.20gb", 0, 14, (0, 1, 2)),
        ("2c.3g.20gb", 1, 28, (0,)),
        ("3g.20gb", 2, 42, (0,)),
    ]
