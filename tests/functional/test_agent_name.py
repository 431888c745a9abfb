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
"""An agent whose resolver did not know the host's whole name at first."""

import socket

import pytest

from mig_placement import agent
from mig_placement import conf
from mig_placement.placement import client
from mig_placement.placement import sync
from mig_placement.service import wake
from tests.functional import gpu_node
from tests.functional import placement_app


class Named:
    """An agent, and what the resolver and systemd see of it."""

    def __init__(
        self,
        own_node: gpu_node.GpuNode,
        placement: placement_app.InProcessPlacement,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self._node = own_node
        self._placement = placement
        self._monkeypatch = monkeypatch
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = str(own_node.folder / "notify")
        self._receiver.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)

    def resolve(self, name: str) -> None:
        """What the resolver gives for this host from now on."""
        self._monkeypatch.setattr("socket.getfqdn", lambda: name)

    def agent(self) -> agent.Agent:
        options = conf.parse([f"--config-file={self._node.config}"])
        settings = conf.settings(options)
        adapter = client.Client(self._placement.adapter)
        synchronizer = sync.Synchronizer(adapter, settings.root_name)
        return agent.Agent(settings, synchronizer, wake.Waker())

    def is_ready(self) -> bool:
        """Whether systemd was told that nova-compute may start."""
        return "READY=1" in gpu_node.notifications(self._receiver)


@pytest.fixture
def named(
    own_node: gpu_node.GpuNode,
    placement: placement_app.InProcessPlacement,
    monkeypatch: pytest.MonkeyPatch,
) -> Named:
    return Named(own_node, placement, monkeypatch)


def test_it_starts_anew_by_the_name_that_the_resolver_has_later(
    own_node: gpu_node.GpuNode, named: Named
) -> None:
    del own_node.sections["agent"]["hypervisor_hostname"]
    own_node.write_config()
    named.resolve("node1")
    running = named.agent()
    running.tick()
    assert not named.is_ready()
    named.resolve(gpu_node.ROOT_NAME)
    # Not for a signal: that is what it comes back for.
    assert running.run()
    again = named.agent()
    again.tick()
    again.let_go()
    assert own_node.candidates() == 1
    assert named.is_ready()


@pytest.mark.parametrize("name", ["node2", "node2.example.org"])
def test_a_name_that_was_given_is_waited_for(
    own_node: gpu_node.GpuNode, named: Named, name: str
) -> None:
    own_node.sections["agent"]["hypervisor_hostname"] = name
    own_node.write_config()
    named.resolve(gpu_node.ROOT_NAME)
    running = named.agent()
    running.tick()
    running.let_go()
    assert not running._is_renamed()
    # nova-compute is to make it.
    assert named.is_ready()
