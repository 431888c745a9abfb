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
"""The agent beside Nova's own providers: mdev and vfio.

The providers are what nova-compute makes, made by hand; tests/nova has a
real one.
"""

import json
import sys
from collections.abc import Iterator

import pytest

from mig_placement import simulator
from mig_placement.hardware import session
from mig_placement.placement import names
from tests.functional import gpu_node
from tests.functional import placement_app

_PF = "0000:41:00.0"
_PROFILE = "1g.5gb"
_VGPU_CLASS = "CUSTOM_VGPU_1G_5GB"
_TYPE = 463


class AttachNode(gpu_node.GpuNode):
    """A node with one A100 of seven 1g.5gb, and what Nova has of it."""

    def prepare(self, attach: str, apply: str = "none") -> None:
        command = (
            f"{sys.executable} -m mig_placement.cmd.tool"
            f" simulate sriov {self.gpus.path} {{index}} on"
        )
        self.sections["nova"] = {"attach": attach}
        self.sections["layout"].update(apply=apply, sriov_command=command)
        self.write_config()
        self.gpus.create(["A100-40GB"], mig=True, vgpu=attach)
        self.root = self.create_root()

    def make_instances(self) -> None:
        if not self.functions():
            self.gpus.set_sriov(0, force=True)
        self.create_instances()

    def functions(self) -> list[str]:
        found = self.gpus.summary()["gpus"][0]["functions"]
        return [each["pci_address"] for each in found]

    def types(self) -> list[int]:
        found = self.gpus.summary()["gpus"][0]["functions"]
        return [each["type_id"] for each in found]

    def set_types(self, count: int = 7) -> None:
        for address in self.functions()[:count]:
            path = f"bus/pci/devices/{address}/nvidia/current_vgpu_type"
            self.gpus.write_sysfs(path, f"{_TYPE}")

    # As nova-compute does.

    def make_mdev_providers(self, count: int) -> None:
        for address in self.functions()[:count]:
            self.make_mdev_provider(address)

    def make_mdev_provider(self, address: str) -> str:
        name = names.mdev_provider_name(gpu_node.ROOT_NAME, address)
        uuid = self.cloud.create_child(self.root, name)
        inventory = {"total": 1, "max_unit": 1}
        self.cloud.set_inventories(uuid, {gpu_node.CLASS: inventory})
        return uuid

    def make_pci_provider(self, total: int = 7) -> str:
        name = names.pci_provider_name(gpu_node.ROOT_NAME, _PF)
        uuid = self.cloud.create_child(self.root, name)
        self.set_functions(uuid, total)
        return uuid

    def set_functions(self, uuid: str, total: int) -> None:
        inventory = {"total": total, "max_unit": total}
        self.cloud.set_inventories(uuid, {_VGPU_CLASS: inventory})

    def reserved(self, uuid: str) -> int:
        inventory = self.cloud.inventories(uuid)[_VGPU_CLASS]
        return int(inventory["reserved"])

    def marked(self) -> set[str]:
        """Addresses of Nova's functions that carry our mark."""
        prefix = f"{gpu_node.ROOT_NAME}_pci_"
        return {
            name.removeprefix(prefix)
            for name, provider in self.cloud.providers().items()
            if name.startswith(prefix) and names.READY in provider.traits
        }

    def is_open(self) -> bool:
        root = self.cloud.providers()[gpu_node.ROOT_NAME]
        return names.NODE_READY in root.traits


@pytest.fixture
def host(
    tmp_path: object, placement_tcp: placement_app.TcpPlacement
) -> Iterator[AttachNode]:
    made = AttachNode(
        tmp_path,  # type: ignore[arg-type]
        placement_tcp.options(),
        placement_tcp.cloud,
    )
    yield made
    made.stop_agents()


def test_as_many_functions_are_marked_as_there_are_instances(
    host: AttachNode,
) -> None:
    host.prepare("mdev")
    host.make_instances()
    host.make_mdev_providers(10)
    host.start_agent()
    gpu_node.within(lambda: len(host.marked()) == 7)
    gpu_node.within(host.is_open)


def test_with_mdev_our_own_provider_has_no_inventory(
    host: AttachNode,
) -> None:
    host.prepare("mdev")
    host.make_instances()
    host.start_agent()
    gpu_node.within(host.is_open)
    assert host.cloud.inventories(host.provider().uuid) == {}
    assert names.READY in host.provider().traits


