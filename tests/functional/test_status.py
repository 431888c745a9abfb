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
"""status: a real agent's node, drawn on a terminal and into a pipe."""

import fcntl
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import termios
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from mig_placement import exception
from tests.functional import gpu_node

Node = gpu_node.GpuNode

_ROOT = pathlib.Path(__file__).parents[2]
_OPERATIONS = _ROOT / "doc/source/operations.rst"
_ESCAPE = "\x1b"
_SGR = re.compile(r"\x1b\[[0-9;]*m")


def _declare(node: Node, devices: str) -> None:
    node.layout.write_text(gpu_node.LAYOUT.replace('{"1g.5gb": 7}', devices))


@pytest.fixture
def amiss(node: Node) -> Node:
    """An agent runs; of its GPU something is missing, extra, sick, used."""
    _declare(node, '{"1g.5gb": 4, "3g.20gb": 1}')
    node.gpus.clear(0)
    for start in (0, 1, 2):
        node.gpus.create_instance(0, "1g.5gb", start)
    node.gpus.create_instance(0, "2g.10gb", 4)
    node.gpus.add_process(0, (0, 1), 4711)
    node.start_agent()
    gpu_node.within(lambda: node.blocked_by())
    node.gpus.send_xid(0, 94, (2, 1))
    gpu_node.within(lambda: _instances(node)[2]["xids"])
    return node


def _instances(node: Node) -> list[dict[str, object]]:
    (gpu,) = gpu_node.within(lambda: node.status()["gpus"])
    found: list[dict[str, object]] = gpu["instances"]
    return sorted(found, key=lambda each: str(each["start"]))


def _on_terminal(node: Node, columns: int = 100, **environment: str) -> str:
    """What a terminal of so many columns is given as standard output."""
    terminal, end = pty.openpty()
    size = struct.pack("HHHH", 50, columns, 0, 0)
    fcntl.ioctl(end, termios.TIOCSWINSZ, size)
    ours = {k: v for k, v in node.environment.items() if k != "COLUMNS"}
    ours.pop("NO_COLOR", None)
    with subprocess.Popen(
        [*node._command("tool"), "status"],
        stdin=subprocess.DEVNULL,
        stdout=end,
        stderr=subprocess.PIPE,
        env={**ours, "TERM": "xterm", **environment},
    ) as process:
        os.close(end)
        text = _all_of(terminal)
        error = process.stderr.read() if process.stderr else b""
    assert process.returncode == exception.EXIT_MISMATCH, error
    return text.replace("\r\n", "\n")


def _all_of(terminal: int) -> str:
    parts = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except OSError:
        pass  # The other end is closed.
    finally:
        os.close(terminal)
    return b"".join(parts).decode()


def test_the_sample_in_the_documentation_is_what_is_printed(
    amiss: Node,
) -> None:
    done = amiss.tool("status")
    assert done.returncode == exception.EXIT_MISMATCH, done.stderr
    drawn, _, _ = done.stdout.partition("\n+-")
    shown = re.sub(r"since \S+", "since 2026-07-01T09:30:00+00:00", drawn)
    assert textwrap.indent(shown.rstrip(), "   ") in _OPERATIONS.read_text()


def test_a_terminal_gets_colour_and_else_the_same_as_a_pipe(
    amiss: Node,
) -> None:
    coloured = _on_terminal(amiss)
    assert f"{_ESCAPE}[1;31m!1g.5gb" in coloured
    assert (
        _SGR.sub("", coloured).partition("\n+-")[0]
        == (amiss.tool("status").stdout.partition("\n+-")[0])
    )


@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str
)
def test_who_wants_no_colour_gets_none(
    amiss: Node, environment: dict[str, str]
) -> None:
    shown = _on_terminal(amiss, 100, **environment)
    assert _ESCAPE not in shown
    assert "!1g.5gb" in shown


def test_a_pipe_gets_no_colour(amiss: Node) -> None:
    amiss.environment["TERM"] = "xterm"
    assert _ESCAPE not in amiss.tool("status").stdout


