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

"""Fixtures: real services, each test's own view of them, none mocked."""

import pathlib
from collections.abc import Iterator

import pytest

from mig_placement import simulator
from tests.functional import gpu_node
from tests.functional import keystone_server
from tests.functional import placement_app


@pytest.fixture(scope="session")
def placement_application() -> Iterator[placement_app.PlacementApp]:
    """Placement's application in this process, for the whole run."""
    app = placement_app.PlacementApp()
    yield app
    app.close()


@pytest.fixture
def placement(
    placement_application: placement_app.PlacementApp,
) -> placement_app.InProcessPlacement:
    """A clean Placement in this process."""
    return placement_app.in_process(placement_application)


@pytest.fixture(scope="session")
def placement_server() -> Iterator[placement_app.TcpServer]:
    """Placement in a process of its own, for the whole run."""
    yield from placement_app.running_server()


@pytest.fixture
def placement_tcp(
    placement_server: placement_app.TcpServer,
) -> placement_app.TcpPlacement:
    """A clean Placement over TCP, running."""
    return placement_server.clean()


@pytest.fixture(scope="session")
def secured() -> Iterator[keystone_server.SecuredPlacement]:
    """A Placement with a real Keystone, both for the whole run."""
    if not keystone_server.is_installed():
        pytest.skip("keystone is not installed (test-requirements.txt)")
    yield from keystone_server.running_pair()


@pytest.fixture
def own_node(
    tmp_path: pathlib.Path, placement: placement_app.InProcessPlacement
) -> Iterator[gpu_node.GpuNode]:
    """A node for agents in this process, which NVML is simulated in."""
    made = gpu_node.GpuNode(tmp_path, {}, placement.cloud)
    made.create_root()
    made.create_gpus()
    yield made
    simulator.uninstall()


@pytest.fixture
def node(
    tmp_path: pathlib.Path, placement_tcp: placement_app.TcpPlacement
) -> Iterator[gpu_node.GpuNode]:
    """A node with one GPU as declared, known to Placement; no agent."""
    made = gpu_node.GpuNode(
        tmp_path, placement_tcp.options(), placement_tcp.cloud
    )
    made.create_gpus()
    made.create_root()
    yield made
    made.stop_agents()
