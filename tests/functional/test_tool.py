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
"""The tool as a process: what it prints and its exit status."""

import json
import os
import pathlib
import shlex
import signal
import time
from typing import Self

import pytest

from mig_placement import exception
from mig_placement.service import lock
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import keystone_server
from tests.functional import placement_app

Node = gpu_node.GpuNode


def _refused(node: Node, status: int, *arguments: str) -> str:
    """The one line of an error; fails where it is not one line."""
    done = node.tool(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("mig-placement: ")
    assert "Traceback" not in done.stderr
    return lines[0]


# Done: 0.


def test_discover_shows_every_instance(node: Node) -> None:
    done = node.tool("discover", "-f", "json")
    rows = json.loads(done.stdout)
    assert done.returncode == exception.EXIT_OK
    assert [row["Placement"] for row in rows] == [f"{i}:1" for i in range(7)]
    assert {row["PCI address"] for row in rows} == {"0000:41:00.0"}


def test_discover_shows_an_instance_without_compute_instance(
    node: Node,
) -> None:
    node.gpus.destroy_compute_instance(0, (3, 1), 0)
    rows = json.loads(node.tool("discover", "-f", "json").stdout)
    assert rows[3]["Compute instances"] == ""
    assert rows[3]["Profile"] == "1g.5gb"


def test_profiles_shows_placements_and_classes(node: Node) -> None:
    rows = json.loads(node.tool("profiles", "-f", "json").stdout)
    by_name = {row["Profile"]: row for row in rows}
    assert by_name["3g.20gb"]["Placements"] == "0:4 4:4"
    assert by_name["1g.5gb+me"]["Resource class"] == "CUSTOM_MIG_1G_5GB_ME"


def test_profiles_of_a_model_need_no_gpu(node: Node) -> None:
    node.gpus.delete()
    done = node.tool("profiles", "--model", "H100-80GB", "-f", "json")
    assert "1g.10gb" in {r["Profile"] for r in json.loads(done.stdout)}


def test_check_of_a_matching_node_is_done(node: Node) -> None:
    done = node.tool("check", "-f", "json")
    assert done.returncode == exception.EXIT_OK
    assert json.loads(done.stdout)[0]["Verdict"] == "match"


def test_check_of_a_model_needs_no_gpu(node: Node) -> None:
    node.gpus.delete()
    done = node.tool("check", "--model", "A100-40GB:2", "-f", "json")
    assert done.returncode == exception.EXIT_OK
    assert [r["Declared"] for r in json.loads(done.stdout)] == [
        "7x 1g.5gb"
    ] * 2


def test_sync_opens_the_gate_of_a_matching_node(node: Node) -> None:
    done = node.tool("sync")
    assert done.returncode == exception.EXIT_OK
    assert node.candidates() == 1


def test_a_dry_run_prints_the_calls_and_writes_nothing(node: Node) -> None:
    before = node.cloud.providers()
    done = node.tool("sync", "--dry-run", "-f", "json")
    assert done.returncode == exception.EXIT_OK
    rows = json.loads(done.stdout)
    assert [row["Stage"] for row in rows] == sorted(
        (row["Stage"] for row in rows), key=["close", "prepare", "open"].index
    )
    assert rows[-1]["Change"].endswith("+CUSTOM_MIG_NODE_READY")
    assert node.cloud.providers() == before


def test_status_of_an_open_gate_is_done(node: Node) -> None:
    node.start_agent()
    node.opens()
    gpu_node.within(lambda: node.status()["gate"]["state"] == "open")
    done = node.tool("status")
    assert done.returncode == exception.EXIT_OK
    assert "|1g.5gb-|" in done.stdout
    value = json.loads(node.tool("status", "-f", "json").stdout)
    assert value["gate"] == "open"
    assert value["gpus"][0]["instances"][0]["profile"] == "1g.5gb"


def test_a_narrow_table_cuts_no_class_at_a_letter(node: Node) -> None:
    shown = node.tool("profiles", "--max-width", "80").stdout
    cells = [line.split("|") for line in shown.splitlines() if "|" in line]
    classes = [row[5].strip() for row in cells[1:]]
    assert "CUSTOM_MIG_1G_" in classes
    assert "5GB" in classes


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("plan", "no steps"),
        ("apply", "no steps, nothing was changed"),
        ("sync", "Placement has it so: nothing to write"),
    ],
)
def test_nothing_to_do_is_said(node: Node, command: str, line: str) -> None:
    node.tool("sync")
    done = node.tool(command)
    assert done.returncode == exception.EXIT_OK
    assert done.stdout.splitlines()[-1] == line
    assert json.loads(node.tool(command, "-f", "json").stdout) == []


