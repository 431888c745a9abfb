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
"""What Placement should say of a picture."""

import dataclasses

import pytest

from mig_placement.geometry import verdict
from mig_placement.hardware import model as hardware
from mig_placement.placement import desired as decisions
from mig_placement.placement import model
from mig_placement.placement import names
from tests.unit import pictures

_ROOT = model.Provider(
    "6f2b0c5e-53a8-4e4e-8c3f-0d8f3f6f9a10", pictures.ROOT_NAME, 1
)
_CLASS = "CUSTOM_MIG_1G_5GB"
_NODE = decisions.Rules()
_GPU = decisions.Rules(scope=decisions.Scope.GPU)


def _name(index: int = 0) -> str:
    return names.provider_name(pictures.ROOT_NAME, pictures.address(index))


def _provider(index: int = 0, **changes: object) -> model.Provider:
    values: dict[str, object] = {
        "uuid": f"provider-{index}",
        "name": _name(index),
        "generation": 3,
        "inventories": {_CLASS: model.Inventory(7, max_unit=7)},
        "traits": frozenset({names.OWNER, names.READY}),
        **changes,
    }
    return model.Provider(**values)  # type: ignore[arg-type]


def _decided(
    picture: decisions.Picture,
    *known: model.Provider,
    rules: decisions.Rules = _NODE,
) -> dict[str, model.DesiredProvider]:
    result = decisions.desired(model.Tree(_ROOT, known), picture, rules)
    return {gpu.name: gpu for gpu in result.gpus}


def test_a_matching_gpu_offers_every_unit_it_has() -> None:
    picture = pictures.picture(pictures.judged(units={"1g.5gb": 7}))
    result = decisions.desired(model.Tree(_ROOT), picture, _NODE)
    assert result.root_ready
    assert result.gpus[0].inventories == {
        _CLASS: model.Inventory(total=7, reserved=0, max_unit=7)
    }
    assert names.READY in result.gpus[0].traits


def test_a_mismatch_reserves_everything_and_names_its_reason() -> None:
    picture = pictures.picture(
        pictures.judged(units={"1g.5gb": 6}, findings=pictures.MISSING)
    )
    result = decisions.desired(model.Tree(_ROOT), picture, _NODE)
    gpu = result.gpus[0]
    assert not result.root_ready
    assert gpu.inventories[_CLASS].capacity == 0
    assert gpu.inventories[_CLASS].total == 6
    assert names.READY not in gpu.traits
    assert "CUSTOM_MIG_BLOCKED_INSTANCE_MISSING" in gpu.traits


def test_with_scope_node_one_gpu_closes_all() -> None:
    picture = pictures.picture(
        pictures.judged(0, {"1g.5gb": 7}),
        pictures.judged(1, {"1g.5gb": 6}, pictures.MISSING),
    )
    result = decisions.desired(model.Tree(_ROOT), picture, _NODE)
    assert not result.root_ready
    assert [gpu.inventories[_CLASS].capacity for gpu in result.gpus] == [0, 0]
    assert "CUSTOM_MIG_BLOCKED_OTHER_GPU" in result.gpus[0].traits


def test_with_scope_gpu_one_gpu_closes_itself_alone() -> None:
    picture = pictures.picture(
        pictures.judged(0, {"1g.5gb": 7}),
        pictures.judged(1, {"1g.5gb": 6}, pictures.MISSING),
    )
    result = decisions.desired(model.Tree(_ROOT), picture, _GPU)
    assert result.root_ready
    assert [gpu.inventories[_CLASS].capacity for gpu in result.gpus] == [7, 0]


def test_a_gpu_of_which_no_instance_is_fit_is_not_ready() -> None:
    """Found by a history: an XID on each of its three instances."""
    sick = verdict.Finding(
        verdict.Reason.INSTANCE_UNHEALTHY, "XID 94 on instance 1"
    )
    spent = verdict.GpuVerdict(1, unfit=(sick,), units=(("1g.5gb", 0),))
    picture = pictures.picture(pictures.judged(0, {"1g.5gb": 7}), spent)
    found = _decided(picture)
    assert names.READY not in found[_name(1)].traits
    assert names.blocked("INSTANCE_UNHEALTHY") in found[_name(1)].traits
    # The node is as declared: its other GPU stays open.
    assert names.READY in found[_name(0)].traits
    assert found[_name(0)].inventories[_CLASS].capacity == 7
    alone = pictures.picture(dataclasses.replace(spent, index=0))
    assert not decisions.desired(model.Tree(_ROOT), alone, _NODE).root_ready