def test_a_function_that_nova_made_anew_is_marked_again(
    host: AttachNode,
) -> None:
    host.prepare("mdev")
    host.make_instances()
    host.make_mdev_providers(6)
    uuid = host.make_mdev_provider(host.functions()[6])
    host.start_agent()
    gpu_node.within(lambda: len(host.marked()) == 7)
    host.cloud.delete_provider(uuid)
    assert len(host.marked()) == 6
    host.make_mdev_provider(host.functions()[6])
    gpu_node.within(lambda: len(host.marked()) == 7)


def test_what_nova_has_left_of_instances_that_are_gone_is_not_marked(
    host: AttachNode,
) -> None:
    host.prepare("mdev")
    host.make_instances()
    host.make_mdev_providers(7)
    host.start_agent()
    gpu_node.within(lambda: len(host.marked()) == 7)
    host.gpus.clear(0)
    gpu_node.within(lambda: not host.marked())
    assert not host.is_open()
    gpu_node.within(
        lambda: "left of instances that are gone" in host.log_text()
    )


def test_after_a_reboot_functions_and_instances_come_back_in_order(
    host: AttachNode,
) -> None:
    host.prepare("mdev", apply="native")
    host.start_agent()
    gpu_node.within(host.is_open)
    assert len(host.functions()) == 16
    host.stop_agents()
    host.gpus.reboot()
    assert not host.functions()
    host.start_agent()
    gpu_node.within(lambda: host.functions() and host.is_open())
    assert len(host.gpus.summary()["gpus"][0]["instances"]) == 7


def test_without_virtual_functions_the_gate_is_closed(
    host: AttachNode,
) -> None:
    host.prepare("mdev")
    host.create_instances()
    host.start_agent()
    gpu_node.within(lambda: host.blocked_by() == {"SRIOV_DISABLED"})


def test_mdev_on_a_kernel_without_it_closes_the_gate(
    host: AttachNode,
) -> None:
    host.prepare("vfio")
    host.make_instances()
    host.sections["nova"]["attach"] = "mdev"
    host.write_config()
    host.start_agent()
    gpu_node.within(lambda: host.blocked_by() == {"ATTACH_UNSUPPORTED"})
    assert "has no mdev bus" in host.log_text()


def test_a_function_without_a_vgpu_type_is_no_capacity(
    host: AttachNode,
) -> None:
    host.prepare("vfio")
    host.make_instances()
    host.set_types(6)
    host.start_agent()
    gpu_node.within(lambda: host.blocked_by() == {"VGPU_TYPE_MISSING"})
    address = host.functions()[6]
    path = f"bus/pci/devices/{address}/nvidia/current_vgpu_type"
    host.gpus.write_sysfs(path, f"{_TYPE}")
    host.opens()


def test_after_a_reboot_vgpu_types_come_back_as_well(
    host: AttachNode,
) -> None:
    host.prepare("vfio", apply="native")
    host.start_agent()
    host.opens()
    assert host.types() == [_TYPE] * 7 + [0] * 9
    host.stop_agents()
    host.gpus.reboot()
    host.start_agent()
    gpu_node.within(lambda: host.types() == [_TYPE] * 7 + [0] * 9)
    host.opens()


def test_nova_s_functions_of_a_blocked_gpu_are_reserved(
    host: AttachNode,
) -> None:
    host.prepare("vfio")
    host.make_instances()
    host.set_types()
    uuid = host.make_pci_provider()
    host.start_agent()
    host.opens()
    assert host.reserved(uuid) == 0
    host.gpus.send_xid(0, 79)
    gpu_node.within(lambda: host.reserved(uuid) == 7)
    # As Nova does when its number of functions changes.
    host.set_functions(uuid, 7)
    gpu_node.within(lambda: host.reserved(uuid) == 7)


def test_an_unfit_instance_closes_its_gpu_where_nova_chooses(
    host: AttachNode,
) -> None:
    host.prepare("mdev")
    host.make_instances()
    host.make_mdev_providers(7)
    host.start_agent()
    gpu_node.within(lambda: len(host.marked()) == 7)
    host.gpus.send_xid(0, 94, (2, 1))
    gpu_node.within(lambda: host.blocked_by() == {"INSTANCE_UNHEALTHY"})
    gpu_node.within(lambda: not host.marked())


