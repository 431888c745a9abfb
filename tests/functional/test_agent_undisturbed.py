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
"""What the agent tells Placement is true until Placement has answered."""

import contextlib
import fcntl

from mig_placement import agent
from mig_placement import conf
from mig_placement import cycle
from mig_placement.geometry import verdict
from mig_placement.placement import client
from mig_placement.placement import sync
from mig_placement.service import files
from mig_placement.service import lock
from mig_placement.service import nvml
from mig_placement.service import wake
from tests.functional import gpu_node
from tests.functional import placement_app


def _may_begin(own_node: gpu_node.GpuNode) -> bool:
    """Whether another process could begin to change the geometry now."""
    with lock.apply_path(own_node.run_dir).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_nobody_begins_between_a_look_and_what_is_told_of_it(
    own_node: gpu_node.GpuNode, placement: placement_app.InProcessPlacement
) -> None:
    options = conf.parse([f"--config-file={own_node.config}"])
    settings = conf.settings(options)
    running = agent.Agent(
        settings,
        sync.Synchronizer(
            client.Client(placement.adapter), settings.root_name
        ),
        wake.Waker(),
    )
    might: list[bool] = []
    placement.recorder.before(
        "PUT", "/traits$", lambda: might.append(_may_begin(own_node)), times=10
    )
    running.tick()
    running.let_go()
    assert own_node.candidates() == 1
    assert might
    assert not any(might)
    assert _may_begin(own_node)


def test_a_look_does_not_wake_the_watcher(own_node: gpu_node.GpuNode) -> None:
    with lock.undisturbed(own_node.run_dir):
        seen = files.signature(lock.apply_path(own_node.run_dir))
    assert seen is not None
    with lock.undisturbed(own_node.run_dir):
        assert files.signature(lock.apply_path(own_node.run_dir)) == seen


def test_a_command_that_tells_has_the_agent_look_again(
    node: gpu_node.GpuNode,
) -> None:
    """The agent may have told already of what the command had not seen."""
    path = lock.apply_path(node.run_dir)
    assert node.tool("sync").returncode == 0
    seen = files.signature(path)
    assert node.tool("sync", "--dry-run").returncode == 0
    assert files.signature(path) == seen
    assert node.tool("sync").returncode == 0
    assert files.signature(path) != seen


def test_a_look_that_began_beside_an_apply_is_not_believed(
    own_node: gpu_node.GpuNode, placement: placement_app.InProcessPlacement
) -> None:
    """Nobody keeps another apply from beginning after that one."""
    settings = conf.settings(conf.parse([f"--config-file={own_node.config}"]))
    synchronizer = sync.Synchronizer(
        client.Client(placement.adapter), settings.root_name
    )
    library = nvml.Nvml(settings)
    one = cycle.Cycle(settings, library, synchronizer)
    with contextlib.ExitStack() as apply:
        apply.enter_context(lock.apply(own_node.run_dir))
        with one.undisturbed():
            apply.close()
            (finding,) = one.look().verdict.findings
    assert finding.reason is verdict.Reason.RESTORING
    assert not one.look().verdict.findings
    library.let_go()