def test_help_is_shown_without_a_command(node: Node) -> None:
    done = node.tool()
    assert done.returncode == exception.EXIT_OK
    assert "simulate create" in done.stdout


# Mismatch, or the gate closed: 3.


def test_check_of_a_mismatch_is_3_and_says_what(node: Node) -> None:
    node.gpus.destroy_instance(0, (3, 1))
    done = node.tool("check", "-f", "json")
    assert done.returncode == exception.EXIT_MISMATCH
    assert "INSTANCE_MISSING" in json.loads(done.stdout)[0]["Why"]


def test_sync_of_a_mismatch_is_3_and_closes(node: Node) -> None:
    node.gpus.destroy_instance(0, (3, 1))
    assert node.tool("sync").returncode == exception.EXIT_MISMATCH
    node.closes("INSTANCE_MISSING")


def test_status_of_a_closed_gate_is_3(node: Node) -> None:
    node.gpus.clear(0)
    node.start_agent()
    gpu_node.within(lambda: (node.run_dir / "status.json").exists())
    gpu_node.within(lambda: node.status()["gate"]["state"] == "closed")
    done = node.tool("status")
    assert done.returncode == exception.EXIT_MISMATCH
    assert "INSTANCE_MISSING" in done.stdout


# Usage, configuration, layout: 2.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: v1\nmig-configs: {", "YAML"),
        ("", "version"),
        (gpu_node.LAYOUT.replace("v1", "v9"), "version: v1"),
        (gpu_node.LAYOUT.replace("1g.5gb", "9g.99gb"), "9g.99gb"),
        (gpu_node.LAYOUT.replace('"1g.5gb"', '"1g.10gb+gfx"'), "+gfx"),
        (gpu_node.LAYOUT.replace("devices: all", "devices: [7]"), "7"),
        (gpu_node.LAYOUT.replace("devices: all", "devices: [0, 0]"), "twice"),
        (gpu_node.LAYOUT.replace(": 7}", ": 8}"), "8"),
        (gpu_node.LAYOUT.replace("mig-enabled", "mig-enbled"), "mig-enbled"),
        (
            gpu_node.LAYOUT + '      mig-devices: {"1g.5gb": 6}\n',
            "mig-devices",
        ),
        (
            gpu_node.LAYOUT.replace(
                "devices: all",
                'devices: all\n      device-filter: "0x233010DE"',
            ),
            "filter",
        ),
    ],
)
def test_a_layout_that_cannot_be_had_is_2_and_closes_the_gate(
    text: str, said: str, node: Node
) -> None:
    assert node.tool("sync").returncode == exception.EXIT_OK
    node.layout.write_text(text)
    line = _refused(node, exception.EXIT_USAGE, "check")
    assert said in line
    assert str(node.layout) in line
    assert node.tool("sync").returncode == exception.EXIT_MISMATCH
    node.closes("LAYOUT_INVALID")


def test_a_missing_layout_file_is_2(node: Node) -> None:
    node.layout.unlink()
    line = _refused(node, exception.EXIT_USAGE, "check")
    assert str(node.layout) in line


def test_an_unknown_label_is_2_and_names_the_labels(node: Node) -> None:
    line = _refused(node, exception.EXIT_USAGE, "check", "--label", "alll")
    assert "all-1g.5gb" in line


def test_a_label_asked_for_by_hand_counts_before_mig_nodes(
    node: Node,
) -> None:
    other = gpu_node.LAYOUT.partition("mig-configs:\n")[2]
    node.layout.write_text(
        gpu_node.LAYOUT
        + other.replace("all-1g.5gb", "fewer").replace(": 7", ": 6")
        + "mig-nodes: {node1: all-1g.5gb}\n"
    )
    assert node.tool("check").returncode == exception.EXIT_OK
    done = node.tool("check", "--label", "fewer")
    assert done.returncode == exception.EXIT_MISMATCH


