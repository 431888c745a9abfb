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

# mypy: disable-error-code="misc"
"""The host gate, at a real Nova."""

import json
from typing import Any

from mig_placement.placement import names
from tests.nova import base
from tests.nova import gpu_host
from tests.nova import nova_server

# nova.conf's host; the hypervisor has the name of the root provider.
SERVICE_HOST = "compute-41"


class HostGateTest(base.RealNovaTest):
    """One host, whose service is called another name than its hypervisor."""

    def setUp(self) -> None:
        super().setUp()
        self.nova = self.serve_nova()
        self.host = self.make_host()
        self.host.configure("agent", host=SERVICE_HOST)
        self.host.configure("gate", compute_service="true")
        self.host.configure("nova", **self.nova.options())
        self.start_nova_compute_on(SERVICE_HOST, base.HOST)

    def service(self) -> dict[str, Any]:
        (found,) = self.api.get_services(
            host=SERVICE_HOST, binary="nova-compute"
        )
        return found

    def put(self, **changes: Any) -> None:
        """As an operator does with ``openstack compute service set``."""
        url = f"/os-services/{self.service()['id']}"
        self.api.api_put(url, changes)

    def wait_until_disabled(self, reason: str) -> None:
        gpu_host.eventually(
            lambda: (self.service()["disabled_reason"] or "").startswith(
                reason
            )
        )
        self.assertEqual("disabled", self.service()["status"])

    def wait_until_enabled(self) -> None:
        gpu_host.eventually(lambda: self.service()["status"] == "enabled")

    def agent_says(self, line: str) -> None:
        gpu_host.eventually(
            lambda: self.host.status()["compute_service"].startswith(line)
        )

    def start_open(self) -> None:
        self.host.start_agent()
        self.host.wait_until_offered(2)
        self.agent_says("enabled")

    def start_closed(self) -> None:
        self.host.destroy_one(0)
        self.host.start_agent()
        self.host.wait_until_closed()
        self.wait_until_disabled("mig-placement: INSTANCE_MISSING")

    def open(self, units: int = 2) -> None:
        """Mend the geometry, and wait until so many units are free."""
        self.host.make_instances(0)
        self.host.wait_until_offered(units)

    def test_the_names_of_service_and_hypervisor_differ(self) -> None:
        (found,) = self.api.api_get("/os-hypervisors/detail").body[
            "hypervisors"
        ]
        self.assertEqual(base.HOST, found["hypervisor_hostname"])
        self.assertEqual(SERVICE_HOST, found["service"]["host"])

    def test_closing_disables_and_opening_enables(self) -> None:
        self.start_open()
        self.boot()
        self.host.destroy_one(0, start=1)
        self.host.wait_until_closed()
        self.wait_until_disabled("mig-placement: INSTANCE_MISSING: GPU 0")
        self.agent_says("disabled by us")
        self.assertFalse(self.service()["forced_down"])
        self.assert_no_plain_host()
        self.open(units=1)
        self.wait_until_enabled()
        self.assertIsNone(self.service()["disabled_reason"])
        self.agent_says("enabled")
        self.boot()
        self.boot_plain()

    def assert_no_plain_host(self) -> None:
        server = self._create_server(
            flavor_id=self.plain_flavor,
            networks="none",
            expected_state="ERROR",
        )
        self.assertIn("No valid host", server["fault"]["message"])
        self._delete_server(server)

    def test_a_new_reason_is_shown(self) -> None:
        self.start_closed()
        self.assertEqual(0, self.host.tool("hold", "fans").returncode)
        self.wait_until_disabled("mig-placement: HOLD: fans")

    def test_an_operator_s_disable_of_an_open_host_stays(self) -> None:
        self.start_open()
        self.put(status="disabled", disabled_reason="broken fan")
        self.agent_says("disabled by an operator (broken fan)")
        self.host.destroy_one(0)
        self.host.wait_until_closed()
        self.wait_for_looks()
        self.open()
        self.wait_for_looks()
        self.assertEqual("broken fan", self.service()["disabled_reason"])

    def test_an_operator_s_disable_of_a_closed_host_stays(self) -> None:
        self.start_closed()
        self.put(status="disabled", disabled_reason="broken fan")
        self.open()
        self.agent_says("disabled by an operator (broken fan)")
        self.wait_for_looks()
        self.assertEqual("broken fan", self.service()["disabled_reason"])
        self.assertEqual("disabled", self.service()["status"])

    def test_an_operator_s_disable_without_a_reason_stays(self) -> None:
        self.start_closed()
        self.put(status="disabled")
        self.open()
        self.agent_says("disabled by an operator (no reason given)")
        self.wait_for_looks()
        self.assertEqual("disabled", self.service()["status"])

    def test_nova_s_own_disable_stays(self) -> None:
        self.start_closed()
        self.put(status="disabled", disabled_reason="AUTO: libvirt is gone")
        self.open()
        self.agent_says("disabled by Nova")
        self.wait_for_looks()
        self.assertEqual("disabled", self.service()["status"])

    def test_a_fence_is_left_as_it_is(self) -> None:
        self.start_open()
        self.put(forced_down=True)
        self.host.destroy_one(0)
        self.wait_until_disabled("mig-placement: ")
        self.assertTrue(self.service()["forced_down"])
        self.open()
        self.wait_until_enabled()
        self.assertTrue(self.service()["forced_down"])

    def test_what_an_operator_enabled_too_early_is_disabled(self) -> None:
        self.start_closed()
        self.put(status="enabled")
        self.wait_until_disabled("mig-placement: INSTANCE_MISSING")

    def test_a_restart_of_the_agent_and_nova_knows_its_own(self) -> None:
        self.start_closed()
        self.host.kill_agents()
        self.host.make_instances(0)
        self.host.start_agent()
        self.host.wait_until_offered(2)
        self.wait_until_enabled()
        self.boot()

    def test_the_service_role_does_not_suffice_and_that_is_said(self) -> None:
        self.host.configure("nova", **self.nova.options(nova_server.SERVICE))
        self.host.start_agent()
        self.host.wait_until_offered(2)
        self.agent_says("Nova /os-services: the user's role may not do this")
        self.host.destroy_one(0)
        self.host.wait_until_closed()
        self.assertEqual("enabled", self.service()["status"])
        done = self.host.tool("status", "-f", "json")
        self.assertIn("admin role", json.loads(done.stdout)["compute_service"])

    def test_a_host_that_nova_does_not_know_is_said(self) -> None:
        self.host.configure("agent", host=base.HOST)
        self.host.start_agent()
        self.host.wait_until_offered(2)
        self.agent_says("[agent] host: Nova has 0 nova-compute services")
        self.assertIn(names.NODE_READY, self.providers()[base.HOST].traits)
        self.assertEqual("enabled", self.service()["status"])

    def wait_for_looks(self) -> None:
        """Until the agent has read the service twice more."""
        asked = self.nova.count
        gpu_host.eventually(lambda: self.nova.count >= asked + 2)
