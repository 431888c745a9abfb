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
"""What keeping Nova's own providers in step costs a real Placement."""

import dataclasses
import functools

import pytest

from mig_placement.geometry import functions
from mig_placement.hardware import model as hardware
from mig_placement.placement import client
from mig_placement.placement import desired
from mig_placement.placement import names
from mig_placement.placement import nova_devices
from mig_placement.placement import sync
from tests.functional import placement_app
from tests.unit import pictures

_CLASS = "CUSTOM_MIG_1G_5GB"
_TYPE = hardware.VgpuType(463, "A100X-1-5C", "1g.5gb")
_WAY = functions.Way(functions.Attach.MDEV)


def _picture(units: int) -> desired.Picture:
    """A matching node of one GPU with its functions on."""
    seen = pictures.picture(pictures.judged(0, {"1g.5gb": units}))
    assert seen.node
    there = tuple(
        hardware.VirtualFunction(
            hardware.function_address(pictures.address(0), 4 + number),
            mdev_types=frozenset({463}),
        )
        for number in range(16)
    )
    gpu = dataclasses.replace(
        seen.node.gpus[0],
        vgpu_types=(_TYPE,),
        sriov=hardware.Sriov(16, 4, 1, there),
    )
    node = dataclasses.replace(seen.node, gpus=(gpu,))
    return dataclasses.replace(seen, node=node)


class Node:
    """A synchroniser, its compute root, and Nova's functions under it."""

    def __init__(self, placement: placement_app.InProcessPlacement) -> None:
        self.cloud = placement.cloud
        self.recorder = placement.recorder
        self.root = self.cloud.create_root(pictures.ROOT_NAME)
        self.synchronizer = sync.Synchronizer(
            client.Client(placement.adapter),
            pictures.ROOT_NAME,
            nova_devices.is_device(_WAY.attach, pictures.ROOT_NAME),
        )

    def make_function(self, number: int) -> str:
        """As nova-compute does: a provider, and then its inventory."""
        address = hardware.function_address(pictures.address(0), 4 + number)
        name = names.mdev_provider_name(pictures.ROOT_NAME, address)
        uuid = self.cloud.create_child(self.root, name)
        inventory = {"total": 1, "max_unit": 1}
        self.cloud.set_inventories(uuid, {_CLASS: inventory})
        return uuid

    def tell(self, units: int = 7) -> None:
        self.recorder.clear()
        self.synchronizer.sync(
            functools.partial(
                desired.desired,
                picture=_picture(units),
                rules=desired.Rules(way=_WAY),
            )
        )

    def boot(self) -> str:
        """With a generated flavor."""
        return self.cloud.boot(
            {_CLASS: 1}, [names.READY], node_required=[names.NODE_READY]
        )

    def requests(self) -> list[str]:
        return [each.method for each in self.recorder.exchanges]

    def candidates(self) -> int:
        """For a generated flavor."""
        found = self.cloud.candidates(
            {_CLASS: 1},
            [names.READY],
            node_required=[names.NODE_READY],
        )
        return len(found)


@pytest.fixture
def node(placement: placement_app.InProcessPlacement) -> Node:
    return Node(placement)


def test_a_steady_cycle_is_one_get_with_nova_s_devices_too(
    node: Node,
) -> None:
    for number in range(7):
        node.make_function(number)
    node.tell()
    node.tell()
    assert node.requests() == ["GET"]
    assert node.candidates() == 7


def test_a_function_made_anew_costs_one_get_and_one_put(node: Node) -> None:
    uuids = [node.make_function(number) for number in range(7)]
    node.tell()
    node.cloud.delete_provider(uuids[3])
    node.tell()
    node.make_function(3)
    node.tell()
    # The steady cycle's own, and what shows the class of the new one.
    assert node.requests() == ["GET", "GET", "PUT"]
    assert node.candidates() == 7


def test_a_vm_s_coming_and_going_writes_nothing(node: Node) -> None:
    for number in range(7):
        node.make_function(number)
    node.tell()
    vm = node.boot()
    node.tell()
    assert "PUT" not in node.requests()
    node.cloud.delete_vm(vm)
    node.tell()
    assert node.requests() == ["GET"]
    assert node.candidates() == 7


def test_fewer_instances_take_marks_from_free_functions(node: Node) -> None:
    for number in range(7):
        node.make_function(number)
    node.tell()
    for _ in range(3):
        node.boot()
    node.tell(units=5)
    assert node.candidates() == 2
