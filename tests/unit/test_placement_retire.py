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
"""What is done with a provider that is to be retired."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_placement.hardware import model as hardware
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import plan
from mig_placement.placement import retire
from tests.unit import pictures

_ROOT = model.Provider("root", pictures.ROOT_NAME, 1)
_CLASS = "CUSTOM_MIG_1G_5GB"


def _provider(index: int = 0, **changes: object) -> model.Provider:
    name = names.provider_name(pictures.ROOT_NAME, pictures.address(index))
    made = model.Provider(f"gpu-{index}", name, 3, parent_uuid="root")
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def _walk(
    provider: model.Provider, waited: float = 1e9
) -> list[plan.Write | retire.Left]:
    """All steps, each done as Placement does it."""
    steps: list[plan.Write | retire.Left] = []
    while True:
        step = retire.next_step(provider, waited, 300)
        steps.append(step)
        if isinstance(step, plan.PutInventories):
            provider = dataclasses.replace(
                provider, inventories=step.inventories
            )
        elif isinstance(step, plan.PutParent):
            provider = dataclasses.replace(
                provider, parent_uuid=step.parent_uuid
            )
        else:
            return steps


def test_it_is_emptied_then_taken_out_then_deleted() -> None:
    provider = _provider(inventories={_CLASS: model.Inventory(7, 7)})
    assert [type(each) for each in _walk(provider)] == [
        plan.PutInventories,
        plan.PutParent,
        retire.Delete,
    ]


def test_between_its_root_and_its_end_it_waits() -> None:
    assert _walk(_provider(), waited=299)[-1] == retire.Wait(
        _provider(parent_uuid=None), 1
    )


def test_one_under_its_root_is_not_deleted_however_long_it_waited() -> None:
    step = retire.next_step(_provider(), 1e9, 0)
    assert isinstance(step, plan.PutParent)


def test_one_in_use_is_wholly_reserved_and_kept() -> None:
    provider = _provider(
        inventories={
            _CLASS: model.Inventory(7),
            "CUSTOM_X": model.Inventory(1),
        },
        used={_CLASS: 2, "CUSTOM_X": 0},
    )
    closing, left = _walk(provider)
    assert isinstance(closing, plan.PutInventories)
    assert all(each.capacity == 0 for each in closing.inventories.values())
    assert set(closing.inventories) == {_CLASS, "CUSTOM_X"}
    assert isinstance(left, retire.Keep)
    assert str(left) == f"VMs hold 2 of {_CLASS}"


@given(
    used=st.integers(0, 3),
    units=st.integers(0, 3),
    parent=st.sampled_from(["root", None]),
    waited=st.floats(0, 600),
)
def test_one_in_use_is_never_emptied_moved_or_deleted(
    used: int, units: int, parent: str | None, waited: float
) -> None:
    inventories = {_CLASS: model.Inventory(units)} if units else {}
    provider = _provider(
        inventories=inventories, used={_CLASS: used}, parent_uuid=parent
    )
    steps = _walk(provider, waited)
    if used:
        assert isinstance(steps[-1], retire.Keep)
        assert not [s for s in steps if isinstance(s, plan.PutParent)]
    elif waited < 300:
        assert isinstance(steps[-1], retire.Wait)


@pytest.mark.parametrize(
    ("refresh", "least", "most"), [(300, 301, 400), (10, 11, 20)]
)
def test_nova_gets_more_time_than_its_cache_lasts(
    refresh: float, least: float, most: float
) -> None:
    assert least < retire.wait(refresh) < most


def test_where_nova_never_reads_again_no_time_is_enough() -> None:
    left = retire.next_step(_provider(parent_uuid=None), 1e9, retire.wait(0))
    assert isinstance(left, retire.Wait)
    assert "restarted" in str(left)


def _gone(*gpus: hardware.Gpu) -> list[str]:
    tree = model.Tree(_ROOT, (_provider(0), _provider(1)))
    node = hardware.Node("580", gpus)
    return [each.uuid for each in retire.gone(tree, node)]


def test_a_gpu_that_was_taken_out_is_gone() -> None:
    assert _gone(pictures.gpu(1)) == ["gpu-0"]


def test_a_gpu_that_does_not_answer_is_not_gone() -> None:
    lost = pictures.gpu(0, fault="fell off the bus", mig_capable=False)
    assert _gone(pictures.gpu(1), lost) == []


def test_with_a_gpu_of_unknown_address_none_is_gone() -> None:
    unknown = hardware.Gpu(index=0, fault="fell off the bus")
    assert _gone(pictures.gpu(1), unknown) == []


def test_a_slot_with_a_gpu_that_cannot_do_mig_has_lost_its_own() -> None:
    other = pictures.gpu(0, mig_capable=False)
    assert _gone(pictures.gpu(1), other) == ["gpu-0"]


@pytest.mark.parametrize(
    "name",
    [
        "n1",
        "n1_mig_x",
        "n1_mig_x_mig_0000_41_00_0",
        "n11_mig_0000_41_00_0",
        "n1_pci_0000_41_00_0",
        "n1_0000:41:00.0",
        "n1_mig_0000_41_00_0_x",
        "x_n1_mig_0000_41_00_0",
    ],
)
def test_what_only_begins_as_the_hosts_is_not_the_hosts(name: str) -> None:
    own = model.Provider("own", "n1_mig_0000_41_00_0", 1)
    other = model.Provider("other", name, 1)
    assert retire.of_host([other, own], "n1") == (own,)
