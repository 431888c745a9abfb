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
"""Restarts of nova-compute and of the agent."""

from tests.nova import base


class _Restarting(base.RealNovaTest):
    """Two GPUs and a VM, as they were before."""

    def setUp(self) -> None:
        super().setUp()
        self.host = self.start_host(gpus=2)
        self.server = self.boot()
        self.before = self.gpu_providers(self.host)
        self.held = self.hold_of(self.server)
        own = {self.host.gpu_name(gpu) for gpu in range(2)}
        self.assertLessEqual(own, self.before.keys())

    def assert_all_as_before(self) -> None:
        self.expire_nova_caches()
        for _ in range(2):
            self.run_periodics()
        self.assertEqual(self.before, self.gpu_providers(self.host))
        self.assertEqual(self.held, self.hold_of(self.server))
        self.assertTrue(self.host.look().is_open)
        self.boot()


class RestartTest(_Restarting):
    """Whoever is restarted, what is ours in Placement stays as it was."""

    def test_a_restart_of_nova_compute_changes_nothing(self) -> None:
        self.restart_nova_compute()
        self.assert_all_as_before()

    def test_a_restart_of_the_agent_changes_nothing(self) -> None:
        self.host.stop_agents()
        self.assert_all_as_before()
        self.before = self.gpu_providers(self.host)
        self.host.start_agent_until_ready()
        self.assert_all_as_before()

    def test_a_restart_of_both_changes_nothing(self) -> None:
        self.host.stop_agents()
        self.stop_nova_compute()
        self.host.start_agent()
        self.start_nova_compute()
        self.assert_all_as_before()


class CrashTest(_Restarting):
    """The random histories have crashes in every mode."""

    def test_a_crash_of_the_agent_changes_nothing(self) -> None:
        self.host.kill_agents()
        self.assert_all_as_before()
