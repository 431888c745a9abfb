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
"""What of ours is on Nova's providers, decided on values."""

import dataclasses

import hypothesis
from hypothesis import strategies

from mig_placement.geometry import functions
from mig_placement.hardware import model as hardware
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import nova_devices
from tests.unit import pictures

_CLASS = "CUSTOM_MIG_1G_5GB"
_VGPU = "CUSTOM_VGPU_1G_5GB"
_TYPE = hardware.VgpuType(463, "A100X-1-5C", "1g.5gb")
_WAY = functions.Way(functions.Attach.MDEV)
_MANY = 16
_OURS = names.provider_name(pictures.ROOT_NAME, pictures.address(0))


def _address(number: int) -> str:
    return hardware.function_address(pictures.address(0), 4 + number)


def _gpu(mdevs: dict[int, int], count: int = _MANY) -> hardware.Gpu:
    """:param mdevs: type of the mdev on a function, by its number."""
    return pictures.gpu(
        vgpu_types=(_TYPE,),
        sriov=hardware.Sriov(
            16,
            4,
            1,
            tuple(
                hardware.VirtualFunction(
                    _address(number),
                    mdev_types=frozenset({463, 464}),
                    mdev_type=mdevs.get(number, 0),
                )
                for number in range(count)
            ),
        ),
    )


def _function(number: int, used: int = 0, **changes: object) -> model.Provider:
    values: dict[str, object] = {
        "uuid": f"u{number}",
        "name": names.mdev_provider_name(pictures.ROOT_NAME, _address(number)),
        "generation": 1,
        "inventories": {_CLASS: model.Inventory(1)},
        "used": {_CLASS: used},
        **changes,
    }
    return model.Provider(**values)  # type: ignore[arg-type]


def _tree(*nova: model.Provider) -> model.Tree:
    root = model.Provider("root", pictures.ROOT_NAME, 1)
    return model.Tree(root, gpus=(model.Provider("g", _OURS, 1),), nova=nova)


def _marked(
    tree: model.Tree, gpu: hardware.Gpu, count: int
) -> dict[str, bool]:
    """Whether each provider of Nova's has the mark, by its uuid."""
    cards = [nova_devices.Card(gpu, {"1g.5gb": count})]
    wanted = nova_devices.marked(tree, cards, _WAY, {})
    by_name = {each.name: each.uuid for each in tree.nova}
    return {by_name[e.name]: names.READY in e.traits for e in wanted}


def _chosen(tree: model.Tree, gpu: hardware.Gpu, count: int) -> set[str]:
    return {uuid for uuid, on in _marked(tree, gpu, count).items() if on}


def test_as_many_are_marked_as_there_are_instances() -> None:
    tree = _tree(*(_function(number) for number in range(5)))
    assert _chosen(tree, _gpu({}), 3) == {"u0", "u1", "u2"}


def test_functions_in_use_have_the_marks_first() -> None:
    tree = _tree(_function(0), _function(1), _function(2, used=1))
    assert _chosen(tree, _gpu({2: 463}), 2) == {"u2", "u0"}


def test_an_mdev_that_no_vm_has_keeps_its_instance_and_so_its_mark() -> None:
    tree = _tree(_function(0), _function(1), _function(2))
    assert _chosen(tree, _gpu({1: 463}), 1) == {"u1"}


def test_an_mdev_that_nova_does_not_know_takes_an_instance() -> None:
    tree = _tree(_function(0), _function(1))
    assert _chosen(tree, _gpu({9: 463}), 2) == {"u0"}


def test_nothing_is_marked_where_more_is_used_than_there_is() -> None:
    tree = _tree(_function(0, used=1), _function(1, used=1), _function(2))
    assert _chosen(tree, _gpu({}), 1) == set()


def test_what_is_overdrawn_is_looked_at_until_it_is_not() -> None:
    tree = _tree(_function(0, used=1), _function(1, used=1))
    cards = [nova_devices.Card(_gpu({}), {"1g.5gb": 1})]
    wanted = nova_devices.marked(tree, cards, _WAY, {})
    assert all(each.waiting for each in wanted)


def test_a_provider_of_a_function_that_is_gone_is_not_marked() -> None:
    tree = _tree(_function(0), _function(5))
    assert _chosen(tree, _gpu({}, count=2), 7) == {"u0"}


def test_a_function_that_does_not_list_the_type_is_not_marked() -> None:
    gpu = _gpu({})
    assert gpu.sriov
    first, *rest = gpu.sriov.functions
    first = dataclasses.replace(first, mdev_types=frozenset({464}))
    sriov = dataclasses.replace(gpu.sriov, functions=(first, *rest))
    other = dataclasses.replace(gpu, sriov=sriov)
    assert _chosen(_tree(_function(0), _function(1)), other, 2) == {"u1"}


def test_another_class_and_other_traits_are_left_alone() -> None:
    other = {"CUSTOM_MIG_2G_10GB": model.Inventory(1)}
    tree = _tree(
        _function(0, inventories=other, traits=frozenset({"CUSTOM_X"}))
    )
    cards = [nova_devices.Card(_gpu({}), {"1g.5gb": 7})]
    (wanted,) = nova_devices.marked(tree, cards, _WAY, {})
    assert wanted.traits == {"CUSTOM_X"}
    assert wanted.inventories == other


def test_a_closed_gpu_s_marks_go() -> None:
    ready = frozenset({names.READY})
    tree = _tree(_function(0, traits=ready), _function(1, traits=ready))
    wanted = nova_devices.marked(tree, [], _WAY, {})
    assert all(names.READY not in each.traits for each in wanted)


