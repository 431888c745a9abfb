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
"""The gate, as VMs of a real Nova meet it."""

from tests.nova import base


class GateTest(base.RealNovaTest):
    def test_a_vm_lands_on_the_gpu_and_its_deletion_releases_it(self) -> None:
        host = self.start_host()
        server = self.boot()
        self.assertEqual(host.gpu_name(0), self.slice_of(server))
        self.assertEqual(1, host.used())
        self._delete_server(server)
        self.assertEqual(0, host.used())
        host.wait_until_offered(2)

    def test_as_many_vms_land_as_there_are_slices(self) -> None:
        self.start_host(gpus=2, per_gpu=2)
        for _ in range(4):
            self.boot()
        self.assert_no_valid_host()

    def test_a_closed_gate_stops_gpu_vms_and_no_plain_ones(self) -> None:
        host = self.start_host()
        host.destroy_one(0)
        host.wait_until_closed()
        self.assert_no_valid_host()
        plain = self.boot_plain()
        self.assertEqual({host.name}, set(self.allocations(plain)))
        host.make_instances(0)
        host.wait_until_offered(2)
        self.boot()

    def test_closing_leaves_a_running_vm_alone(self) -> None:
        host = self.start_host()
        server = self.boot()
        before = self.hold_of(server)
        host.destroy_one(0, start=1)
        host.wait_until_closed()
        self.run_periodics()
        self.assertEqual(before, self.hold_of(server))
        self._reboot_server(server, hard=True)
        self.assertEqual(before, self.hold_of(server))
        self.restart_nova_compute()
        self.run_periodics()
        self.assertEqual(before, self.hold_of(server))
        self.expire_nova_caches()
        self.run_periodics()
        self.assertEqual(before, self.hold_of(server))
        # None of it has opened the gate, and the VM can still go.
        self.assert_no_valid_host()
        self._delete_server(server)
        self.assertEqual(0, host.used())

    def test_one_bad_gpu_closes_a_node_of_scope_node(self) -> None:
        host = self.start_host(gpus=2, scope="node")
        host.destroy_one(0)
        host.wait_until_closed()
        self.assert_no_valid_host()

    def test_one_bad_gpu_closes_itself_alone_in_scope_gpu(self) -> None:
        host = self.start_host(gpus=2, per_gpu=2, scope="gpu")
        host.destroy_one(0)
        host.wait_until_offered(0, 2)
        for _ in range(2):
            self.assertEqual(host.gpu_name(1), self.slice_of(self.boot()))
        self.assert_no_valid_host()

    def test_a_vm_leaves_a_closed_host_by_cold_migration(self) -> None:
        host, other = self.start_host(), self.start_host(base.OTHER)
        other.destroy_one(0)
        other.wait_until_closed()
        server = self.boot()
        self.assertEqual(host.gpu_name(0), self.slice_of(server))
        host.destroy_one(0, start=1)
        other.make_instances(0)
        host.wait_until_closed()
        other.wait_until_offered(2)
        server = self.migrate(server)
        self.assertEqual(other.gpu_name(0), self.slice_of(server))
        self._confirm_resize(server)
        self.assertEqual((0, 1), (host.used(), other.used()))

    def test_a_vm_may_come_back_to_a_closed_host(self) -> None:
        host = self.start_host()
        server = self.boot()
        before = self.hold_of(server)
        other = self.start_host(base.OTHER)
        host.destroy_one(0, start=1)
        host.wait_until_closed()
        self._revert_resize(self.migrate(server))
        self.assertEqual(before, self.hold_of(server))
        self.assertEqual((1, 0), (host.used(), other.used()))