@pytest.mark.parametrize("columns", [60, 20])
def test_the_drawing_fits_a_narrow_terminal(amiss: Node, columns: int) -> None:
    shown = _SGR.sub("", _on_terminal(amiss, columns))
    rows = re.findall(r"^  (?:declared|observed).*", shown, re.MULTILINE)
    assert rows
    assert all(len(row) <= max(columns, 30) for row in rows)


def test_json_has_what_is_drawn(amiss: Node) -> None:
    value = json.loads(amiss.tool("status", "-f", "json").stdout)
    (gpu,) = value["gpus"]
    assert [(e["start"], e["state"]) for e in gpu["declared"]] == [
        (0, "ok"),
        (1, "ok"),
        (2, "ok"),
        (3, "missing"),
        (4, "missing"),
    ]
    by_start = {each["start"]: each for each in gpu["instances"]}
    assert by_start[0]["processes"] == 1
    assert by_start[2]["xids"] == [94]
    assert by_start[4]["state"] == "extra"
    assert value["next"].startswith("wait: [layout] apply is none")


def test_a_hold_and_its_reason_are_shown(node: Node) -> None:
    node.start_agent()
    node.opens()
    assert node.tool("hold", "new fans").returncode == exception.EXIT_OK
    done = node.tool("status")
    assert "HOLD: new fans (since" in done.stdout
    assert "next: nothing: held by an operator" in done.stdout
    assert "None" not in done.stdout
    assert "\n\n\n" not in done.stdout
    value = json.loads(node.tool("status", "-f", "json").stdout)
    assert value["hold"].startswith("new fans (since")


def test_a_placement_that_is_silent_is_asked_again(node: Node) -> None:
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    node.start_agent()
    coming = gpu_node.within(lambda: node.status()["next"])
    assert re.fullmatch(r"retry Placement in \d+ s", coming)


def test_a_restore_that_waits_for_a_process_says_so(node: Node) -> None:
    node.sections["layout"]["apply"] = "native"
    node.write_config()
    node.gpus.clear(0)
    node.gpus.create_instance(0, "7g.40gb", 0)
    node.gpus.add_process(0, (0, 8), 4711)
    node.start_agent()
    gpu_node.within(
        lambda: node.status()["next"] == "wait: instances in use on GPU 0"
    )


def _without_next(value: dict[str, Any]) -> None:
    """As of the version before this one."""
    del value["next"]


def _of_strange_gpus(value: dict[str, Any]) -> None:
    value["gpus"] = [{"index": 0, "declared": 7}]


def _of_a_strange_state(value: dict[str, Any]) -> None:
    value["gpus"][0]["instances"][0]["state"] = ["ok"]


@pytest.mark.parametrize(
    "change", [_without_next, _of_strange_gpus, _of_a_strange_state]
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_a_status_file_of_another_version_is_2(
    node: Node, change: Callable[[dict[str, Any]], None], form: str
) -> None:
    agent = node.start_agent()
    node.opens()
    gpu_node.within(lambda: node.status()["gate"]["state"] == "open")
    agent.terminate()
    agent.wait(gpu_node.PATIENCE)
    value = node.status()
    change(value)
    (node.run_dir / "status.json").write_text(json.dumps(value))
    done = node.tool("status", "-f", form)
    assert done.returncode == exception.EXIT_USAGE
    (line,) = done.stderr.splitlines()
    assert "of another version" in line


def test_no_name_in_the_status_file_can_command_a_terminal(
    node: Node,
) -> None:
    agent = node.start_agent()
    node.opens()
    agent.terminate()
    agent.wait(gpu_node.PATIENCE)
    value = node.status()
    evil = "\x1b]0;owned\x07\x9b2J\u202e\n"
    value["gpus"][0]["product"] = value["layout"]["label"] = evil
    value["gpus"][0]["instances"][0]["profile"] = evil
    value["next"] = evil
    (node.run_dir / "status.json").write_text(json.dumps(value))
    shown = _on_terminal(node)
    assert "owned" in shown
    assert not set("\x07\x9b\u202e") & set(_SGR.sub("", shown))
    assert _ESCAPE not in _SGR.sub("", shown)
