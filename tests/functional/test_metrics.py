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
"""What Prometheus reads of a running agent, and its report on SIGUSR2."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import parser

from mig_placement.demo import server_process
from tests.functional import gpu_node
from tests.functional import placement_app

Node = gpu_node.GpuNode
_TITLES = {"Guru Meditation", "Verdict", "GPUs", "Layout", "Last plan"}


class Metrics:
    """The metrics of a node's agent, over HTTP."""

    def __init__(self, node: Node) -> None:
        self.port = server_process.ReservedPort()
        self.address = f"127.0.0.1:{self.port.number}"
        node.sections["metrics"] = {"listen": self.address}
        node.write_config()

    def text(self) -> str:
        url = f"http://{self.address}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            return ""

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """By the labels' values, the GPU's UUID left out."""
        return {
            tuple(v for k, v in sorted(s.labels.items()) if k != "uuid"): (
                s.value
            )
            for family in parser.text_string_to_metric_families(self.text())
            for s in family.samples
            if s.name == f"mig_placement_{name}"
        }

    def wait_for(self, name: str, value: float, *labels: str) -> None:
        gpu_node.within(lambda: self.samples(name).get(labels) == value)


@pytest.fixture
def metrics(node: Node) -> Iterator[Metrics]:
    made = Metrics(node)
    yield made
    made.port.release()


def test_an_open_gate_and_its_instances_are_in_the_metrics(
    node: Node, metrics: Metrics
) -> None:
    node.start_agent()
    metrics.wait_for("gate_state", 1, "open")
    assert metrics.samples("gpu_open") == {("0",): 1}
    assert metrics.samples("placement_in_step") == {(): 1}
    assert metrics.samples("instances") == {
        ("0", "1g.5gb", "offered"): 7,
        ("0", "1g.5gb", "closed"): 0,
        ("0", "1g.5gb", "unknown"): 0,
        ("0", "1g.5gb", "unfit"): 0,
    }
    assert metrics.samples("cycle_duration_seconds_count")[()] >= 1
    requests = metrics.samples("placement_request_duration_seconds_count")
    assert requests[("GET",)] >= 1
    assert requests[("PUT",)] >= 1


def test_a_gate_that_closes_is_seen_with_its_reason(
    node: Node, metrics: Metrics
) -> None:
    node.start_agent()
    metrics.wait_for("gate_state", 1, "open")
    assert metrics.samples("gate_reasons")[("INSTANCE_MISSING",)] == 0
    node.gpus.destroy_instance(0, (3, 1))
    metrics.wait_for("gate_state", 1, "closed")
    assert metrics.samples("gate_state")[("open",)] == 0
    assert metrics.samples("gate_reasons")[("INSTANCE_MISSING",)] == 1
    assert metrics.samples("gpu_open") == {("0",): 0}
    assert metrics.samples("instances")[("0", "1g.5gb", "closed")] == 6


def test_an_unfit_instance_is_told_from_those_that_are_offered(
    node: Node, metrics: Metrics
) -> None:
    node.start_agent()
    metrics.wait_for("gate_state", 1, "open")
    node.gpus.send_xid(0, 94, (2, 1))
    metrics.wait_for("instances", 1, "0", "1g.5gb", "unfit")
    assert metrics.samples("instances")[("0", "1g.5gb", "offered")] == 6


def test_what_the_metrics_say_is_what_the_status_says(
    node: Node, metrics: Metrics
) -> None:
    node.sections["agent"]["interval"] = "600"
    node.write_config()
    node.start_agent()
    metrics.wait_for("gate_state", 1, "open")
    written = node.status()["written"]
    served = metrics.samples("last_cycle_timestamp_seconds")[()]
    assert served == pytest.approx(written, abs=0.001)


def test_a_placement_that_is_gone_shows_and_the_last_success_stays(
    node: Node, metrics: Metrics
) -> None:
    node.start_agent()
    metrics.wait_for("placement_in_step", 1)
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    last = "placement_last_success_timestamp_seconds"
    agent = node.start_agent()
    assert agent.wait(gpu_node.PATIENCE) != 0, "one agent a node"
    node.stop_agents()
    node.start_agent()
    metrics.wait_for("placement_in_step", 0)
    assert metrics.samples("gate_state")[("unknown",)] == 1
    assert metrics.samples("instances")[("0", "1g.5gb", "unknown")] == 7
    gpu_node.within(lambda: metrics.samples("retries_total")[()] >= 2)
    assert time.time() - 60 < metrics.samples(last)[()] < time.time()