def test_more_functions_in_nova_than_instances_close_the_gate(
    host: AttachNode,
) -> None:
    host.prepare("vfio")
    host.make_instances()
    host.set_types()
    uuid = host.make_pci_provider(16)
    host.start_agent()
    gpu_node.within(lambda: host.blocked_by() == {"CONFIG_INVALID"})
    gpu_node.within(lambda: host.reserved(uuid) == 16)
    host.set_functions(uuid, 7)
    host.opens()
    gpu_node.within(lambda: host.reserved(uuid) == 0)


def test_two_profiles_on_one_gpu_are_refused_with_what_to_do(
    host: AttachNode,
) -> None:
    host.prepare("vfio")
    host.layout.write_text(
        gpu_node.LAYOUT.replace('"1g.5gb": 7', '"1g.5gb": 3, "3g.20gb": 1')
    )
    host.start_agent()
    gpu_node.within(lambda: host.blocked_by() == {"LAYOUT_INVALID"})
    assert "declare one profile for each GPU" in host.log_text()


def test_sriov_is_tried_again_once_another_session_has_ended(
    host: AttachNode,
) -> None:
    host.prepare("vfio", apply="native")
    simulator.install(host.gpus.path)
    try:
        with session.Session():
            host.start_agent()
            gpu_node.within(lambda: "unbindLock" in host.log_text())
            gpu_node.within(lambda: "SRIOV_DISABLED" in host.blocked_by())
    finally:
        simulator.uninstall()
    host.opens()


def test_a_vgpu_type_for_no_instance_is_refused(host: AttachNode) -> None:
    host.prepare("vfio")
    host.sections["nova"]["vgpu_types"] = "2g.10gb:A100X-2-10C"
    host.write_config()
    host.start_agent()
    gpu_node.within(lambda: host.blocked_by() == {"CONFIG_INVALID"})
    assert "has no such instance" in host.log_text()


def test_the_layout_is_changed_under_typed_functions(
    host: AttachNode,
) -> None:
    host.prepare("vfio", apply="native")
    host.start_agent()
    host.opens()
    host.layout.write_text(
        gpu_node.LAYOUT.replace('"1g.5gb": 7', '"3g.20gb": 2')
    )
    gpu_node.within(lambda: host.types() == [465] * 2 + [0] * 14)


def test_discover_shows_functions_with_their_types_and_vms(
    host: AttachNode,
) -> None:
    host.prepare("vfio")
    off = host.tool("discover", "--functions", "-f", "json")
    assert json.loads(off.stdout)[0]["Function"] == "SR-IOV is off"
    host.make_instances()
    host.set_types(2)
    host.gpus.set_vm(host.functions()[0], running=True)
    on = host.tool("discover", "--functions", "-f", "json")
    first, second, third, *_ = json.loads(on.stdout)
    assert first["vGPU type"] == second["vGPU type"] == "A100X-1-5C"
    assert first["Way"] == "vfio"
    assert first["GI"] != second["GI"]
    assert bool(first["VM"]) > bool(second["VM"])
    assert third["vGPU type"] == ""


def test_a_simulated_node_forgets_its_sysfs(host: AttachNode) -> None:
    host.prepare("vfio")
    node = simulator.SimulatedNode(host.gpus.path)
    node.delete()
    assert not (host.folder / "gpus.json.sysfs").exists()


def test_a_command_may_do_what_our_own_steps_may_not(
    host: AttachNode,
) -> None:
    """SR-IOV keeps MIG mode on: an operator's tool may know better."""
    host.prepare("vfio", apply="command")
    host.gpus.set_sriov(0, force=True)
    tool = f"{sys.executable} -m mig_placement.cmd.tool simulate"
    script = host.folder / "off.sh"
    script.write_text(
        f"{tool} sriov {host.gpus.path} 0 off\n"
        f"{tool} mode {host.gpus.path} 0 off\n"
        f"{tool} reset {host.gpus.path} 0\n"
    )
    host.sections["layout"]["apply_command"] = f"sh {script}"
    host.write_config()
    host.layout.write_text(
        gpu_node.LAYOUT.replace(
            'mig-enabled: true\n      mig-devices: {"1g.5gb": 7}',
            "mig-enabled: false",
        )
    )
    host.start_agent()
    gpu = host.gpus.summary
    gpu_node.within(lambda: not gpu()["gpus"][0]["mig"])
