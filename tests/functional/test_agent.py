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
"""The agent as a process, over simulated GPUs and a real Placement."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from mig_placement import exception
from mig_placement import version
from mig_placement.placement import names
from mig_placement.service import lock
from mig_placement.service import marks
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import placement_app

_UNFIT = "CUSTOM_MIG_UNFIT_INSTANCE_UNHEALTHY"
# Seconds after which a watcher has taken up an event for certain.
_HEARD = 1.2

Node = gpu_node.GpuNode


def _rebooted(node: Node) -> None:
    """Placement remembers what was true before the node's reboot."""
    assert node.tool("sync").returncode == 0
    assert node.candidates() == 1
    node.gpus.reboot()


def test_a_node_as_declared_is_offered(node: Node) -> None:
    node.start_agent()
    node.opens()
    inventory = node.provider().inventories[gpu_node.CLASS]
    assert (inventory["total"], inventory["reserved"]) == (7, 0)


def test_ready_is_sent_when_stale_capacity_is_closed(node: Node) -> None:
    _rebooted(node)
    with gpu_node.notify_socket(node) as receiver:
        node.start_agent()
        gpu_node.wait_for_notification(receiver, "READY=1")
        assert node.candidates(required=False) == 0
        assert (
            names.NODE_READY
            not in node.cloud.providers()[gpu_node.ROOT_NAME].traits
        )
    assert node.blocked_by() == {"INSTANCE_MISSING"}


def test_the_watchdog_is_fed_and_the_state_told(node: Node) -> None:
    node.environment["WATCHDOG_USEC"] = "1000000"
    with gpu_node.notify_socket(node) as receiver:
        node.start_agent()
        gpu_node.wait_for_notification(receiver, "STATUS=gate open")
        gpu_node.wait_for_notification(receiver, "WATCHDOG=1")
        gpu_node.wait_for_notification(receiver, "WATCHDOG=1")