_functions = strategies.lists(
    strategies.sampled_from(["free", "used", "idle mdev"]), max_size=_MANY
)


@hypothesis.given(
    _functions,
    strategies.integers(0, 7),
    strategies.integers(0, 3),
    strategies.randoms(use_true_random=False),
)
def test_free_and_marked_never_outnumber_fit_and_free(
    states: list[str], count: int, foreign: int, random: object
) -> None:
    """Also after any of the VMs is deleted, and before we look again."""
    shuffle = random.shuffle  # type: ignore[attr-defined]
    used = [number for number, s in enumerate(states) if s == "used"]
    idle = [number for number, s in enumerate(states) if s == "idle mdev"]
    outside = list(range(len(states), min(_MANY, len(states) + foreign)))
    gpu = _gpu(dict.fromkeys([*used, *idle, *outside], 463))
    tree = _tree(
        *(_function(n, used=int(n in used)) for n in range(len(states)))
    )
    marks = {int(uuid[1:]) for uuid in _chosen(tree, gpu, count)}
    room = count - len(outside)
    shuffle(used)
    while True:
        free = marks - set(used)
        assert len(free) <= max(room - len(used), 0)
        if not used:
            break
        used.pop()
    if room >= len(states):
        assert marks == set(range(len(states)))


def _card(total: int, reserved: int = 0) -> model.Provider:
    return model.Provider(
        "pf",
        names.pci_provider_name(pictures.ROOT_NAME, pictures.address(0)),
        3,
        inventories={
            _VGPU: model.Inventory(total, reserved, max_unit=total),
        },
        traits=frozenset({"CUSTOM_MIG_VF"}),
        used={_VGPU: 2},
    )


def _guarded(provider: model.Provider, blocked: bool) -> model.Inventory:
    (wanted,) = nova_devices.guarded(_tree(provider), {_OURS: blocked}, ())
    assert wanted.traits == provider.traits
    return wanted.inventories[_VGPU]


def test_nova_s_units_of_a_blocked_gpu_are_reserved() -> None:
    assert _guarded(_card(7), blocked=True).reserved == 7
    assert _guarded(_card(7, reserved=7), blocked=False).reserved == 0


def test_somebody_s_own_reserve_on_an_open_gpu_stays() -> None:
    assert _guarded(_card(7, reserved=2), blocked=False).reserved == 2


def test_another_device_of_nova_s_is_left_alone() -> None:
    ours = names.provider_name(pictures.ROOT_NAME, pictures.address(1))
    found = nova_devices.guarded(_tree(_card(7)), {ours: True}, ())
    assert found == ()


def test_other_classes_are_reserved_on_a_gpu_that_is_all_ours() -> None:
    provider = dataclasses.replace(
        _card(7), inventories={"CUSTOM_OWN": model.Inventory(7)}
    )
    tree = _tree(provider)
    (alone,) = nova_devices.guarded(tree, {_OURS: True}, ())
    (all_ours,) = nova_devices.guarded(tree, {_OURS: True}, {_OURS})
    assert alone.inventories["CUSTOM_OWN"].reserved == 0
    assert all_ours.inventories["CUSTOM_OWN"].reserved == 7


def test_allocations_are_found_on_either_kind_of_provider() -> None:
    gpu = _gpu({})
    tree = _tree(_function(0, used=1), _function(3, used=1), _card(7))
    assert nova_devices.used(tree, gpu, "1g.5gb", {}) == 4
    assert nova_devices.used(tree, pictures.gpu(1), "1g.5gb", {}) == 0


def test_what_nova_still_offers_is_told() -> None:
    ready = frozenset({names.READY})
    assert nova_devices.offered(_tree(_function(0))) == 0
    marked = _function(0, traits=ready)
    assert nova_devices.offered(_tree(marked, _card(7))) == 8
    assert nova_devices.offered(_tree(_card(7, 7))) == 0


def test_what_nova_offers_of_other_gpus_is_none_of_ours() -> None:
    name = names.pci_provider_name(pictures.ROOT_NAME, pictures.address(1))
    other = dataclasses.replace(_card(7), name=name)
    assert nova_devices.offered(_tree(other, _card(7, 7))) == 0


def test_a_whole_gpu_s_vgpus_are_not_touched() -> None:
    inventories = {"CUSTOM_VGPU_A100_10C": model.Inventory(4)}
    tree = _tree(dataclasses.replace(_card(7), inventories=inventories))
    (wanted,) = nova_devices.guarded(tree, {_OURS: True}, ())
    assert wanted.inventories == inventories
    assert nova_devices.offered(tree) == 0


def test_more_functions_than_instances_are_said() -> None:
    way = functions.Way(functions.Attach.VFIO)
    card = nova_devices.Card(_gpu({}), {"1g.5gb": 3})
    (finding,) = nova_devices.in_excess(_tree(_card(7)), card, way)
    assert "7 functions" in finding.detail
    assert "3 instances" in finding.detail
    assert not nova_devices.in_excess(_tree(_card(3)), card, way)


def test_names_of_other_devices_are_no_names_of_ours() -> None:
    mdev = nova_devices.is_device(functions.Attach.MDEV, "h")
    vfio = nova_devices.is_device(functions.Attach.VFIO, "h")
    none = nova_devices.is_device(functions.Attach.NONE, "h")
    assert mdev("h_pci_0000_81_00_4")
    assert not mdev("h_0000:81:00.0")
    assert not mdev("h_mig_0000_81_00_0")
    assert vfio("h_0000:81:00.0")
    assert not vfio("h2_0000:81:00.0")
    assert not none("h_pci_0000_81_00_4")
