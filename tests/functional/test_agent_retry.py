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
"""How soon an agent comes back to a Placement that is away."""

import collections.abc
import pathlib

import pytest

from mig_placement import agent
from mig_placement import conf
from mig_placement import cycle
from mig_placement import simulator
from mig_placement.demo import server_process
from mig_placement.geometry import functions
from mig_placement.placement import client
from mig_placement.placement import sync
from mig_placement.service import wake
from tests.functional import gpu_node
from tests.functional import placement_app

# By then the pause has grown to the interval.
_FAILURES = 9
_INTERVAL = 60.0


@pytest.fixture
def cut_off(
    tmp_path: pathlib.Path, placement: placement_app.InProcessPlacement
) -> collections.abc.Iterator[gpu_node.GpuNode]:
    """A node whose Placement does not listen."""
    port = server_process.ReservedPort()
    url = f"http://127.0.0.1:{port.number}"
    options = {"auth_type": "admin_token", "endpoint": url, "token": "admin"}
    node = gpu_node.GpuNode(tmp_path, options, placement.cloud)
    node.sections["agent"]["interval"] = str(_INTERVAL)
    node.write_config()
    yield node
    port.release()
    simulator.uninstall()


def _pauses(
    node: gpu_node.GpuNode, synchronizer: sync.Synchronizer | None = None
) -> list[float]:
    """Of an agent that cannot tell what it sees, or do what it must."""
    options = conf.parse([f"--config-file={node.config}"])
    settings = conf.settings(options)
    running = agent.Agent(
        settings,
        synchronizer
        or cycle.synchronizer(
            options, settings.root_name, functions.Attach.NONE
        ),
        wake.Waker(),
    )
    found = []
    for _ in range(_FAILURES):
        running.tick()
        found.append(running._delay)
    running.let_go()
    return found


def test_who_has_something_to_close_comes_back_within_ten_seconds(
    cut_off: gpu_node.GpuNode,
) -> None:
    cut_off.create_gpus(instances=6)
    assert max(_pauses(cut_off)) <= 10


def test_who_has_nothing_to_close_comes_less_and_less_often(
    cut_off: gpu_node.GpuNode,
) -> None:
    cut_off.create_gpus(instances=7)
    assert 30 <= _pauses(cut_off)[-1] <= _INTERVAL


def test_who_is_told_and_cannot_restore_comes_less_and_less_often(
    cut_off: gpu_node.GpuNode, placement: placement_app.InProcessPlacement
) -> None:
    """Somebody opens the gate whenever it is about to be read back."""
    cut_off.sections["layout"]["apply"] = "native"
    cut_off.write_config()
    cut_off.create_gpus(instances=6)
    cut_off.create_root()
    synchronizer = sync.Synchronizer(
        client.Client(placement.adapter), gpu_node.ROOT_NAME
    )

    def open_it() -> None:
        if synchronizer.tree is not None:
            uuid = cut_off.provider().uuid
            inventory = {"total": 6, "max_unit": 6}
            cut_off.cloud.set_inventories(uuid, {gpu_node.CLASS: inventory})

    placement.recorder.before(
        "GET", "^/resource_providers$", open_it, times=1_000
    )
    pauses = _pauses(cut_off, synchronizer)
    assert pauses[0] <= 1
    assert 5 <= pauses[-1] <= 10
    assert cut_off.gpus.mutations == 0
