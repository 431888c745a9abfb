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
"""The flavors command, at a real Nova and a real Placement."""

import json
import os
import pathlib
import shutil
import subprocess
import unittest
from typing import Any

from mig_placement.placement import names
from tests.functional import faults
from tests.functional import faulty_server
from tests.nova import base
from tests.nova import nova_server
from tests.nova import view

NAME = "mig.1g.5gb"
SMALL = ("--vcpus", "1", "--ram", "128", "--disk", "0")


class FlavorsTest(base.RealNovaTest):
    def setUp(self) -> None:
        super().setUp()
        self.nova = self.serve_nova()
        self.host = self.make_host()
        self.host.configure("nova", **self.nova.options())

    def flavors(
        self, *arguments: str, status: int = 0
    ) -> list[dict[str, str]]:
        """The rows that the command gives."""
        done = self.host.tool("flavors", *arguments, "-f", "json")
        self.assertEqual(status, done.returncode, done.stderr)
        rows: list[dict[str, str]] = json.loads(done.stdout)
        return rows

    def known(self) -> dict[str, Any]:
        """Nova's flavors by name."""
        found = self.api.api_get("/flavors/detail?is_public=None").body
        return {each["name"]: each for each in found["flavors"]}

    def start(self) -> None:
        self.start_nova_compute()
        self.host.start_agent()
        self.host.wait_until_offered(2)

    def make(self, name: str, **keys: str) -> None:
        """A flavor of an operator's own; ``__`` is a colon."""
        specs = {key.replace("__", ":"): keys[key] for key in keys}
        self._create_flavor(
            name=name, vcpu=1, memory_mb=128, disk=0, extra_spec=specs
        )

    def test_what_it_makes_boots_a_vm_with_a_slice(self) -> None:
        (row,) = self.flavors("--create", *SMALL)
        self.assertEqual((NAME, "created"), (row["Flavor"], row["Done"]))
        made = self.known()[NAME]
        self.assertEqual(base.GPU_KEYS, made["extra_specs"])
        self.start()
        server = self._create_server(flavor_id=made["id"], networks="none")
        self.assertEqual(self.host.gpu_name(0), self.slice_of(server))
        self.host.destroy_one(0, start=1)
        self.host.wait_until_closed()
        refused = self._create_server(
            flavor_id=made["id"], networks="none", expected_state="ERROR"
        )
        self.assertIn("No valid host", refused["fault"]["message"])

    def test_a_second_run_changes_nothing(self) -> None:
        self.flavors("--create", *SMALL)
        before = self.known()
        (row,) = self.flavors("--create", *SMALL)
        self.assertEqual(("nothing", ""), (row["Done"], row["Remarks"]))
        self.assertEqual(before, self.known())

    def test_traits_exist_before_a_flavor_does(self) -> None:
        self.host.configure("nova", **self.nova.options(nova_server.SERVICE))
        done = self.host.tool("flavors", "--create")
        self.assertEqual(5, done.returncode)
        self.assertIn("admin role", done.stderr)
        self.assertNotIn(NAME, self.known())
        self.assertEqual(204, self.trait_status(names.NODE_READY))

    def trait_status(self, name: str) -> int:
        answer = self.tcp.adapter.get(f"/traits/{name}", raise_exc=False)
        return int(answer.status_code)

    def test_a_flavor_of_that_name_gets_its_keys_and_nothing_else(
        self,
    ) -> None:
        self.make(
            NAME,
            **{
                "trait:CUSTOM_MIG_NODE_READY": "forbidden",
                "hw:cpu_policy": "dedicated",
            },
        )
        before = self.known()[NAME]
        (row,) = self.flavors("--create", "--vcpus", "8", status=3)
        self.assertIn("vcpus is 1, not 8", row["Remarks"])
        after = self.known()[NAME]
        self.assertEqual(
            {**base.GPU_KEYS, "hw:cpu_policy": "dedicated"},
            after["extra_specs"],
        )
        for key in ("id", "vcpus", "ram", "disk"):
            self.assertEqual(before[key], after[key])

    def test_a_private_flavor_is_found_again(self) -> None:
        private = ("--create", "--private", *SMALL)
        self.flavors(*private)
        made = self.known()[NAME]
        self.assertFalse(made["os-flavor-access:is_public"])
        (row,) = self.flavors(*private)
        self.assertEqual("nothing", row["Done"])

    def test_each_profile_that_is_declared_gets_a_flavor(self) -> None:
        self.host.layout.write_text(
            self.host.layout.read_text().replace(
                '{"1g.5gb": 2}', '{"1c.3g.20gb": 2, "1g.5gb": 1}'
            )
        )
        rows = self.flavors("--create")
        self.assertEqual(
            ["mig.1c.3g.20gb", NAME], [row["Flavor"] for row in rows]
        )

    def test_the_check_passes_what_create_made(self) -> None:
        self.flavors("--create")
        self.start()
        self.assertEqual([], self.flavors("--check"))

    def test_the_check_finds_what_goes_wrong_and_nothing_else(self) -> None:
        key = {f"resources_MIG:{view.CLASS}": "1"}
        ready = {"trait:CUSTOM_MIG_NODE_READY": "required"}
        self.start()
        self.make("plain")
        self.make("right", **key, **ready)
        self.make("bypass", **key)
        self.make("nowhere", **{"resources_MIG:CUSTOM_MIG_9G": "1"}, **ready)
        rows = self.flavors("--check", status=3)
        found = {row["Flavor"]: row["Problem"] for row in rows}
        self.assertEqual({"bypass", "nowhere"}, set(found))
        self.assertIn("no node has", found["nowhere"])
        # Both are so: the one lands on a closed host, the other nowhere.
        self.host.destroy_one(0)
        self.host.wait_until_closed()
        rows = self.flavors("--check", status=3)
        self.assertEqual(2, len(rows))

    def test_a_cloud_of_clouds_yaml_will_do(self) -> None:
        folder = pathlib.Path(self.host.folder)
        clouds = {
            "here": {
                "auth_type": "admin_token",
                "auth": {"endpoint": "http://unused", "token": "admin"},
                "compute_endpoint_override": f"{self.nova.url}/v2.1",
                "placement_endpoint_override": self.tcp.url,
            }
        }
        (folder / "clouds.yaml").write_text(json.dumps({"clouds": clouds}))
        self.host.environment.update(
            OS_CLOUD="here",
            OS_CLIENT_CONFIG_FILE=str(folder / "clouds.yaml"),
        )
        del self.host.sections["nova"], self.host.sections["placement"]
        self.host.write_config()
        (row,) = self.flavors("--create", *SMALL)
        self.assertEqual("created", row["Done"])
        self.start_nova_compute()
        (row,) = self.flavors("--check", status=3)
        self.assertIn("no node has", row["Problem"])

    def test_what_it_prints_makes_the_same(self) -> None:
        printed = self.host.tool("flavors", *SMALL).stdout
        self.as_operator("sh", "-e", lines=printed).check_returncode()
        made = self.known()[NAME]
        self.assertEqual(base.GPU_KEYS, made["extra_specs"])
        self.assertEqual(204, self.trait_status(names.NODE_READY))
        (row,) = self.flavors("--create", *SMALL)
        self.assertEqual(("nothing", ""), (row["Done"], row["Remarks"]))

    def test_the_client_has_the_check_as_well(self) -> None:
        self.start()
        self.make("bypass", **{f"resources_MIG:{view.CLASS}": "1"})
        command = ("openstack", "mig", "flavors", "--check", "-f", "json")
        done = self.as_operator(*command)
        self.assertEqual(3, done.returncode, done.stderr)
        (row,) = json.loads(done.stdout)
        self.assertEqual("bypass", row["Flavor"])

    def as_operator(
        self, *command: str, lines: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, with OpenStack's real client in the path."""
        client = os.environ.get("OPENSTACK_CLIENT") or shutil.which(
            "openstack"
        )
        if not client:
            raise unittest.SkipTest("python-openstackclient is not installed")
        path = f"{pathlib.Path(client).parent}:{os.environ['PATH']}"
        return subprocess.run(
            command,
            input=lines,
            env={"PATH": path, **self.credentials()},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def credentials(self) -> dict[str, str]:
        """An administrator's, as OpenStack's client takes them."""
        # Which looks at Keystone's version even if it asks it for nothing.
        identity = faulty_server.FaultProxy()
        self.addCleanup(identity.close)
        identity.accept()
        link = {"rel": "self", "href": f"{identity.url}/v3/"}
        version = {"id": "v3.14", "status": "stable", "links": [link]}
        identity.add(faults.json_answer({"version": version}))
        return {
            "OS_IDENTITY_ENDPOINT_OVERRIDE": f"{identity.url}/v3",
            "OS_AUTH_TYPE": "admin_token",
            # osc-placement knows no override.
            "OS_ENDPOINT": self.tcp.url,
            "OS_TOKEN": "admin",
            "OS_COMPUTE_ENDPOINT_OVERRIDE": f"{self.nova.url}/v2.1",
        }
