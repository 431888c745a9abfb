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
"""The agent and the tool bring the layout back, as processes."""

import os
import pty
import sys

import pytest

from mig_placement import exception
from mig_placement.service import lock
from tests.functional import gpu_node
from tests.functional import placement_app

Node = gpu_node.GpuNode

_MIXED = '{"1g.5gb": 3, "4g.20gb": 1}'
_STEPS = 12


@pytest.fixture
def node(node: Node) -> Node:
    """One GPU as declared (7x 1g.5gb); the agent restores natively."""
    node.sections["layout"]["apply"] = "native"
    node.write_config()
    return node


def _declare(node: Node, devices: str) -> None:
    node.layout.write_text(gpu_node.LAYOUT.replace('{"1g.5gb": 7}', devices))


def _script(node: Node, text: str) -> str:
    """A command of the operator's own; ``simulate`` stands for mig-parted."""
    path = node.folder / "tool.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def _simulate(node: Node, arguments: str) -> str:
    return f"{sys.executable} -m mig_placement.cmd.tool simulate {arguments}"


def test_a_rebooted_node_gets_its_layout_back(node: Node) -> None:
    assert node.tool("sync").returncode == 0
    node.gpus.reboot()
    node.start_agent()
    node.opens()
    gpu_node.within(lambda: node.status()["gate"]["state"] == "open")
    assert len(node.status()["gpus"][0]["instances"]) == 7