def test_an_impossible_layout_says_why_in_slices_and_what_fits(
    node: Node,
) -> None:
    text = gpu_node.LAYOUT.replace(
        '{"1g.5gb": 7}', '{"3g.20gb": 2, "1g.5gb": 1}'
    )
    node.layout.write_text(text)
    line = _refused(node, exception.EXIT_USAGE, "check")
    assert "2x 3g.20gb fill all 8 memory slices" in line
    assert "1g.5gb does not fit" in line
    assert "1x 3g.20gb" in line


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("gate", "scope", "rack"),
        ("agent", "interval", "-1"),
        ("mapping", "resource_classes", "1g.5gb:lower"),
        ("mapping", "traits", "no trait"),
    ],
)
def test_a_wrong_option_is_2_and_names_it(
    section: str, option: str, value: str, node: Node
) -> None:
    node.sections.setdefault(section, {})[option] = value
    node.write_config()
    assert option in _refused(node, exception.EXIT_USAGE, "sync")


def test_a_missing_configuration_file_is_2(node: Node) -> None:
    node.config.unlink()
    assert str(node.config) in _refused(node, exception.EXIT_USAGE, "check")


@pytest.mark.parametrize("command", ["discover", "plan"])
def test_a_column_that_is_not_there_is_2(node: Node, command: str) -> None:
    line = _refused(node, exception.EXIT_USAGE, command, "-c", "Colour")
    assert "-c Colour: no such column; use one of " in line


def test_an_unknown_command_is_2(node: Node) -> None:
    assert node.tool("enchant").returncode == exception.EXIT_USAGE
    assert node.tool("check", "--wrong").returncode == exception.EXIT_USAGE


def test_an_unknown_model_is_2(node: Node) -> None:
    line = _refused(node, exception.EXIT_USAGE, "profiles", "--model", "Z1")
    assert "A100-40GB" in line


def test_status_of_an_open_gate_without_an_agent_is_3(node: Node) -> None:
    agent = node.start_agent()
    node.opens()
    gpu_node.within(lambda: node.status()["gate"]["state"] == "open")
    agent.terminate()
    agent.wait(gpu_node.PATIENCE)
    done = node.tool("status")
    assert done.returncode == exception.EXIT_MISMATCH
    assert "stopped" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "no agent runs on this node" in line


