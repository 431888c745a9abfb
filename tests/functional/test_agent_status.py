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
"""What keeps the status from being written never keeps the gate up."""

import json
import shutil
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from mig_placement import agent as agents
from mig_placement import conf
from mig_placement import cycle
from mig_placement import simulator
from mig_placement.geometry import functions
from mig_placement.service import wake
from tests.functional import gpu_node

Node = gpu_node.GpuNode

# Python lets 1000 calls nest. A file of so many lists is read, by C; to be
# written it needs as many calls again, of which these are taken before.
_NESTED = 800
_TAKEN = 250


@pytest.fixture(autouse=True)
def _own_library() -> Iterator[None]:
    yield
    simulator.uninstall()


def _agent(node: Node) -> agents.Agent:
    """In this process, where each tick is the test's."""
    options = conf.parse([f"--config-file={node.config}"])
    settings = conf.settings(options)
    synchronizer = cycle.synchronizer(
        options, settings.root_name, functions.Attach.NONE
    )
    return agents.Agent(settings, synchronizer, wake.Waker())


def _deep(calls: int, act: Callable[[], None]) -> None:
    if calls:
        _deep(calls - 1, act)
    else:
        act()


def _reserved(node: Node) -> int:
    reserved: int = node.provider().inventories[gpu_node.CLASS]["reserved"]
    return reserved


def test_a_directory_that_became_a_file_does_not_keep_the_gate_open(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    agent = _agent(node)
    agent.tick()
    assert _reserved(node) == 0
    shutil.rmtree(node.run_dir)
    node.run_dir.touch()
    node.gpus.destroy_instance(0, (3, 1))
    agent.tick()
    agent.let_go()
    assert _reserved(node) == 6
    assert "shows an older cycle, the gate and VMs are" in caplog.text
    assert "unexpected" not in caplog.text


def test_a_status_that_cannot_be_told_does_not_end_the_agent(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    # An agent goes on counting from what the one before it left.
    since = "[" * _NESTED + "]" * _NESTED
    left = json.dumps({"gate": {"state": "open"}, "placement": {}})
    node.run_dir.mkdir()
    (node.run_dir / "status.json").write_text(
        left.replace('"open"', f'"open", "since": {since}')
    )
    agent = _agent(node)
    _deep(_TAKEN, agent.tick)
    assert "unexpected error (RecursionError(" in caplog.text
    assert _reserved(node) == 0
    node.gpus.destroy_instance(0, (3, 1))
    _deep(_TAKEN, agent.tick)
    agent.let_go()
    assert _reserved(node) == 6
    assert node.status()["gate"]["state"] == "closed"
