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
"""A real Nova over its fake libvirt, and hosts with GPUs and our agent.

Nova's API, conductor, scheduler and computes run in this process, from
Nova's own functional base classes. Placement is the real one, over TCP,
and each agent a process of its own.
"""

import collections
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from unittest import mock

# As nova-compute, the conductor and the scheduler of Nova 34 run.
os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "true")
# First: it sets the process up for that.
from nova.tests.functional.libvirt import base  # isort: skip
import fixtures
import sqlalchemy
from nova import context
from nova import objects
from nova.tests.functional.api import client
from oslo_utils.fixture import uuidsentinel
from sqlalchemy import pool

from mig_placement.demo import placement_server
from mig_placement.nova import flavors
from mig_placement.placement import names
from tests.functional import cloud as clouds
from tests.functional import placement_app
from tests.nova import cells
from tests.nova import devices
from tests.nova import gpu_host
from tests.nova import nova_conf
from tests.nova import nova_server
from tests.nova import tables

HOST = "gpu1.example.org"
OTHER = "gpu2.example.org"
# What a generated flavor has without anything to attach.
GPU_KEYS = flavors.extra_specs(gpu_host.PROFILE, "none", {})

# Of the whole run, for the closing lines.
COUNTS: collections.Counter[str] = collections.Counter()

Server = dict[str, Any]

_new_engine = sqlalchemy.create_engine


@functools.cache
def placement() -> placement_app.TcpServer:
    """The Placement of all tests of this process, which ends with it."""
    process = placement_server.PlacementProcess()
    return placement_app.TcpServer(process.__enter__())


@functools.cache
def _first_engine() -> sqlalchemy.Engine:
    engine = _new_engine("sqlite://", query_cache_size=5000)
    # The dialect learns at the first connection what this SQLite can do.
    engine.connect().close()
    return engine


def _create_engine(
    databases: list[pathlib.Path], *args: Any, **kwargs: Any
) -> sqlalchemy.Engine:
    """As SQLAlchemy's, knowing the statements of the engines before it.

    Each test has databases of its own, and a seventh of what a test costs
    went into compiling the same statements.

    :param databases: gets the file of each engine.
    """
    engine = _new_engine(*args, **kwargs)
    databases.append(pathlib.Path(engine.url.database or ""))
    engine.dialect = _first_engine().dialect
    engine._compiled_cache = _first_engine()._compiled_cache
    return engine