def test_with_scope_gpu_a_finding_of_the_node_closes_all() -> None:
    hold = verdict.Finding(verdict.Reason.HOLD, "maintenance")
    picture = pictures.picture(
        pictures.judged(0, {"1g.5gb": 7}), findings=(hold,)
    )
    result = decisions.desired(model.Tree(_ROOT), picture, _GPU)
    assert not result.root_ready
    assert result.gpus[0].inventories[_CLASS].capacity == 0


def test_an_unobserved_node_keeps_its_classes_closed() -> None:
    gpu = _decided(pictures.unseen(), _provider())[_name()]
    assert gpu.inventories == {_CLASS: model.Inventory(7, 7, max_unit=7)}
    assert "CUSTOM_MIG_BLOCKED_HARDWARE_ERROR" in gpu.traits


def test_an_unobserved_node_keeps_what_describes_the_gpu() -> None:
    trait = "CUSTOM_MIG_PRODUCT_NVIDIA_A100"
    known = _provider(traits=frozenset({names.READY, trait}))
    assert trait in _decided(pictures.unseen(), known)[_name()].traits


def test_a_gpu_that_has_gone_keeps_its_provider_closed() -> None:
    picture = pictures.picture(pictures.judged(0, {"1g.5gb": 7}))
    gone = _decided(picture, _provider(0), _provider(1))[_name(1)]
    assert gone.inventories[_CLASS].capacity == 0
    assert "CUSTOM_MIG_BLOCKED_GPU_LOST" in gone.traits


def test_a_faulty_gpu_keeps_its_classes_closed() -> None:
    lost = verdict.Finding(verdict.Reason.GPU_LOST, "fell off the bus")
    node = hardware.Node("580", (pictures.gpu(0, fault="lost"),))
    judged = pictures.judged(0, {}, (lost,))
    picture = decisions.Picture(verdict.Verdict((), (judged,)), node)
    gpu = _decided(picture, _provider())[_name()]
    assert gpu.inventories == {_CLASS: model.Inventory(7, 7, max_unit=7)}


def test_a_gpu_without_a_verdict_is_closed() -> None:
    node = hardware.Node("580", (pictures.gpu(0, 7),))
    picture = decisions.Picture(verdict.Verdict(), node)
    gpu = _decided(picture, _provider())[_name()]
    assert gpu.inventories[_CLASS].capacity == 0
    assert "CUSTOM_MIG_BLOCKED_STARTING" in gpu.traits


def test_an_undeclared_gpu_is_closed_and_does_not_close_the_others() -> None:
    undeclared = verdict.GpuVerdict(1, declared=False)
    picture = pictures.picture(pictures.judged(0, {"1g.5gb": 7}), undeclared)
    decided = _decided(picture)
    assert names.READY in decided[_name(0)].traits
    assert "CUSTOM_MIG_BLOCKED_UNDECLARED" in decided[_name(1)].traits
    assert decided[_name(1)].inventories == {}


def test_a_vanished_class_stays_reserved_while_it_is_allocated() -> None:
    other = "CUSTOM_MIG_3G_20GB"
    known = _provider(
        inventories={other: model.Inventory(2, max_unit=2)}, used={other: 1}
    )
    picture = pictures.picture(pictures.judged(units={"1g.5gb": 7}))
    gpu = _decided(picture, known)[_name()]
    assert gpu.inventories[other] == model.Inventory(2, 2, max_unit=2)
    assert gpu.waiting == {other}
    assert gpu.inventories[_CLASS].capacity == 7


def test_a_vanished_class_goes_when_nobody_holds_it() -> None:
    known = _provider(used={_CLASS: 0})
    picture = pictures.picture(pictures.judged(findings=pictures.MISSING))
    assert _decided(picture, known)[_name()].inventories == {}


def _a100(**changes: object) -> hardware.Gpu:
    """With the profiles 1g.5gb and 3g.20gb, and seven of the former."""
    profiles = tuple(
        hardware.Profile(
            name=name,
            profile_id=number,
            enum=number,
            slices=slices,
            memory_mib=0,
            multiprocessors=0,
            max_instances=7,
            engines=hardware.Engines(),
            placements=(),
        )
        for name, number, slices in (("1g.5gb", 19, 1), ("3g.20gb", 9, 3))
    )
    return pictures.gpu(0, 7, **{"profiles": profiles, **changes})


