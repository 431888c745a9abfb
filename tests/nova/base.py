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
# mypy: disable-error-code="import-not-found,misc,no-any-return"
"""A real Nova over its fake libvirt, and hosts with GPUs and our agent.

Nova's API, conductor, scheduler and computes run in this process, from
Nova's own functional base classes. Placement is the real one, over TCP,
and each agent a process of its own.
"""

import collections
import pathlib
from collections.abc import Mapping
from typing import Any

# First: Nova patches the process when its tests are imported.
from nova.tests.functional.libvirt import base  # isort: skip
import fixtures

from mig_placement.demo import placement_server
from mig_placement.placement import names
from tests.functional import cloud as clouds
from tests.functional import placement_app
from tests.nova import gpu_host

HOST = "gpu1.example.org"
OTHER = "gpu2.example.org"
# What a generated flavor has.
GPU_KEYS = {
    f"resources_MIG:{gpu_host.CLASS}": "1",
    f"trait:{names.NODE_READY}": "required",
}

# Of the whole run, for the closing lines.
COUNTS: collections.Counter[str] = collections.Counter()

Server = dict[str, Any]

_placement: list[placement_app.TcpServer] = []
_processes: list[placement_server.PlacementProcess] = []


def start_placement() -> None:
    """Start the Placement of all tests of this process."""
    process = placement_server.PlacementProcess()
    process.__enter__()
    _processes.append(process)
    _placement.append(placement_app.TcpServer(process))


def stop_placement() -> None:
    _placement.clear()
    while _processes:
        _processes.pop().close()


class RealNovaTest(base.ServersTestBase):
    """One test's cloud; hosts come with ``start_host``."""

    ADMIN_API = True
    microversion = "latest"

    def setUp(self) -> None:
        super().setUp()
        self.tcp = _placement[0].clean()
        self.placement_fixture.endpoint = self.tcp.url
        self.hosts: dict[str, gpu_host.GpuHost] = {}
        self._gpu_flavor = ""
        self._plain_flavor = ""

    # The hosts.

    def make_host(
        self, name: str = HOST, *, gpus: int = 1, per_gpu: int = 2, **gate: str
    ) -> gpu_host.GpuHost:
        """A host whose GPUs are as declared; nothing runs on it yet.

        :param gate: options of [gate].
        """
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        host = gpu_host.GpuHost(folder, self.tcp, name, per_gpu=per_gpu)
        host.configure("gate", **gate)
        host.create_gpus(gpus, instances=per_gpu)
        self.addCleanup(host.stop_agents)
        self.hosts[name] = host
        return host

    def start_host(
        self, name: str = HOST, *, gpus: int = 1, per_gpu: int = 2, **gate: str
    ) -> gpu_host.GpuHost:
        """A host with nova-compute and the agent, its gate open."""
        host = self.make_host(name, gpus=gpus, per_gpu=per_gpu, **gate)
        self.start_nova_compute(name)
        host.start_agent()
        host.wait_until_offered(*[per_gpu] * gpus)
        return host

    def start_nova_compute(self, name: str = HOST) -> None:
        """As its first start, or after the deletion of its service."""
        self.start_compute(hostname=name)

    def run_periodics(self) -> None:
        """Nova's update of all computes; fails where Nova logs an error."""
        before = len(self.stdlog.logger.output)
        self._run_periodics()
        said = self.stdlog.logger.output[before:]
        self.assertNotIn("ERROR", said)
        self.assertNotIn("Traceback", said)

    def expire_nova_caches(self) -> None:
        """As time does: at its next update Nova reads everything anew."""
        for compute in self.computes.values():
            compute.manager.reportclient._association_refresh_time.clear()

    # The VMs.

    def _flavor(self, keys: Mapping[str, str]) -> str:
        return self._create_flavor(
            vcpu=1, memory_mb=128, disk=0, ephemeral=0, extra_spec=dict(keys)
        )

    @property
    def gpu_flavor(self) -> str:
        self._gpu_flavor = self._gpu_flavor or self._flavor(GPU_KEYS)
        return self._gpu_flavor

    @property
    def plain_flavor(self) -> str:
        self._plain_flavor = self._plain_flavor or self._flavor({})
        return self._plain_flavor

    def boot(self) -> Server:
        """Boot a VM with a slice, and see that the slice is there."""
        return self._booted(self.gpu_flavor)

    def boot_plain(self) -> Server:
        """Boot a VM without a GPU."""
        return self._booted(self.plain_flavor)

    def _booted(self, flavor: str) -> Server:
        server = self._create_server(flavor_id=flavor, networks="none")
        COUNTS["boots"] += 1
        COUNTS["missing"] += self.missing_slices()
        self.assertEqual(0, self.missing_slices())
        return server

    def missing_slices(self) -> int:
        return sum(host.missing_slices() for host in self.hosts.values())

    def assert_no_valid_host(self) -> None:
        """A VM with a slice finds no host, and leaves nothing behind."""
        server = self._create_server(
            flavor_id=self.gpu_flavor, networks="none", expected_state="ERROR"
        )
        self.assertIn("No valid host", server["fault"]["message"])
        COUNTS["refused"] += 1
        self._delete_server(server)

    def allocations(self, server: Server) -> dict[str, dict[str, int]]:
        """What a VM holds: resources by the name of the provider."""
        found = self._get_allocations_by_server_uuid(server["id"])
        by_uuid = {
            provider.uuid: name for name, provider in self.providers().items()
        }
        return {
            by_uuid[uuid]: held["resources"] for uuid, held in found.items()
        }

    def slice_of(self, server: Server) -> str:
        """The GPU provider that a VM's one slice is on."""
        (name,) = [
            name
            for name, held in self.allocations(server).items()
            if held.get(gpu_host.CLASS) == 1
        ]
        return name

    def providers(self) -> dict[str, clouds.Provider]:
        return self.tcp.cloud.providers()