class RealNovaTest(base.ServersTestBase):
    """One test's cloud; hosts come with ``start_host``."""

    ADMIN_API = True
    # As Nova's guide to PCI passthrough has it; the others do not mind.
    ADDITIONAL_FILTERS = ("PciPassthroughFilter",)
    microversion = "latest"
    # Of all hosts: [nova] attach.
    attach = "none"

    def setUp(self) -> None:
        databases: list[pathlib.Path] = []
        # Its databases are files here, and opening one again for each
        # transaction is a sixth of what a test costs.
        self.useFixture(
            fixtures.MonkeyPatch(
                "oslo_db.sqlalchemy.engines.pool.NullPool", pool.QueuePool
            )
        )
        self.useFixture(
            fixtures.MonkeyPatch(
                "sqlalchemy.create_engine",
                functools.partial(_create_engine, databases),
            )
        )
        super().setUp()
        # Nova looks for sriov_totalvfs in the real sysfs.
        self.useFixture(
            fixtures.MonkeyPatch(
                "nova.pci.utils.is_physical_function",
                lambda *address: address[-2:] == ("00", "0"),
            )
        )
        self.cells = cells.Cells(
            databases,
            [each.database_connection for each in self.cell_mappings.values()],
        )
        self.tcp = self.tcp_server().clean()
        self.placement_fixture.endpoint = self.tcp.url
        self.hosts: dict[str, gpu_host.GpuHost] = {}
        self.hypervisors: dict[str, devices.Hypervisor] = {}
        # Of providers, by uuid: both stay what they are.
        self._names: dict[str, str] = {}
        self._gpu_flavor = ""
        self._plain_flavor = ""

    def tearDown(self) -> None:
        # Before Nova's services stop: its API would wait for ever for the
        # answer of a nova-compute that is gone.
        for host in self.hosts.values():
            host.stop_agents()
        super().tearDown()

    def tcp_server(self) -> placement_app.TcpServer:
        """Where its Placement comes from."""
        return placement()

    # The hosts.

    def make_host(
        self, name: str = HOST, *, gpus: int = 1, per_gpu: int = 2, **gate: str
    ) -> gpu_host.GpuHost:
        """A host whose GPUs are as declared; nothing runs on it yet.

        :param gate: options of [gate].
        """
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        host = gpu_host.GpuHost(
            folder, self.tcp, name, per_gpu=per_gpu, attach=self.attach
        )
        host.configure("gate", **gate)
        host.create_gpus(gpus, instances=per_gpu)
        hypervisor = devices.Hypervisor(
            name, host.cards, mdev=self.attach == "mdev"
        )
        host.held_vfs = hypervisor.held_vfs
        host.remove_mdev = hypervisor.remove_mdev
        self.addCleanup(host.stop_agents)
        self.hosts[name] = host
        self.hypervisors[name] = hypervisor
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

    def serve_nova(self) -> nova_server.NovaServer:
        """Nova's API over TCP, for processes."""
        return self.useFixture(
            nova_server.NovaServer(
                self.api_fixture.app(), self.api_fixture.project_id
            )
        )

    def start_nova_compute_on(self, name: str, hypervisor: str) -> None:
        """Start it on a host whose hypervisor has another name."""
        connection = self.hypervisors[hypervisor]
        uuid = str(getattr(uuidsentinel, f"node_{hypervisor}"))
        with (
            mock.patch.object(self.mock_conn, "return_value", connection),
            mock.patch(
                "nova.virt.node.get_local_node_uuid", return_value=uuid
            ),
        ):
            compute = self.start_service("compute", host=name)
            compute.driver._host.get_connection = lambda: connection
            compute.driver._host.get_node_uuid()
        self.computes[name] = compute
        self.compute_rp_uuids[name] = uuid

    def start_nova_compute(self, name: str = HOST) -> None:
        """Start it; VMs of one that was stopped before are still there."""
        host = self.hosts[name]
        nova_conf.apply(host.nova_conf, host.folder, self.flags)
        self.start_compute(hostname=name, connection=self.hypervisors[name])

    def stop_nova_compute(self, name: str = HOST) -> None:
        """Its hypervisor and VMs stay, as in Nova's own restart."""
        compute = self.computes.pop(name)
        self.compute_rp_uuids.pop(name)
        compute.stop()

    def delete_compute_service(self, name: str = HOST) -> None:
        """``openstack compute service delete``, nova-compute stopped."""
        (service,) = self.api.get_services(host=name, binary="nova-compute")
        self.api.api_delete(f"/os-services/{service['id']}")

    def map_host_again(self, name: str = HOST) -> None:
        """``nova-manage cell_v2 discover_hosts``, after the deletion."""
        cell = self.host_mappings[name].cell_mapping
        mapping = objects.HostMapping(
            context=context.get_admin_context(), host=name, cell_mapping=cell
        )
        mapping.create()
        self.host_mappings[name] = mapping

    def restart_nova_compute(self, name: str = HOST) -> None:
        self.stop_nova_compute(name)
        self.start_nova_compute(name)

    def reboot_node(self, name: str = HOST) -> None:
        """A crash: nothing is told to Placement, and nothing runs after."""
        host = self.hosts[name]
        host.kill_agents()
        self.stop_nova_compute(name)
        host.gpus.reboot()
        self.hypervisors[name].reboot()

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

    def _wait_for_server_parameter(
        self, server: Server, expected_params: Server, *_: Any, **__: Any
    ) -> Server:
        """As Nova's own, which looks twice a second."""

        def arrived() -> Server | None:
            now = self.admin_api.get_server(server["id"])
            same = all(now[key] == expected_params[key] for key in wanted)
            failed = now["status"] == "ERROR"
            if failed and wanted.get("status") != "ERROR":
                self.fail(f"wanted {wanted}, and it failed: {now}")
            # The state comes before the reason for it.
            return now if same and (not failed or "fault" in now) else None

        wanted = expected_params
        return self._once_at_rest(server, arrived)

    def _wait_until_deleted(self, server: Server) -> None:
        """As Nova's own, which looks twice a second."""

        def gone() -> bool:
            try:
                self.api.get_server(server["id"])
            except client.OpenStackApiNotFoundException:
                return True
            return False

        self._once_at_rest(server, gone)

    def _once_at_rest(
        self, server: Server, condition: Callable[[], object]
    ) -> Any:
        """As ``eventually``; Nova's API is not asked before it is worth it,
        since an answer takes Nova some of what it needs to get there."""

        def at_rest() -> bool:
            vm = self.cells.vm(server["id"])
            return vm is not None and vm.is_at_rest

        gpu_host.settles(at_rest)
        return gpu_host.eventually(condition)

    def _flavor(self, keys: Mapping[str, str]) -> str:
        return self._create_flavor(
            vcpu=1, memory_mb=128, disk=0, ephemeral=0, extra_spec=dict(keys)
        )

    @property
    def gpu_flavor(self) -> str:
        self._gpu_flavor = self._gpu_flavor or self._flavor(
            flavors.extra_specs(gpu_host.PROFILE, self.attach, {})
        )
        return self._gpu_flavor

    @property
    def plain_flavor(self) -> str:
        self._plain_flavor = self._plain_flavor or self._flavor({})
        return self._plain_flavor

    def boot(self) -> Server:
        """Boot a VM with a slice, and see that the slice is there."""
        server = self._booted(self.gpu_flavor)
        self.assert_right_device(server)
        return server

    def boot_plain(self) -> Server:
        """Boot a VM without a GPU."""
        return self._booted(self.plain_flavor)

    def _booted(self, flavor: str) -> Server:
        server = self._create_server(flavor_id=flavor, networks="none")
        missing = sum(
            host.missing_behind(provider)
            for provider in self.allocations(server)
            for host in self.hosts.values()
        )
        COUNTS["boots"] += 1
        COUNTS["missing"] += missing
        self.assertEqual(0, missing)
        return server

    def assert_right_device(self, server: Server) -> None:
        """The guest has a device of the GPU that Placement says."""
        found = self.devices_of(server)
        kind = {"none": [], "mdev": ["mdev"], "vfio": ["pci"]}[self.attach]
        self.assertEqual(kind, [device.kind for device in found])
        host = self.hosts[self.node_of(server)]
        for device in found:
            self.assertTrue(device.usable)
            # libvirt's rebinding to vfio-pci would break the VF.
            self.assertFalse(device.managed)
            self.assertEqual(self.slice_of(server), host.gpu_of(device.vf))

    def devices_of(self, server: Server) -> list[devices.GuestDevice]:
        """The host devices in the XML of a VM's guest."""
        hypervisor = self.hypervisors[self.node_of(server)]
        return hypervisor.devices_of(server["id"])

    def node_of(self, server: Server) -> str:
        """The hypervisor that a VM is on."""
        vm = self.cells.vm(server["id"])
        assert vm is not None, f"no cell knows {server['id']}"
        return vm.node

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
        if not found.keys() <= self._names.keys():
            self._names = tables.names(self.tcp.process.database)
        return {
            self._names[uuid]: held["resources"]
            for uuid, held in found.items()
        }

    def hold_of(self, server: Server) -> tuple[str, Any]:
        """What must not change for a running VM."""
        now = self.api.get_server(server["id"])
        return now["status"], self.allocations(server)

    def slice_of(self, server: Server) -> str:
        """Our provider of the GPU that a VM's one slice is on."""
        gpus: dict[str, str] = {}
        for host in self.hosts.values():
            gpus |= host.providers.gpus()
        held = self.allocations(server)
        (name,) = [name for name in held if name in gpus]
        self.assertEqual([1], list(held[name].values()))
        return gpus[name]

    def migrate(self, server: Server) -> Server:
        """Migrate a VM to a host of the scheduler's choice."""
        with mock.patch(
            "nova.virt.libvirt.driver.LibvirtDriver"
            ".migrate_disk_and_power_off",
            return_value="{}",
        ):
            return self._migrate_server(server)

    def own_providers(self, host: gpu_host.GpuHost) -> dict[str, Any]:
        """Our providers of a host, without what every write changes."""
        return {
            name: provider
            for name, provider in self.gpu_providers(host).items()
            if names.is_gpu_provider(name, host.name)
        }

    def gpu_providers(self, host: gpu_host.GpuHost) -> dict[str, Any]:
        """A host's, ours and Nova's, without what every write changes."""
        devices = host.providers.gpus()
        return {
            name: dataclasses.replace(provider, generation=0)
            for name, provider in self.providers().items()
            if name in devices or names.is_gpu_provider(name, host.name)
        }

    def providers(self) -> dict[str, clouds.Provider]:
        return self.tcp.cloud.providers()