@pytest.mark.parametrize("runs", [True, False], ids=["agent", "alone"])
def test_a_hold_on_a_node_that_placement_does_not_know_ends_at_once(
    runs: bool,
    tmp_path: pathlib.Path,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    node = Node(tmp_path, placement_tcp.options(), placement_tcp.cloud)
    node.create_gpus()
    try:
        if runs:
            node.start_agent()
            gpu_node.within(lambda: node.status()["placement"]["root_missing"])
        for arguments in (["hold", "new fans"], ["release"]):
            done = node.tool(*arguments)
            assert done.returncode == exception.EXIT_OK, done.stderr
            assert f"does not know {gpu_node.ROOT_NAME}" in done.stdout
    finally:
        node.stop_agents()


def test_a_hold_that_placement_was_not_told_of_closes_nothing(
    node: Node,
) -> None:
    """Who reads that the gate is closed begins to reset GPUs."""
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    line = _refused(node, exception.EXIT_NO_PLACEMENT, "hold", "new fans")
    assert "the gate is closed" not in line


def test_a_status_that_nobody_wrote_is_3(node: Node) -> None:
    line = _refused(node, exception.EXIT_MISMATCH, "status")
    assert "start mig-placement-agent" in line


def test_incomplete_credentials_are_2(node: Node) -> None:
    node.sections["placement"] = {"auth_type": "password"}
    node.write_config()
    line = _refused(node, exception.EXIT_USAGE, "sync")
    assert "[placement]" in line


# NVML: 4.


def test_no_driver_is_4(node: Node) -> None:
    node.gpus.set_driver(present=False)
    line = _refused(node, exception.EXIT_NO_NVML, "discover")
    assert "modprobe nvidia" in line


def test_a_simulated_node_that_is_not_there_is_4(node: Node) -> None:
    pathlib.Path(node.gpus.path).unlink()
    line = _refused(node, exception.EXIT_NO_NVML, "discover")
    assert f"simulate = {node.gpus.path}: there is no such" in line
    assert "modprobe" not in line


def test_no_library_is_4(node: Node) -> None:
    node.sections["hardware"] = {"nvml_library": "/nonexistent/libnvml.so"}
    node.write_config()
    line = _refused(node, exception.EXIT_NO_NVML, "discover")
    assert "nvml_library" in line


def test_no_permission_is_4(node: Node) -> None:
    node.gpus.set_privileged(False)
    line = _refused(node, exception.EXIT_NO_NVML, "discover")
    assert "nvidia-caps/nvidia-cap1" in line


def test_a_broken_simulated_node_is_4(node: Node) -> None:
    pathlib.Path(node.gpus.path).write_text("{")
    _refused(node, exception.EXIT_NO_NVML, "discover")


# Placement and Keystone: 5.


def test_a_dead_placement_is_5(node: Node) -> None:
    node.sections["placement"]["endpoint"] = gpu_node.free_port_url()
    node.write_config()
    _refused(node, exception.EXIT_NO_PLACEMENT, "sync")


def test_a_root_that_is_not_there_is_5(node: Node) -> None:
    node.sections["agent"]["hypervisor_hostname"] = "elsewhere"
    node.write_config()
    line = _refused(node, exception.EXIT_NO_PLACEMENT, "sync")
    assert "hypervisor_hostname" in line


@pytest.mark.parametrize(
    "fault",
    [
        faults.html(200),
        faults.html(502),
        faults.error(500, "x"),
        faults.error(503, "x"),
        faults.broken_json(),
        faults.json_answer([], 200),
        faults.json_answer({"resource_providers": "none"}, 200),
        faults.json_answer({"resource_providers": [{"uuid": "../x"}]}, 200),
        faults.too_many(1),
        faults.Drop(reset=True),
        faults.CutOff(reset=True),
        faults.Slow(9),
    ],
    ids=str,
)
def test_an_answer_that_is_none_of_placements_is_5(
    fault: faults.Fault,
    node: Node,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    node.sections["placement"]["timeout"] = "2"
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint"] = proxy.url
        node.write_config()
        proxy.add(fault, path="resource_providers")
        before = node.cloud.providers()
        _refused(node, exception.EXIT_NO_PLACEMENT, "sync")
        assert node.cloud.providers() == before


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (keystone_server.WRONG, "401"),
        (keystone_server.READER, "service role"),
    ],
    ids=["wrong password", "reader"],
)
def test_credentials_that_do_not_do_are_5(
    account: keystone_server.Account,
    said: str,
    tmp_path: pathlib.Path,
    secured: keystone_server.SecuredPlacement,
) -> None:
    node = Node(tmp_path, secured.options(account), None)  # type: ignore[arg-type]
    node.create_gpus()
    line = _refused(node, exception.EXIT_NO_PLACEMENT, "sync")
    assert said in line
    assert "secret" not in line


# Nothing of a secret.


