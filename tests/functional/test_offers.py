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

"""Which classes nodes have, asked of a real Placement."""

import pytest

from mig_placement.placement import client
from mig_placement.placement import names
from mig_placement.placement import offers
from tests.functional import placement_app

CLASS = "CUSTOM_MIG_1G_5GB"
Placement = placement_app.InProcessPlacement


def _node(placement: Placement, name: str = "n") -> tuple[str, str]:
    """A root and a GPU provider of ours under it, with two units."""
    cloud = placement.cloud
    root = cloud.create_root(name)
    cloud.create_class(CLASS)
    gpu = cloud.create_child(root, names.provider_name(name, "0000:41:00.0"))
    cloud.set_inventories(gpu, {CLASS: {"total": 2}})
    cloud.set_traits(gpu, [names.OWNER])
    return root, gpu


def _offered(placement: Placement, *classes: str) -> set[str]:
    found = offers.offered(client.Client(placement.adapter), classes)
    return set(found)


def test_a_class_with_room_is_found_without_a_walk(
    placement: Placement,
) -> None:
    _node(placement)
    placement.recorder.clear()
    assert _offered(placement, CLASS) == {CLASS}
    assert dict(placement.recorder.routes()) == {
        ("GET", "/resource_classes"): 1,
        ("GET", "/resource_providers"): 1,
    }


def test_a_class_that_is_full_is_found(placement: Placement) -> None:
    _node(placement)
    for _ in range(2):
        placement.cloud.boot({CLASS: 1})
    assert _offered(placement, CLASS) == {CLASS}


def test_a_class_behind_a_closed_gate_is_found(placement: Placement) -> None:
    _, gpu = _node(placement)
    inventory = {CLASS: {"total": 2, "reserved": 2}}
    placement.cloud.set_inventories(gpu, inventory)
    assert _offered(placement, CLASS) == {CLASS}


def test_a_class_on_a_full_provider_of_nova_is_found(
    placement: Placement,
) -> None:
    root, gpu = _node(placement)
    placement.cloud.set_inventories(gpu, {})
    function = placement.cloud.create_child(root, "n_pci_0000_41_00_4")
    inventory = {CLASS: {"total": 1, "reserved": 1}}
    placement.cloud.set_inventories(function, inventory)
    assert _offered(placement, CLASS) == {CLASS}


@pytest.mark.parametrize("name", ["CUSTOM_MIG_9G", "CUSTOM_MIG_UNUSED", "x?"])
def test_a_class_that_nobody_has_is_not(
    placement: Placement, name: str
) -> None:
    _node(placement)
    placement.cloud.create_class("CUSTOM_MIG_UNUSED")
    assert _offered(placement, CLASS, name) == {CLASS}


def test_a_cloud_without_an_agent_has_none(placement: Placement) -> None:
    placement.cloud.create_root("n")
    placement.cloud.create_class(CLASS)
    assert _offered(placement, CLASS) == set()