def test_a_destroyed_instance_closes_and_its_return_opens(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    node.gpus.destroy_instance(0, (3, 1))
    node.closes("INSTANCE_MISSING")
    node.gpus.create_instance(0, "1g.5gb", 3)
    node.opens()


def test_an_instance_too_many_closes(node: Node) -> None:
    node.layout.write_text(gpu_node.LAYOUT.replace(": 7", ": 6"))
    node.start_agent()
    gpu_node.within(lambda: node.log_text())
    node.closes("INSTANCE_EXTRA")


def test_an_instance_without_its_compute_instance_closes(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    node.gpus.destroy_compute_instance(0, (3, 1), 0)
    node.closes("COMPUTE_INSTANCE_MISSING")


def test_mig_mode_off_closes(node: Node) -> None:
    node.start_agent()
    node.opens()
    node.gpus.clear(0)
    node.gpus.set_mig(0, enabled=False)
    node.closes("MODE_PENDING", "INSTANCE_MISSING")
    node.gpus.reset_gpu(0, force=True)
    node.closes("MIG_DISABLED")


def test_a_running_vm_keeps_its_slice_while_the_gate_is_closed(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    vm = node.cloud.boot({gpu_node.CLASS: 1})
    node.gpus.destroy_instance(0, (3, 1))
    node.closes("INSTANCE_MISSING")
    assert node.cloud.consumers(node.provider().uuid) == [vm]
    assert node.cloud.candidates({}), "a VM without a GPU finds its place"


def test_capacity_in_use_is_not_denied_after_a_reboot(node: Node) -> None:
    node.start_agent()
    node.opens()
    vm = node.cloud.boot({gpu_node.CLASS: 1})
    node.gpus.reboot()
    node.closes("INSTANCE_MISSING")
    inventory = node.provider().inventories[gpu_node.CLASS]
    assert inventory["reserved"] == inventory["total"]
    node.cloud.delete_vm(vm)
    gpu_node.within(lambda: not node.provider().inventories)


def test_an_xid_on_an_instance_takes_one_unit_until_release(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    node.gpus.send_xid(0, 94, (2, 1))
    gpu_node.within(lambda: node.provider().offered == {gpu_node.CLASS: 6})
    gpu_node.within(lambda: _UNFIT in node.provider().traits)
    assert names.READY in node.provider().traits
    (gpu,) = node.status()["gpus"]
    assert gpu["reasons"] == []
    assert gpu["unfit"][0]["reason"] == "INSTANCE_UNHEALTHY"
    assert node.tool("check").returncode == 3
    assert node.tool("release").returncode == 0
    gpu_node.within(lambda: node.provider().offered == {gpu_node.CLASS: 7})
    gpu_node.within(lambda: _UNFIT not in node.provider().traits)


def test_an_xid_outlives_a_restart_of_the_agent(node: Node) -> None:
    agent = node.start_agent()
    node.opens()
    node.gpus.send_xid(0, 79)
    node.closes("GPU_UNHEALTHY")
    agent.terminate()
    agent.wait(gpu_node.PATIENCE)
    with gpu_node.notify_socket(node) as receiver:
        node.start_agent()
        gpu_node.wait_for_notification(receiver, "READY=1")
    node.closes("GPU_UNHEALTHY")


def test_an_xid_is_not_lost_with_an_nvml_that_fails(node: Node) -> None:
    agent = node.start_agent()
    node.opens()
    _settle(node)
    agent.send_signal(signal.SIGSTOP)
    node.gpus.send_xid(0, 94, (2, 1))
    node.gpus.set_privileged(False)
    agent.send_signal(signal.SIGCONT)
    node.closes("HARDWARE_ERROR")
    node.gpus.set_privileged(True)
    node.opens()
    assert _UNFIT in node.provider().traits
    assert node.provider().offered == {gpu_node.CLASS: 6}


def test_an_xid_is_not_lost_with_an_apply_of_another_process(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    _settle(node)
    with lock.apply(node.run_dir):
        node.closes("RESTORING")
        node.gpus.send_xid(0, 94, (2, 1))
        # The watcher has heard it, and the loop has looked in vain.
        node.turn()
        _settle(node)
    node.opens()
    assert node.provider().offered == {gpu_node.CLASS: 6}


def test_no_command_writes_the_marks_that_an_agent_keeps(node: Node) -> None:
    """Between its reading and its writing an XID would be lost."""
    agent = node.start_agent()
    node.opens()
    _settle(node)
    node.gpus.send_xid(0, 94, (2, 1))
    gpu_node.within(lambda: node.provider().offered == {gpu_node.CLASS: 6})
    agent.terminate()
    agent.wait(gpu_node.PATIENCE)
    kept = marks.path(node.run_dir)
    before = kept.read_text()
    # What is no more would be left out.
    node.gpus.destroy_instance(0, (2, 1))
    assert node.tool("sync").returncode == exception.EXIT_MISMATCH
    assert kept.read_text() == before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_an_xid_is_not_lost_with_the_agent_that_heard_it(
    node: Node, placement_tcp: placement_app.TcpPlacement, number: int
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.write_config()
        agent = node.start_agent()
        node.opens()
        hanging = proxy.add(faults.Stall())
        gpu_node.within(lambda: hanging.hits)
        # The loop hangs in a cycle, and ends after it.
        node.gpus.send_xid(0, 94, (2, 1))
        agent.send_signal(number)
        time.sleep(_HEARD)
        proxy.remove(hanging)
        proxy.refuse()
        proxy.accept()
        if number == signal.SIGTERM:
            assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_OK
            node.start_agent()
        gpu_node.within(lambda: node.provider().offered == {gpu_node.CLASS: 6})


def test_a_lost_gpu_does_not_deafen_the_agent_for_the_others(
    node: Node,
) -> None:
    node.sections["gate"]["scope"] = "gpu"
    node.write_config()
    node.create_gpus(2)
    node.start_agent()
    node.opens(2)
    _settle(node)
    node.gpus.lose_gpu(1)
    node.opens(1)
    node.gpus.send_xid(0, 94, (2, 1))
    gpu_node.within(lambda: node.provider().offered == {gpu_node.CLASS: 6})
    node.gpus.return_gpu(1)
    for start in range(7):
        node.gpus.create_instance(1, "1g.5gb", start)
    assert node.tool("release").returncode == 0
    node.opens(2)
    node.gpus.send_xid(1, 94, (2, 1))
    gpu_node.within(lambda: node.provider(1).offered == {gpu_node.CLASS: 6})


def _settle(node: Node) -> None:
    """Wait until the agent's watcher hears what NVML has to say."""
    node.turn()
    time.sleep(_HEARD)


def test_a_recreated_instance_is_fit_again(node: Node) -> None:
    node.start_agent()
    node.opens()
    node.gpus.send_xid(0, 94, (2, 1))
    gpu_node.within(lambda: node.provider().offered == {gpu_node.CLASS: 6})
    node.gpus.destroy_instance(0, (2, 1))
    node.gpus.create_instance(0, "1g.5gb", 2)
    gpu_node.within(lambda: node.provider().offered == {gpu_node.CLASS: 7})


def test_an_applications_xid_closes_nothing(node: Node) -> None:
    node.start_agent()
    node.opens()
    updated = node.status()["written"]
    node.gpus.send_xid(0, 31, (2, 1))
    gpu_node.within(lambda: node.status()["written"] > updated)
    assert node.candidates() == 1


def test_a_lost_gpu_closes_and_its_return_opens(node: Node) -> None:
    node.start_agent()
    node.opens()
    node.gpus.lose_gpu(0)
    gpu_node.within(lambda: "GPU_LOST" in node.blocked_by())
    assert node.candidates(required=False) == 0
    node.gpus.return_gpu(0)
    node.create_instances()
    assert node.tool("release").returncode == 0
    node.opens()


def test_without_a_driver_the_gate_is_closed_and_the_agent_lives(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    node.gpus.set_driver(present=False)
    node.closes("HARDWARE_ERROR")
    node.gpus.set_driver(present=True)
    node.opens()


def test_without_the_privilege_to_list_the_gate_is_closed(
    node: Node,
) -> None:
    node.gpus.set_privileged(False)
    node.start_agent()
    gpu_node.within(lambda: "nvidia-caps/nvidia-cap1" in node.log_text())
    assert node.candidates() == 0


def test_an_edited_layout_is_seen(node: Node) -> None:
    node.start_agent()
    node.opens()
    node.layout.write_text("version: v1\nmig-configs: {")
    node.closes("LAYOUT_INVALID")
    node.layout.write_text(gpu_node.LAYOUT)
    node.opens()


def test_an_impossible_layout_closes(node: Node) -> None:
    impossible = '{"3g.20gb": 2, "1g.5gb": 1}'
    node.start_agent()
    node.opens()
    text = gpu_node.LAYOUT.replace('{"1g.5gb": 7}', impossible)
    node.layout.write_text(text)
    node.closes("LAYOUT_INVALID")
    assert "memory slices" in node.log_text()


def test_one_gpu_closes_all_of_its_node(node: Node) -> None:
    node.create_gpus(2)
    node.start_agent()
    node.opens(2)
    node.gpus.destroy_instance(1, (0, 1))
    node.closes("OTHER_GPU")
    assert node.blocked_by(1) == {"INSTANCE_MISSING"}


def test_with_scope_gpu_it_closes_itself(node: Node) -> None:
    node.sections["gate"]["scope"] = "gpu"
    node.write_config()
    node.create_gpus(2)
    node.start_agent()
    node.opens(2)
    node.gpus.destroy_instance(1, (0, 1))
    node.opens(1)
    assert node.blocked_by(1) == {"INSTANCE_MISSING"}
    assert not node.blocked_by(0)


def test_a_hold_closes_lets_nvml_go_and_outlives_a_restart(
    node: Node,
) -> None:
    agent = node.start_agent()
    node.opens()
    held = node.tool("hold", "new", "fans")
    assert held.returncode == 0, held.stderr
    node.closes("HOLD")
    # Refused as "in use" while anybody holds NVML.
    node.gpus.reset_gpu(0)
    node.create_instances()
    agent.terminate()
    agent.wait(gpu_node.PATIENCE)
    with gpu_node.notify_socket(node) as receiver:
        node.start_agent()
        gpu_node.wait_for_notification(receiver, "READY=1")
    node.closes("HOLD")
    released = node.tool("release")
    assert released.returncode == 0, released.stderr
    assert "the gate is open" in released.stdout
    node.opens()
    # There is nothing that the agent would have to look at anew.
    again = node.tool("release", "--timeout", "5")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "no hold was placed; the gate is open\n"


def test_a_status_of_an_earlier_hold_says_nothing_of_this_one(
    node: Node,
) -> None:
    agent = node.start_agent()
    assert node.tool("hold", "new", "fans").returncode == 0
    agent.terminate()
    agent.wait(gpu_node.PATIENCE)
    # An agent that has not told anything yet.
    with lock.agent(node.run_dir):
        held = node.tool("hold", "again", "--timeout", "1")
    assert held.returncode == exception.EXIT_NO_PLACEMENT, held.stdout


def test_a_hold_works_without_an_agent(node: Node) -> None:
    assert node.tool("sync").returncode == 0
    assert node.tool("hold", "no", "agent").returncode == 0
    node.closes("HOLD")
    assert node.tool("release").returncode == 0
    node.opens()


def test_a_stop_of_the_agent_alone_leaves_the_gate(node: Node) -> None:
    agent = node.start_agent()
    node.opens()
    agent.terminate()
    assert agent.wait(gpu_node.PATIENCE) == 0
    assert node.candidates() == 1


def test_a_shutdown_of_the_host_closes_the_gate(node: Node) -> None:
    systemctl = node.folder / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text("#!/bin/sh\necho stopping\nexit 1\n")
    systemctl.chmod(0o755)
    path = f"{systemctl.parent}:{os.environ['PATH']}"
    node.environment["PATH"] = path
    agent = node.start_agent()
    node.opens()
    agent.terminate()
    assert agent.wait(gpu_node.PATIENCE) == 0
    node.closes("SHUTDOWN")


def test_a_killed_agent_is_replaced_by_a_new_one(node: Node) -> None:
    agent = node.start_agent()
    node.opens()
    agent.kill()
    agent.wait()
    node.gpus.destroy_instance(0, (0, 1))
    node.start_agent()
    node.closes("INSTANCE_MISSING")


def test_the_agent_tells_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mig_placement.cmd.agent", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.version() in done.stdout


def test_a_second_agent_is_refused(node: Node) -> None:
    node.start_agent()
    node.opens()
    second = node.start_agent()
    assert second.wait(gpu_node.PATIENCE) == exception.EXIT_USAGE
    assert second.stderr is not None
    assert b"another agent runs" in second.stderr.read()


def test_a_second_agent_with_a_wrong_option_leaves_the_gate_alone(
    node: Node,
) -> None:
    node.start_agent()
    node.opens()
    generation = node.provider().generation
    node.sections["gate"]["scope"] = "rack"
    node.write_config()
    second = node.start_agent()
    assert second.wait(gpu_node.PATIENCE) == exception.EXIT_USAGE
    assert node.provider().generation == generation


def test_sighup_reads_the_configuration_again(node: Node) -> None:
    agent = node.start_agent()
    node.opens()
    node.sections["mapping"] = {"traits": "CUSTOM_RACK_7"}
    node.write_config()
    agent.send_signal(signal.SIGHUP)
    gpu_node.within(lambda: "CUSTOM_RACK_7" in node.provider().traits)


def test_sighup_with_a_broken_configuration_changes_nothing(
    node: Node,
) -> None:
    agent = node.start_agent()
    node.opens()
    node.sections["gate"]["scope"] = "rack"
    node.write_config()
    agent.send_signal(signal.SIGHUP)
    gpu_node.within(lambda: "stays as it was" in node.log_text())
    node.gpus.destroy_instance(0, (0, 1))
    node.closes("INSTANCE_MISSING")


def test_sighup_with_credentials_of_no_use_changes_nothing(
    node: Node,
) -> None:
    agent = node.start_agent()
    node.opens()
    good = node.sections["placement"]
    node.sections["placement"] = {**good, "auth_type": "of-no-plugin"}
    node.write_config()
    agent.send_signal(signal.SIGHUP)
    gpu_node.within(lambda: "stays as it was" in node.log_text())
    node.gpus.destroy_instance(0, (0, 1))
    node.closes("INSTANCE_MISSING")
    assert agent.poll() is None
    node.sections["placement"] = good
    node.sections["mapping"] = {"traits": "CUSTOM_RACK_7"}
    node.write_config()
    agent.send_signal(signal.SIGHUP)
    gpu_node.within(lambda: "CUSTOM_RACK_7" in node.provider().traits)


def test_a_class_renamed_under_a_vm_closes_until_the_vm_has_gone(
    node: Node,
) -> None:
    agent = node.start_agent()
    node.opens()
    vm = node.cloud.boot({gpu_node.CLASS: 1})
    node.sections["mapping"] = {"resource_classes": "1g.5gb:CUSTOM_SMALL"}
    node.write_config()
    agent.send_signal(signal.SIGHUP)
    node.closes("CONFIG_INVALID")
    assert node.cloud.candidates({"CUSTOM_SMALL": 1}) == []
    gpu_node.within(lambda: node.status()["gate"]["state"] == "closed")
    for reasons in (
        node.status()["gate"]["reasons"],
        node.status()["gpus"][0]["reasons"],
    ):
        assert f"1 of {gpu_node.CLASS}" in reasons[0]["detail"]
    node.cloud.delete_vm(vm)
    gpu_node.within(lambda: node.cloud.candidates({"CUSTOM_SMALL": 1}))


def test_a_wrong_option_ends_the_agent_with_the_gate_closed(
    node: Node,
) -> None:
    assert node.tool("sync").returncode == 0
    node.sections["gate"]["scope"] = "rack"
    node.write_config()
    agent = node.start_agent()
    assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_USAGE
    assert agent.stderr is not None
    assert b"scope" in agent.stderr.read()
    node.closes("CONFIG_INVALID")


def test_a_wrong_logging_option_ends_the_agent_with_the_gate_closed(
    node: Node,
) -> None:
    assert node.tool("sync").returncode == 0
    path = str(node.folder / "no-such-logging.conf")
    node.sections["DEFAULT"]["log_config_append"] = path
    node.write_config()
    agent = node.start_agent()
    assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_USAGE
    assert agent.stderr is not None
    assert b"logging cannot be set up" in agent.stderr.read()
    node.closes("CONFIG_INVALID")


def test_an_outage_of_placement_is_survived(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    node.start_agent()
    node.opens()
    placement_tcp.process.stop()
    node.gpus.destroy_instance(0, (0, 1))
    gpu_node.within(lambda: "no usable answer" in node.log_text())
    placement_tcp.process.start()
    node.closes("INSTANCE_MISSING")


def test_a_dead_placement_delays_readiness_by_the_fence_at_most(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    node.sections["gate"]["boot_fence_timeout"] = "2"
    node.write_config()
    placement_tcp.process.stop()
    with gpu_node.notify_socket(node) as receiver:
        node.start_agent()
        gpu_node.wait_for_notification(receiver, "READY=1")
    assert "boot_fence_timeout" in node.log_text()
    placement_tcp.process.start()
    node.opens()


def test_a_placement_that_hangs_delays_readiness_by_the_fence_at_most(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        hanging = proxy.add(faults.Stall())
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.sections["placement"]["timeout"] = "15"
        node.sections["gate"]["boot_fence_timeout"] = "1"
        node.write_config()
        with gpu_node.notify_socket(node) as receiver:
            agent = node.start_agent()
            gpu_node.within(lambda: proxy.log.exchanges)
            receiver.settimeout(10)
            gpu_node.wait_for_notification(receiver, "READY=1")
            assert not (node.run_dir / "status.json").exists(), "it hangs"
            proxy.remove(hanging)
            proxy.refuse()
            proxy.accept()
            node.opens()
            agent.terminate()
            agent.wait(gpu_node.PATIENCE)
            assert "READY=1" not in gpu_node.notifications(receiver)


def test_an_error_is_logged_once_per_change_of_state(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    placement_tcp.process.stop()
    node.start_agent()
    gpu_node.within(lambda: "no usable answer" in node.log_text())
    before = node.status()["written"]
    gpu_node.within(lambda: node.status()["written"] > before + 1)
    assert node.log_text().count("no usable answer") == 1


def test_a_node_that_nova_does_not_know_yet_is_waited_for(
    tmp_path: pathlib.Path, placement_tcp: placement_app.TcpPlacement
) -> None:
    node = Node(tmp_path, placement_tcp.options(), placement_tcp.cloud)
    node.create_gpus()
    try:
        with gpu_node.notify_socket(node) as receiver:
            node.start_agent()
            gpu_node.wait_for_notification(receiver, "READY=1")
        assert gpu_node.ROOT_NAME not in node.cloud.providers()
        node.create_root()
        node.opens()
    finally:
        node.stop_agents()


def test_drift_made_by_others_is_repaired(node: Node) -> None:
    node.start_agent()
    node.opens()
    node.cloud.set_inventories(
        node.provider().uuid, {gpu_node.CLASS: {"total": 99}}
    )
    gpu_node.within(
        lambda: node.provider().inventories[gpu_node.CLASS]["total"] == 7
    )


def test_the_status_file_tells_what_was_seen(node: Node) -> None:
    node.start_agent()
    node.opens()
    gpu_node.within(lambda: node.status()["gate"]["state"] == "open")
    status = node.status()
    assert status["layout"]["label"] == "all-1g.5gb"
    assert len(status["gpus"][0]["instances"]) == 7
    assert status["placement"]["in_step"]
