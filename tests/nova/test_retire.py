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
"""Providers that leave while Nova has them cached."""

from typing import Any

from mig_placement import exception
from tests.nova import base
from tests.nova import gpu_host


class RetireTest(base.RealNovaTest):
    def test_builds_go_on_while_a_host_is_retired_and_after(self) -> None:
        host = self._cached(gpus=2)
        self.assertEqual(exception.EXIT_MISMATCH, self._retire(host))
        self.assertEqual([None, None], self._parents(host))
        self.assert_no_valid_host()
        # Nova has cached what is not in its tree any more.
        self.boot_plain()
        self.run_periodics()
        self.boot_plain()
        self.expire_nova_caches()
        self.run_periodics()
        # The margin that is added takes longer than Nova's cache lasts.
        host.configure("agent", nova_refresh="0.001")
        self.assertEqual(exception.EXIT_OK, self._retire(host, "--wait"))
        self.assertEqual([], self._parents(host))
        self.boot_plain()
        self.run_periodics()
        self.boot_plain()

    def test_a_provider_that_is_put_back_serves_vms_again(self) -> None:
        host = self._cached(gpus=1)
        before = self.own_providers(host)
        self.assertEqual(exception.EXIT_MISMATCH, self._retire(host))
        self.run_periodics()
        host.start_agent_until_ready()
        host.wait_until_offered(2)
        self.assertEqual(before, self.own_providers(host))
        self.boot()
        self.run_periodics()
        self.expire_nova_caches()
        self.boot()

    def _cached(self, gpus: int) -> gpu_host.GpuHost:
        """A host whose agent has stopped; Nova has its GPUs cached."""
        host = self.start_host(gpus=gpus)
        self._delete_server(self.boot())
        self.expire_nova_caches()
        self.run_periodics()
        for name in self.own_providers(host):
            self.assertTrue(self._tree().exists(name), "not in the cache")
        host.kill_agents()
        return host

    def _tree(self) -> Any:
        """Nova's cache of its tree."""
        (compute,) = self.computes.values()
        return compute.manager.reportclient._provider_tree

    def _parents(self, host: gpu_host.GpuHost) -> list[str | None]:
        return [each.parent for each in self.own_providers(host).values()]

    def _retire(self, host: gpu_host.GpuHost, *arguments: str) -> int:
        return host.tool("retire", *arguments).returncode