def test_the_status_is_closed_while_the_layout_is_brought_back(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    node.turn()
    node.gpus.set_delay(500)
    for gi_id in range(4):
        node.gpus.destroy_instance(0, (gi_id, 1))
    gpu_node.within(lambda: node.candidates() == 0)
    done = node.tool("status")
    assert node.candidates() == 0, "it is still at work"
    assert done.returncode == exception.EXIT_MISMATCH, done.stdout
    assert "next: wait: the layout is being brought back" in done.stdout
    assert "RESTORING" in done.stdout
    node.opens()
    gpu_node.within(lambda: node.status()["gate"]["state"] == "open")


def test_a_release_waits_for_what_a_restore_comes_to(node: Node) -> None:
    node.start_agent()
    node.opens()
    assert node.tool("hold", "a", "reset").returncode == exception.EXIT_OK
    node.gpus.clear(0)
    node.gpus.set_delay(100)
    done = node.tool("release")
    assert "the gate is open" in done.stdout, done.stdout + done.stderr


def test_the_boot_fence_does_not_count_the_time_of_a_restore(
    node: Node,
) -> None:
    node.sections["gate"]["boot_fence_timeout"] = "3"
    node.write_config()
    node.gpus.reboot()
    node.gpus.set_delay(300)
    with gpu_node.notify_socket(node) as receiver:
        node.start_agent()
        gpu_node.wait_for_notification(receiver, "READY=1")
        assert node.candidates() == 1
    assert "boot_fence_timeout" not in node.log_text()


def test_an_instance_destroyed_behind_the_agent_is_made_again(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    node.gpus.destroy_instance(0, (3, 1))
    gpu_node.within(lambda: node.gpus.mutations)
    node.opens()
    assert node.gpus.mutations == 2


def test_an_edited_layout_is_made(node: Node) -> None:
    node.start_agent()
    node.opens()
    _declare(node, _MIXED)
    gpu_node.within(lambda: node.cloud.candidates({"CUSTOM_MIG_4G_20GB": 1}))


def test_a_layout_that_failed_is_not_tried_again_until_something_changes(
    node: Node,
) -> None:
    node.gpus.clear(0)
    node.gpus.fail_next(3)
    node.start_agent()
    gpu_node.within(lambda: "it had" in node.log_text())
    tried = node.gpus.mutations
    before = node.status()["written"]
    gpu_node.within(lambda: node.status()["written"] > before + 2)
    assert node.gpus.mutations == tried
    node.gpus.create_instance(0, "1g.5gb", 3)
    node.opens()


def test_what_is_in_use_is_drained_and_said(node: Node) -> None:
    _declare(node, '{"3g.20gb": 2}')
    node.start_agent()
    gpu_node.within(lambda: node.cloud.candidates({"CUSTOM_MIG_3G_20GB": 1}))
    vm = node.cloud.boot({"CUSTOM_MIG_3G_20GB": 1})
    mutations = node.gpus.mutations
    node.gpus.add_process(0, (0, 4), 4711)
    _declare(node, _MIXED)
    gpu_node.within(lambda: "are allocated" in str(node.status()["restore"]))
    assert node.gpus.mutations == mutations, "any of the two may be the VM's"
    assert node.cloud.consumers(node.provider().uuid) == [vm]
    node.cloud.delete_vm(vm)
    gpu_node.within(lambda: len(node.status()["gpus"][0]["instances"]) == 4)
    waiting = gpu_node.within(lambda: node.status()["restore"])
    gpu_node.within(lambda: "4g.20gb" in str(node.status()["restore"]))
    placements = [
        each["start"]
        for each in gpu_node.within(lambda: node.status()["gpus"])[0][
            "instances"
        ]
    ]
    assert waiting
    assert placements == [0, 4, 5, 6], "the free 3g.20gb made room"
    assert node.cloud.candidates({"CUSTOM_MIG_1G_5GB": 1}) == []
    node.gpus.remove_process(0, (0, 4), 4711)
    gpu_node.within(lambda: node.cloud.candidates({"CUSTOM_MIG_4G_20GB": 1}))


def test_an_operators_command_is_run_and_judged_by_what_exists(
    node: Node,
) -> None:
    profiles = " ".join(f"19@{start}" for start in range(7))
    command = _simulate(node, f"add {node.gpus.path} 0 {profiles}")
    node.sections["layout"]["apply"] = "command"
    node.sections["layout"]["apply_command"] = _script(
        node, f"echo making them; {command}; exit 7"
    )
    node.write_config()
    node.gpus.reboot()
    node.start_agent()
    node.opens()
    assert "| making them" in node.log_text()


def test_a_command_that_lies_opens_nothing(node: Node) -> None:
    node.sections["layout"]["apply"] = "command"
    node.sections["layout"]["apply_command"] = _script(
        node, "echo applied successfully"
    )
    node.write_config()
    node.gpus.reboot()
    node.start_agent()
    gpu_node.within(lambda: "| applied successfully" in node.log_text())
    before = node.status()["written"] if node.run_dir.exists() else 0
    gpu_node.within(lambda: node.status()["written"] > before + 2)
    assert node.candidates(required=False) == 0
    assert node.log_text().count("| applied successfully") == 1


def test_a_command_that_hangs_is_killed(node: Node) -> None:
    node.sections["layout"]["apply"] = "command"
    node.sections["layout"]["apply_timeout"] = "1"
    node.sections["layout"]["apply_command"] = "sleep 600"
    node.write_config()
    node.gpus.reboot()
    node.start_agent()
    gpu_node.within(lambda: "killed after 1 s" in node.log_text())
    node.closes("INSTANCE_MISSING")


def test_with_apply_none_nothing_is_touched(node: Node) -> None:
    node.sections["layout"]["apply"] = "none"
    node.write_config()
    node.gpus.reboot()
    node.start_agent()
    node.closes("INSTANCE_MISSING")
    assert node.gpus.mutations == 0
    node.create_instances()
    node.opens()


def test_without_placement_nothing_is_touched(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    node.gpus.reboot()
    placement_tcp.process.stop()
    node.start_agent()
    gpu_node.within(lambda: "no usable answer" in node.log_text())
    assert node.gpus.mutations == 0
    placement_tcp.process.start()
    node.opens()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("k", range(1, _STEPS + 1))
def test_an_apply_killed_at_a_step_offers_nothing_and_the_next_succeeds(
    k: int, after: bool, node: Node
) -> None:
    for start in range(7):
        node.gpus.destroy_instance(0, (start, 1))
    node.gpus.create_instance(0, "3g.20gb", 0)
    node.gpus.create_instance(0, "3g.20gb", 4)
    _declare(node, _MIXED)
    node.gpus.kill_next(k, after=after)
    assert node.tool("apply").returncode == -9
    assert node.cloud.candidates({"CUSTOM_MIG_1G_5GB": 1}) == []
    assert node.cloud.candidates({"CUSTOM_MIG_3G_20GB": 1}) == []
    done = node.tool("apply")
    assert done.returncode == exception.EXIT_OK, done.stdout + done.stderr
    assert node.cloud.candidates({"CUSTOM_MIG_4G_20GB": 1})


def test_plan_draws_before_and_after(node: Node) -> None:
    _declare(node, _MIXED)
    done = node.tool("plan")
    assert done.returncode == exception.EXIT_OK
    assert "before |1g.5gb-|" in done.stdout
    assert "after  |------------4g.20gb------------|" in done.stdout
    assert node.gpus.mutations == 0


def test_an_agent_does_not_open_while_another_process_changes_gpus(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    with lock.apply(node.run_dir):
        node.gpus.destroy_instance(0, (3, 1))
        node.closes("RESTORING")
        node.gpus.create_instance(0, "1g.5gb", 3)
        before = node.status()["written"]
        gpu_node.within(lambda: node.status()["written"] > before + 1)
        assert node.candidates(required=False) == 0
        done = node.tool("apply")
        assert done.returncode == exception.EXIT_USAGE
        assert "another process" in done.stderr
    node.opens()


def test_apply_empty_leaves_nothing_and_closes(node: Node) -> None:
    assert node.tool("sync").returncode == exception.EXIT_OK
    done = node.tool("apply", "--empty")
    assert done.returncode == exception.EXIT_OK, done.stderr
    assert node.gpus.summary()["gpus"][0]["instances"] == []
    node.closes("INSTANCE_MISSING")


def test_apply_shows_its_steps_on_a_terminal(node: Node) -> None:
    node.gpus.destroy_instance(0, (3, 1))
    terminal, end = pty.openpty()
    status = node.on_terminal(end, "apply")
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert status == exception.EXIT_OK
    assert "GPU 0: create GPU instance 1g.5gb at 3:1" in shown


def test_apply_that_has_to_wait_is_3(node: Node) -> None:
    node.gpus.add_process(0, (0, 1), 4711)
    _declare(node, _MIXED)
    done = node.tool("apply")
    assert done.returncode == exception.EXIT_MISMATCH
    assert "waiting for 1g.5gb at 0:1 (1 processes)" in done.stdout


def test_an_unknown_instance_to_destroy_is_2(node: Node) -> None:
    done = node.tool("apply", "--destroy-in-use", "0:3g.20gb@4")
    assert done.returncode == exception.EXIT_USAGE
    assert "there is no instance 0:3g.20gb@4" in done.stderr


def test_a_held_node_is_not_changed(node: Node) -> None:
    node.gpus.clear(0)
    assert node.tool("hold", "x").returncode == exception.EXIT_OK
    done = node.tool("apply")
    assert done.returncode == exception.EXIT_USAGE
    assert "release" in done.stderr
    assert node.gpus.mutations == 0


def test_an_exported_geometry_is_a_layout_that_matches(node: Node) -> None:
    exported = node.tool("export", "--label", "mine")
    assert exported.returncode == exception.EXIT_OK
    path = node.folder / "exported.yaml"
    path.write_text(exported.stdout)
    assert node.tool("check", str(path)).returncode == exception.EXIT_OK