def test_a_password_is_in_no_output(node: Node) -> None:
    node.sections["placement"] = {
        "auth_type": "password",
        "auth_url": gpu_node.free_port_url(),
        "username": "mig",
        "password": "s3cr3t-w0rd",
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    node.write_config()
    done = node.tool("-vv", "--debug", "sync")
    assert done.returncode != exception.EXIT_OK
    assert "s3cr3t-w0rd" not in done.stdout + done.stderr


# The simulator's commands.


def test_a_simulated_node_is_made_disturbed_and_rebooted(
    node: Node, tmp_path: pathlib.Path
) -> None:
    state = str(tmp_path / "other.json")
    for arguments in (
        ("create", state, "A100-40GB", "--mig"),
        ("add", state, "0", "4g.20gb@0", "19@4"),
        ("remove", state, "0", "4:1"),
        ("xid", state, "0", "79"),
        ("lose", state, "0"),
        ("return", state, "0"),
        ("mode", state, "0", "off"),
        ("reset", state, "0"),
        ("reboot", state),
        ("show", state),
    ):
        done = node.tool("simulate", *arguments)
        assert done.returncode == exception.EXIT_OK, (arguments, done.stderr)


def test_what_a_simulated_node_refuses_is_2(node: Node) -> None:
    line = _refused(
        node,
        exception.EXIT_USAGE,
        "simulate",
        "add",
        node.gpus.path,
        "0",
        "7g.40gb",
    )
    assert "refused" in line


def test_commands_without_placement_do_not_import_the_sdk(
    node: Node,
) -> None:
    node.environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    for command in ("check", "discover", "profiles"):
        imported = node.tool(command).stderr
        assert "pynvml" in imported
        for heavy in (
            "openstack",
            "keystoneauth1",
            "oslo_log.log",
            "eventlet",
        ):
            assert f" {heavy}\n" not in imported, (command, heavy)


class Applying:
    """An ``apply`` that runs a script, with which it resets a GPU.

    :param script: is given a pipe as descriptor 3.
    """

    def __init__(self, node: Node, script: str, *prefix: str) -> None:
        held = node.folder / "held"
        os.mkfifo(held)
        self._pipe = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
        script = f"exec 3>{held}; {script}"
        node.gpus.create(["A100-40GB"], overwrite=True)
        node.sections["layout"] |= {
            "allow_gpu_reset": "true",
            "reset_command": f"sh -c {shlex.quote(script)}",
        }
        node.write_config()
        self.process = node.start([*prefix, *node._command("tool"), "apply"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pipe)

    def said(self) -> bytes | None:
        """None: nothing, by who has the pipe open; nobody has: b""."""
        try:
            return os.read(self._pipe, 1)
        except BlockingIOError:
            return None


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_an_apply_that_is_told_to_end_leaves_no_tool_behind(
    node: Node, number: signal.Signals
) -> None:
    script = "echo >&3; sleep 600 & wait"
    # Whoever runs the tests may have been started by nohup.
    prefix = ("env", "--default-signal=HUP")
    with Applying(node, script, *prefix) as applying:
        gpu_node.within(lambda: applying.said() == b"\n", 60)
        assert lock.apply_runs(node.run_dir)
        applying.process.send_signal(number)
        # As whatever else hears of the lost connection does.
        applying.process.send_signal(signal.SIGTERM)
        assert applying.process.wait(gpu_node.PATIENCE) == 128 + number
        assert applying.said() == b"", "nobody is left"
    assert not lock.apply_runs(node.run_dir)
    assert node.candidates() == 0


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_an_apply_that_is_told_twice_makes_the_steps_that_it_began(
    node: Node, first: signal.Signals
) -> None:
    """Who sees nothing happen presses Ctrl-C again."""
    node.gpus.set_delay(200)
    before = node.gpus.mutations
    tool = [*node._command("tool"), "apply", "--empty"]
    applying = node.start(["env", "--default-signal=INT", *tool])
    gpu_node.within(lambda: node.gpus.mutations > before, 60)
    applying.send_signal(first)
    time.sleep(0.1)
    applying.send_signal(signal.SIGINT)
    assert lock.apply_runs(node.run_dir)
    assert applying.wait(gpu_node.PATIENCE) == 128 + first
    assert node.gpus.summary()["gpus"][0]["instances"] == []


def test_apply_empty_leaves_a_pending_mode_alone(node: Node) -> None:
    node.gpus.create(["A100-40GB"], overwrite=True)
    node.gpus.set_mig(0, True)
    before = node.gpus.mutations
    done = node.tool("apply", "--empty")
    assert done.returncode == exception.EXIT_OK, done.stdout + done.stderr
    assert node.gpus.mutations == before


def test_an_apply_under_nohup_is_not_ended_by_a_lost_connection(
    node: Node,
) -> None:
    with Applying(node, "echo >&3; sleep 1", "nohup") as applying:
        gpu_node.within(lambda: applying.said() == b"\n", 60)
        applying.process.send_signal(signal.SIGHUP)
        assert applying.process.wait(60) == exception.EXIT_MISMATCH