@pytest.mark.parametrize(
    ("fails", "result"), [(0, "succeeded"), (3, "failed")]
)
def test_a_restore_is_counted(
    fails: int, result: str, node: Node, metrics: Metrics
) -> None:
    node.sections["layout"]["apply"] = "native"
    node.write_config()
    node.gpus.clear(0)
    if fails:
        node.gpus.fail_next(fails)
    node.start_agent()
    gpu_node.within(
        lambda: metrics.samples("restores_total").get((result,), 0) >= 1
    )


def test_a_port_that_is_taken_is_one_line_and_the_gate_is_guarded(
    node: Node, metrics: Metrics
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", metrics.port.number))
        other.listen()
        node.start_agent()
        node.opens()
        gpu_node.within(lambda: "cannot listen on" in node.log_text())
        node.gpus.destroy_instance(0, (3, 1))
        node.closes("INSTANCE_MISSING")
        node.turn()
        assert node.log_text().count("cannot listen on") == 1
        assert "Traceback" not in node.log_text()
    metrics.wait_for("gate_state", 1, "closed")


def test_an_address_that_is_not_there_does_not_keep_the_gate_shut(
    node: Node,
) -> None:
    # 192.0.2.0/24 is for documentation.
    node.sections["metrics"] = {
        "listen": "192.0.2.1:9421",
        "allow_remote": "true",
    }
    node.write_config()
    node.start_agent()
    node.opens()
    gpu_node.within(lambda: "cannot listen on 192.0.2.1" in node.log_text())


@pytest.mark.parametrize("text", ["0.0.0.0:9421", "[::]:9421", "9421"])
def test_an_address_that_others_reach_is_refused(
    text: str, node: Node
) -> None:
    node.sections["metrics"] = {"listen": text}
    node.write_config()
    agent = node.start_agent()
    assert agent.wait(gpu_node.PATIENCE) == 2
    assert agent.stderr
    line = agent.stderr.read().decode()
    assert "[metrics] listen" in line
    assert line.count("\n") == 1


def test_metrics_are_served_on_after_sighup(
    node: Node, metrics: Metrics
) -> None:
    agent = node.start_agent()
    metrics.wait_for("gate_state", 1, "open")
    before = metrics.samples("cycle_duration_seconds_count")[()]
    agent.send_signal(signal.SIGHUP)
    gpu_node.within(lambda: "configuration read again" in node.log_text())
    metrics.wait_for("gate_state", 1, "open")
    after = metrics.samples("cycle_duration_seconds_count")[()]
    assert after >= before, "the counts go on"


def test_clients_that_say_nothing_do_not_add_up(
    node: Node, metrics: Metrics
) -> None:
    agent = node.start_agent()
    metrics.wait_for("gate_state", 1, "open")
    before = _threads(agent)
    with contextlib.ExitStack() as idle:
        for _ in range(50):
            idle.enter_context(
                socket.create_connection(("127.0.0.1", metrics.port.number))
            )
        gpu_node.within(lambda: _threads(agent) > before)
        assert _threads(agent) <= before + 8
        node.gpus.destroy_instance(0, (3, 1))
        node.closes("INSTANCE_MISSING")
    metrics.wait_for("gate_state", 1, "closed")


def test_nothing_but_metrics_is_served(node: Node, metrics: Metrics) -> None:
    node.start_agent()
    metrics.wait_for("gate_state", 1, "open")
    assert _status(metrics, "GET", "/../../etc/passwd") == 404
    assert _status(metrics, "POST", "/metrics") == 501


_LAZY = """
import sys
import mig_placement.cmd.agent
lazy = ("prometheus_client", "oslo_reports", "http.server", "jinja2")
print(sorted(set(lazy) & set(sys.modules)))
"""


def test_an_agent_without_metrics_loads_nothing_for_them() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LAZY], capture_output=True, check=True
    )
    assert run.stdout == b"[]\n"


_MISSING = """
import sys
sys.modules[{name!r}] = None
from mig_placement.cmd import agent
sys.exit(agent.main([{config!r}]))
"""


def _agent_without(name: str, node: Node) -> "subprocess.Popen[bytes]":
    config = f"--config-file={node.config}"
    return node.start(
        [
            sys.executable,
            "-c",
            _MISSING.format(name=name, config=config),
        ]
    )


def test_metrics_without_their_package_are_a_configuration_error(
    node: Node, metrics: Metrics
) -> None:
    agent = _agent_without("prometheus_client", node)
    assert agent.wait(gpu_node.PATIENCE) == 2
    assert agent.stderr
    line = agent.stderr.read().decode()
    assert "pip install 'mig-placement[metrics]'" in line
    assert line.count("\n") == 1