def _holding(
    name: str, gpu: hardware.Gpu, rules: decisions.Rules
) -> tuple[model.DesiredProvider, decisions.Picture]:
    """What is decided where a VM holds two of a class and 7x 1g.5gb are."""
    known = _provider(
        inventories={name: model.Inventory(7, max_unit=7)}, used={name: 2}
    )
    judged = pictures.judged(units={"1g.5gb": 7})
    picture = decisions.Picture(
        verdict.Verdict((), (judged,)), hardware.Node("580", (gpu,))
    )
    weighed = decisions.weighed(model.Tree(_ROOT, (known,)), picture, rules)
    return _decided(picture, known, rules=rules)[_name()], weighed


_SMALL = decisions.Rules(classes={"1g.5gb": "CUSTOM_SMALL"})


def test_a_class_that_was_renamed_under_vms_is_not_offered_twice() -> None:
    gpu, weighed = _holding(_CLASS, _a100(), _SMALL)
    assert [each.capacity for each in gpu.inventories.values()] == [0, 0]
    assert "CUSTOM_MIG_BLOCKED_CONFIG_INVALID" in gpu.traits
    detail = weighed.against[0][0].detail
    assert f"2 of {_CLASS}" in detail
    assert "put the class back" in detail


def test_an_override_taken_away_under_vms_is_not_offered_twice() -> None:
    gpu, _ = _holding("CUSTOM_SMALL", _a100(), _NODE)
    assert [each.capacity for each in gpu.inventories.values()] == [0, 0]


@pytest.mark.parametrize(
    "name", ["CUSTOM_MIG_3G_20GB", "CUSTOM_MIG_1C_3G_20GB"]
)
def test_a_known_profiles_class_in_use_closes_nothing(name: str) -> None:
    gpu, weighed = _holding(name, _a100(), _SMALL)
    assert gpu.inventories["CUSTOM_SMALL"].capacity == 7
    assert gpu.waiting == {name}
    assert not weighed.against


def test_of_a_gpu_without_known_profiles_no_class_is_judged() -> None:
    gpu, weighed = _holding(_CLASS, _a100(profiles=()), _SMALL)
    assert gpu.inventories["CUSTOM_SMALL"].capacity == 7
    assert not weighed.against


def test_a_renamed_class_closes_its_own_gpu_alone() -> None:
    known = _provider(used={_CLASS: 1})
    other = pictures.gpu(1, 7)
    picture = decisions.Picture(
        verdict.Verdict(
            (), tuple(pictures.judged(i, {"1g.5gb": 7}) for i in range(2))
        ),
        hardware.Node("580", (_a100(), other)),
    )
    decided = _decided(picture, known, rules=_SMALL)
    assert names.READY not in decided[_name(0)].traits
    assert names.READY in decided[_name(1)].traits


def test_traits_of_others_stay_and_outdated_ones_of_ours_go() -> None:
    known = _provider(
        traits=frozenset({"CUSTOM_RACK_7", "CUSTOM_MIG_DRIVER_550"})
    )
    picture = pictures.picture(pictures.judged(units={"1g.5gb": 7}))
    traits = _decided(picture, known)[_name()].traits
    assert "CUSTOM_RACK_7" in traits
    assert "CUSTOM_MIG_DRIVER_550" not in traits
    assert "CUSTOM_MIG_DRIVER_580" in traits


def test_a_gpu_is_described_by_traits() -> None:
    picture = pictures.picture(pictures.judged(units={"1g.5gb": 7}))
    rules = decisions.Rules(traits=frozenset({"CUSTOM_EXTRA"}))
    assert _decided(picture, rules=rules)[_name()].traits == {
        "CUSTOM_EXTRA",
        "CUSTOM_MIG_ARCH_AMPERE",
        "CUSTOM_MIG_CUDA_COMPUTE_CAPABILITY_V8_0",
        "CUSTOM_MIG_DRIVER_580",
        "CUSTOM_MIG_LAYOUT_ALL_1G_5GB",
        "CUSTOM_MIG_PRODUCT_NVIDIA_A100_SXM4_40GB",
        "CUSTOM_MIG_PROFILE_1G_5GB",
        "CUSTOM_MIG_READY",
        "CUSTOM_OWNER_MIG_PLACEMENT",
    }


def test_a_gpu_that_cannot_do_mig_has_no_provider() -> None:
    node = hardware.Node("580", (pictures.gpu(0, mig_capable=False),))
    picture = decisions.Picture(verdict.Verdict(), node)
    assert _decided(picture) == {}


@pytest.mark.parametrize("reason", list(verdict.Reason))
def test_every_reason_is_a_trait_that_placement_takes(
    reason: verdict.Reason,
) -> None:
    assert names.is_custom(names.blocked(reason))
