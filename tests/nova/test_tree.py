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
"""Nova's provider tree, with ours in it."""

from tests.nova import base
from tests.nova import gpu_host


class TreeTest(base.RealNovaTest):
    flaps = 10

    def test_the_agent_rebuilds_what_the_service_s_deletion_took(self) -> None:
        host = self.start_host(gpus=2)
        self.stop_nova_compute()
        before = self.own_providers(host)
        # Nova deletes a tree provider by provider, and leaves the root where
        # one of ours has come back meanwhile.
        with host.paused_agents():
            self.delete_compute_service()
        gpu_host.eventually(lambda: not self.providers())
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
        for _ in range(self.flaps):
            host.destroy_one(0, start=1)
            self.expire_nova_caches()
            self.run_periodics()
            host.make_instances(0)
            self.run_periodics()
        self.assertEqual(held, self.hold_of(server))
        gpu_host.settles(lambda: host.look().free == 3)