def _reports(agent: "subprocess.Popen[bytes]", node: Node) -> str:
    """Ask for a report and read it."""
    folder = node.folder / "reports"
    before = set(folder.iterdir())
    agent.send_signal(signal.SIGUSR2)
    made = gpu_node.within(lambda: set(folder.iterdir()) - before)
    (path,) = made
    gpu_node.within(lambda: f"report written to {path}" in node.log_text())
    assert path.stat().st_mode & 0o077 == 0o040
    return str(path.read_text())


@pytest.fixture
def reporting(node: Node) -> Node:
    pytest.importorskip("oslo_reports")
    folder = node.folder / "reports"
    folder.mkdir()
    node.sections["oslo_reports"] = {"log_dir": str(folder)}
    node.write_config()
    return node


def test_sigusr2_makes_a_report_and_the_agent_goes_on(
    reporting: Node,
) -> None:
    node = reporting
    node.sections["layout"]["apply"] = "native"
    node.write_config()
    node.gpus.destroy_instance(0, (3, 1))
    agent = node.start_agent()
    node.opens()
    text = _reports(agent, node)
    titles = {line.strip(" =") for line in text.splitlines() if "==" in line}
    assert titles >= _TITLES
    assert "create GPU instance 1g.5gb at 3:1" in text
    assert node.status()["gpus"][0]["uuid"] in text
    assert "_loop" in text, "the stack of the main thread"
    node.gpus.destroy_instance(0, (5, 1))
    node.gpus.fail_next(3)
    node.turn()
    assert agent.poll() is None


def test_no_secret_is_in_a_report(reporting: Node) -> None:
    node = reporting
    secrets = ("s3cret-of-placement", "s3cret-of-nova")
    node.sections["placement"] |= {
        "auth_type": "password",
        "auth_url": gpu_node.free_port_url(),
        "username": "placement",
        "password": secrets[0],
        "project_name": "service",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    node.sections["nova"] = {
        **node.sections["placement"],
        "password": secrets[1],
    }
    node.sections["gate"]["compute_service"] = "true"
    node.write_config()
    agent = node.start_agent()
    node.status()
    text = _reports(agent, node)
    assert "password = ***" in text
    assert "auth-url = http" in text
    assert not [each for each in secrets if each in text]


def test_a_report_is_made_while_placement_hangs(
    reporting: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    node = reporting
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node.sections["placement"]["endpoint_override"] = (
            f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        node.sections["placement"]["timeout"] = "60"
        node.write_config()
        agent = node.start_agent()
        silent.settimeout(gpu_node.PATIENCE)
        connection, _ = silent.accept()
        with connection:
            text = _reports(agent, node)
    assert "no cycle has ended yet" in text
    assert "_passed" in text, "where the main thread waits"


def test_without_a_directory_the_report_goes_to_standard_error(
    node: Node,
) -> None:
    pytest.importorskip("oslo_reports")
    agent = node.start_agent()
    node.opens()
    agent.send_signal(signal.SIGUSR2)
    assert agent.stderr
    lines = iter(agent.stderr.readline, b"")
    assert any(b"Guru Meditation" in line for line in lines)


def test_many_signals_at_once_do_no_harm(reporting: Node) -> None:
    agent = reporting.start_agent()
    reporting.opens()
    for _ in range(500):
        agent.send_signal(signal.SIGUSR2)
    # As many as there were seconds.
    gpu_node.within(lambda: "report written to" in reporting.log_text())
    reporting.gpus.destroy_instance(0, (3, 1))
    reporting.closes("INSTANCE_MISSING")


def test_sigusr2_before_the_first_cycle_ends_nothing(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node.sections["placement"]["endpoint_override"] = (
            f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        node.sections["gate"]["scope"] = "rack"
        node.write_config()
        agent = node.start_agent()
        silent.settimeout(gpu_node.PATIENCE)
        connection, _ = silent.accept()
        with connection:
            agent.send_signal(signal.SIGUSR2)
            connection.recv(1)
            assert agent.poll() is None
    assert agent.wait(gpu_node.PATIENCE) == 2


def test_without_the_package_sigusr2_ends_nothing(node: Node) -> None:
    agent = _agent_without("oslo_reports", node)
    node.opens()
    agent.send_signal(signal.SIGUSR2)
    gpu_node.within(lambda: "mig-placement[reports]" in node.log_text())
    node.gpus.destroy_instance(0, (3, 1))
    node.closes("INSTANCE_MISSING")
    assert agent.poll() is None


def _threads(agent: "subprocess.Popen[bytes]") -> int:
    return len(os.listdir(f"/proc/{agent.pid}/task"))


def _status(metrics: Metrics, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(metrics.address, timeout=5)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    finally:
        connection.close()
