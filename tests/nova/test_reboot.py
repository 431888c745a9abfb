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
"""A reboot of the node, under a real Nova."""

from tests.nova import base
from tests.nova import gpu_host


class NodeRebootTest(base.RealNovaTest):
    """The instances are gone, and Placement still offers them."""

    def reboot(self, *, apply: str, delay_ms: int = 0) -> gpu_host.GpuHost:
        """A node that has come up so far that the agent is to start."""
        host = self.start_host()
        host.configure("layout", apply=apply)
        self.reboot_node()
        host.gpus.set_delay(delay_ms)
        stale = host.look()
        self.assertTrue(stale.is_open)
        self.assertEqual({host.gpu_name(0): 2}, stale.devices.offered)
        return host

    def test_nothing_lands_until_another_tool_made_the_instances(self) -> None:
        host = self.reboot(apply="none")
        host.start_agent_until_ready()
        self.start_nova_compute()
        self.assert_no_valid_host()
        self.run_periodics()
        self.assert_no_valid_host()
        host.make_instances(0)
        if self.attach == "vfio":
            self.restart_nova_compute()
        self.run_periodics()
        host.wait_until_offered(2)
        self.boot()

    def test_a_vm_starts_again_once_the_instances_are_back(self) -> None:
        host = self.start_host()
        server = self.boot()
        before = self.allocations(server)
        self.reboot_node()
        host.make_instances(0)
        host.start_agent_until_ready()
        self.start_nova_compute()
        host.wait_until_offered(1)
        self._reboot_server(server, hard=True)
        self.assert_right_device(server)
        self.assertEqual(before, self.allocations(server))
        self.boot()
        self.assert_no_valid_host()

    def test_nothing_lands_until_the_agent_made_the_instances(self) -> None:
        # So slow that a VM is asked for before the agent is through.
        host = self.reboot(apply="native", delay_ms=1000)
        host.start_agent()
        host.wait_until_closed()
        self.start_nova_compute()
        self.assert_no_valid_host()
        gpu_host.settles(lambda: host.look().is_open)
        if self.attach == "vfio":
            # It looks for PCI devices only while it starts.
            self.restart_nova_compute()
        self.run_periodics()
        host.wait_until_offered(2)
        self.boot()
