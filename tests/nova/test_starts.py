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
# ruff: noqa: PT009
# mypy: disable-error-code="misc"
"""Reboots, restarts and the rebuilding of the tree, under a real Nova."""

from tests.nova import base
from tests.nova import gpu_host


class NodeRebootTest(base.RealNovaTest):
    """The instances are gone, and Placement still offers them."""

    def reboot(self, *, apply: str, delay_ms: int = 0) -> gpu_host.GpuHost:
        """A node that has come up so far that the agent is to start."""
        host = self.start_host()
        host.stop_agents()
        self.stop_nova_compute()
        host.configure("layout", apply=apply)
        host.gpus.reboot()
        host.gpus.set_delay(delay_ms)
        self.assertTrue(host.is_open())
        self.assertEqual({host.gpu_name(0): 2}, dict(host.offered()))
        return host

    def test_nothing_lands_until_another_tool_made_the_instances(self) -> None:
        host = self.reboot(apply="none")
        host.start_agent_until_ready()
        self.start_nova_compute()
        self.assert_no_valid_host()
        self.run_periodics()
        self.assert_no_valid_host()
        host.make_instances(0)
        host.wait_until_offered(2)
        self.boot()

    def test_nothing_lands_until_the_agent_made_the_instances(self) -> None:
        # So slow that a VM is asked for before the agent is through.
        host = self.reboot(apply="native", delay_ms=1000)
        host.start_agent()
        host.wait_until_closed()
        self.start_nova_compute()
        self.assert_no_valid_host()
        host.wait_until_offered(2)
        self.boot()


class RestartTest(base.RealNovaTest):
    """Whoever is restarted, what is ours in Placement stays as it was."""

    def setUp(self) -> None:
        super().setUp()
        self.host = self.start_host(gpus=2)
        self.server = self.boot()
        self.before = self.own_providers(self.host)
        self.held = self.hold_of(self.server)
        self.assertEqual(2, len(self.before))

    def assert_all_as_before(self) -> None:
        self.expire_nova_caches()
        for _ in range(2):
            self.run_periodics()
        self.assertEqual(self.before, self.own_providers(self.host))
        self.assertEqual(self.held, self.hold_of(self.server))
        self.assertTrue(self.host.is_open())
        self.boot()

    def test_a_restart_of_nova_compute_changes_nothing(self) -> None:
        self.restart_nova_compute()
        self.assert_all_as_before()

    def test_a_restart_of_the_agent_changes_nothing(self) -> None:
        self.host.stop_agents()
        self.assert_all_as_before()
        self.before = self.own_providers(self.host)
        self.host.start_agent_until_ready()
        self.assert_all_as_before()

    def test_a_restart_of_both_changes_nothing(self) -> None:
        self.host.stop_agents()
        self.stop_nova_compute()
        self.host.start_agent()
        self.start_nova_compute()
        self.assert_all_as_before()

    def test_a_crash_of_the_agent_changes_nothing(self) -> None:
        self.host.kill_agents()
        self.assert_all_as_before()


class TreeTest(base.RealNovaTest):
    def test_the_agent_rebuilds_what_the_service_s_deletion_took(self) -> None:
        host = self.start_host(gpus=2)
        self.stop_nova_compute()
        before = self.own_providers(host)
        self.delete_compute_service()
        self.assertEqual({}, self.providers())
        self.assert_no_valid_host()
        self.map_host_again()
        self.start_nova_compute()
        host.wait_until_offered(2, 2)
        gpu_host.eventually(lambda: self.own_providers(host) == before)
        self.boot()
        self.run_periodics()

    def test_nova_s_update_survives_a_gate_that_flaps(self) -> None:
        host = self.start_host(gpus=2)
        server = self.boot()
        held = self.hold_of(server)
        for _ in range(10):
            host.destroy_one(0, start=1)
            self.expire_nova_caches()
            self.run_periodics()
            host.make_instances(0)
            self.run_periodics()
        self.assertEqual(held, self.hold_of(server))
        gpu_host.eventually(
            lambda: host.is_open() and host.offered().total() == 3
        )
