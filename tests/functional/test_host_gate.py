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

"""The host gate where Nova fails: real clients, faults over TCP.

What a working Nova does is in tests/nova, with a real one.
"""

import json
import pathlib
from collections.abc import Iterator

import pytest
from oslo_config import cfg

from mig_placement import conf
from mig_placement import exception
from mig_placement.nova import compute_service
from mig_placement.nova import connection
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node

Node = gpu_node.GpuNode
Proxy = faulty_server.FaultProxy

UUID = "11111111-1111-4111-8111-111111111111"
ENABLED = {
    "id": UUID,
    "binary": "nova-compute",
    "host": "node1",
    "status": "enabled",
    "state": "up",
    "disabled_reason": None,
    "forced_down": False,
}
OURS = {
    **ENABLED,
    "status": "disabled",
    "disabled_reason": "mig-placement: HOLD: fans",
}


@pytest.fixture
def nova() -> Iterator[Proxy]:
    """No Nova: what no rule takes is answered with 503."""
    with Proxy() as proxy:
        yield proxy


def _options(url: str, **more: str) -> dict[str, str]:
    return {
        "auth_type": "admin_token",
        "endpoint": url,
        "token": "admin",
        "endpoint_override": url,
        "timeout": "1",
        **more,
    }


def _configured(
    tmp_path: pathlib.Path, options: dict[str, str]
) -> cfg.ConfigOpts:
    lines = [f"{name} = {value}" for name, value in options.items()]
    path = tmp_path / "nova.conf"
    path.write_text("\n".join(["[nova]", *lines, ""]))
    return conf.parse([f"--config-file={path}"])


@pytest.fixture
def gate(tmp_path: pathlib.Path, nova: Proxy) -> compute_service.HostGate:
    options = _configured(tmp_path, _options(nova.url))
    return compute_service.HostGate(connection.adapter(options), "node1")


def _services(*services: object) -> faults.Answer:
    return faults.json_answer({"services": services})


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(faults.html(401), "refused (401)", id="401"),
        pytest.param(faults.html(403), "admin role", id="403"),
        pytest.param(faults.html(404), "unexpected HTTP status 404", id="404"),
        pytest.param(faults.html(500), "HTTP status 500", id="500"),
        pytest.param(faults.too_many(), "HTTP status 429", id="429"),
        pytest.param(faults.html(200), "load balancer", id="login page"),
        pytest.param(faults.broken_json(), "load balancer", id="cut off"),
        pytest.param(faults.json_answer([]), "not one of Nova's", id="list"),
        pytest.param(faults.json_answer(None), "not one of Nova's", id="null"),
        pytest.param(
            faults.json_answer({"services": {}}), "not a list", id="no list"
        ),
        pytest.param(_services(None), "not one of Nova's", id="no service"),
        pytest.param(_services(), "0 nova-compute services", id="none"),
        pytest.param(
            _services(ENABLED, ENABLED), "2 nova-compute", id="two of them"
        ),
        pytest.param(
            _services({**ENABLED, "host": "node2"}), "0 nova", id="another's"
        ),
        pytest.param(
            _services({**ENABLED, "binary": "nova-conductor"}),
            "0 nova",
            id="another service",
        ),
        pytest.param(
            _services({**ENABLED, "id": 7}), "not one of Nova's", id="old API"
        ),
        pytest.param(
            _services({**ENABLED, "id": "../flavors"}), "not a uuid", id="id"
        ),
        pytest.param(
            _services({**ENABLED, "status": "UNKNOWN"}), "status", id="status"
        ),
        pytest.param(
            _services({**ENABLED, "disabled_reason": 1}), "reason", id="reason"
        ),
        pytest.param(faults.Drop(reset=True), "no usable answer", id="reset"),
        pytest.param(
            faults.Slow(5, faults.html(200)), "no usable answer", id="slow"
        ),
        pytest.param(faults.Stall(), "no usable answer", id="stalled"),
    ],
)
def test_what_nova_answers_wrongly_is_one_line_and_changes_nothing(
    fault: faults.Fault,
    said: str,
    gate: compute_service.HostGate,
    nova: Proxy,
) -> None:
    nova.add(fault)
    trouble = gate.keep(False, "HOLD: fans")
    assert said in trouble
    assert "\n" not in trouble
    assert "; " in trouble  # the mend
    assert gate.service is None
    assert nova.log.writes() == []


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500])
def test_a_write_that_is_refused_is_told(
    status: int, gate: compute_service.HostGate, nova: Proxy
) -> None:
    nova.add(faults.html(status), method="PUT")
    nova.add(_services(ENABLED), method="GET")
    assert f"{status}" in gate.keep(False, "HOLD: fans")
    assert nova.log.count("PUT") == 1


def test_a_service_is_named_by_uuid_and_its_reason_given(
    gate: compute_service.HostGate, nova: Proxy
) -> None:
    nova.add(faults.json_answer({"service": OURS}), method="PUT")
    nova.add(_services(ENABLED), method="GET")
    assert gate.keep(False, "HOLD: fans") == ""
    assert str(gate.service) == "disabled by us"
    read, written = nova.log.exchanges
    assert read.query == "binary=nova-compute&host=node1"
    assert written.path == f"/os-services/{UUID}"
    assert written.json() == {
        "status": "disabled",
        "disabled_reason": "mig-placement: HOLD: fans",
    }


def test_a_service_is_read_again_before_it_is_enabled(
    gate: compute_service.HostGate, nova: Proxy
) -> None:
    nova.add(_services(OURS), method="GET", times=1)
    assert gate.keep(False, "HOLD: fans") == ""
    operators = {**OURS, "disabled_reason": "broken fan"}
    nova.add(_services(operators), method="GET")
    assert gate.keep(True, "") == ""
    assert nova.log.writes() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"auth_type": ""}, "auth_type is not set"),
        ({"auth_type": "password"}, "not complete"),
        ({"auth_type": "nonsense"}, "not complete"),
        ({"timeout": "soon"}, "timeout"),
    ],
)
def test_credentials_that_are_not_complete_are_a_configuration_error(
    options: dict[str, str], said: str, tmp_path: pathlib.Path
) -> None:
    given = {"auth_type": "admin_token", **options}
    configured = _configured(tmp_path, given)
    with pytest.raises(exception.ConfigError, match=said) as caught:
        connection.adapter(configured)
    assert "[nova]" in str(caught.value)


# The agent.


def _ask_for(node: Node, url: str, **options: str) -> None:
    node.sections["gate"]["compute_service"] = "true"
    node.sections["nova"] = _options(url, **options)
    node.write_config()


def _line(node: Node) -> str:
    return str(node.status().get("compute_service"))


def test_a_nova_that_hangs_does_not_keep_placement_from_closing(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.Slow(300))
    _ask_for(node, nova.url, timeout="300")
    node.start_agent()
    node.opens()
    gpu_node.within(lambda: nova.log.count("GET"))
    node.gpus.destroy_instance(0, (3, 1))
    gpu_node.within(lambda: node.candidates(required=False) == 0, 3)
    node.gpus.create_instance(0, "1g.5gb", 3)
    node.opens()


def test_a_nova_that_hangs_does_not_keep_the_agent_from_ending(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.Slow(300))
    _ask_for(node, nova.url, timeout="300")
    agent = node.start_agent()
    gpu_node.within(lambda: nova.log.count("GET"))
    agent.terminate()
    assert agent.wait(5) == exception.EXIT_OK


def test_a_user_who_may_not_is_told_once_and_the_gate_goes_on(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.html(403))
    _ask_for(node, nova.url)
    node.start_agent()
    node.opens()
    gpu_node.within(lambda: nova.log.count("GET") >= 4)
    gpu_node.within(lambda: "(403)" in _line(node))
    node.gpus.destroy_instance(0, (3, 1))
    node.closes("INSTANCE_MISSING")
    told = [line for line in node.log_text().splitlines() if "(403)" in line]
    assert len(told) == 1
    assert "compute service: Nova /os-services" in told[0]
    assert "admin role" in told[0]


def test_a_nova_that_comes_back_is_told_what_is_so_by_then(
    node: Node, nova: Proxy
) -> None:
    _ask_for(node, nova.url)
    node.gpus.destroy_instance(0, (3, 1))
    node.start_agent()
    gpu_node.within(lambda: "HTTP status 503" in _line(node))
    nova.add(faults.json_answer({"service": OURS}), method="PUT")
    nova.add(_services(ENABLED), method="GET")
    gpu_node.within(lambda: _line(node) == "disabled by us")
    (written, *_) = nova.log.writes()
    reason = written.json()["disabled_reason"]
    assert reason.startswith("mig-placement: INSTANCE_MISSING: GPU 0: 1 of 7")
    shown = json.loads(node.tool("status", "-f", "json").stdout)
    assert shown["compute_service"] == "disabled by us"


def test_what_opens_waits_for_placement(node: Node, nova: Proxy) -> None:
    nova.add(faults.json_answer({"service": ENABLED}), method="PUT")
    nova.add(_services(OURS), method="GET")
    _ask_for(node, nova.url)
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    node.start_agent()
    gpu_node.within(lambda: node.status()["gate"]["state"] == "unknown")
    gpu_node.within(lambda: node.log_text().count("no usable answer"))
    assert nova.log.exchanges == []


def test_what_closes_does_not_wait_for_placement(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.json_answer({"service": OURS}), method="PUT")
    nova.add(_services(ENABLED), method="GET")
    _ask_for(node, nova.url)
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    node.gpus.destroy_instance(0, (3, 1))
    node.start_agent()
    gpu_node.within(lambda: nova.log.count("PUT"))


def _wait_for_tick(node: Node) -> None:
    seen = node.status()["written"]
    gpu_node.within(lambda: node.status()["written"] > seen)


def test_a_steady_agent_asks_nova_once_in_an_interval(
    node: Node, nova: Proxy
) -> None:
    nova.add(_services(ENABLED), method="GET")
    _ask_for(node, nova.url)
    node.sections["agent"]["interval"] = "3600"
    node.write_config()
    node.start_agent()
    node.opens()
    gpu_node.within(lambda: _line(node) == "enabled")
    for text in ("# one\n", "# two\n", "# three\n"):
        node.layout.write_text(gpu_node.LAYOUT + text)
        _wait_for_tick(node)
    assert nova.log.count() == 1


def test_an_agent_without_the_option_leaves_nova_alone(
    node: Node, nova: Proxy
) -> None:
    _ask_for(node, nova.url)
    node.sections["gate"]["compute_service"] = "false"
    node.write_config()
    node.start_agent()
    node.opens()
    node.gpus.destroy_instance(0, (3, 1))
    node.closes("INSTANCE_MISSING")
    assert nova.log.exchanges == []


def test_missing_credentials_close_the_gate_and_end_the_agent(
    node: Node,
) -> None:
    assert node.tool("sync").returncode == 0
    assert node.candidates() == 1
    node.sections["gate"]["compute_service"] = "true"
    node.write_config()
    agent = node.start_agent()
    assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_USAGE
    assert agent.stderr
    assert b"[nova]: auth_type is not set" in agent.stderr.read()
    node.closes("CONFIG_INVALID")


def _host_stops(node: Node) -> None:
    """From now on systemd says that the host is being shut down."""
    programs = node.folder / "bin"
    programs.mkdir()
    systemctl = programs / "systemctl"
    systemctl.write_text("#!/bin/sh\necho stopping\nexit 1\n")
    systemctl.chmod(0o755)
    node.environment["PATH"] = f"{programs}:{node.environment['PATH']}"


def test_a_shutdown_of_the_host_disables_the_service(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.json_answer({"service": OURS}), method="PUT")
    nova.add(_services(ENABLED), method="GET")
    _ask_for(node, nova.url)
    _host_stops(node)
    agent = node.start_agent()
    gpu_node.within(lambda: _line(node) == "enabled")
    agent.terminate()
    assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_OK
    (written,) = nova.log.writes()
    assert written.json()["disabled_reason"].startswith(
        "mig-placement: SHUTDOWN"
    )
    node.closes("SHUTDOWN")


def test_a_restart_of_the_agent_leaves_the_service_as_it_is(
    node: Node, nova: Proxy
) -> None:
    nova.add(_services(ENABLED), method="GET")
    _ask_for(node, nova.url)
    agent = node.start_agent()
    gpu_node.within(lambda: _line(node) == "enabled")
    agent.terminate()
    assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_OK
    assert nova.log.writes() == []


def test_a_nova_that_hangs_delays_a_shutdown_by_seconds_only(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.Slow(300))
    _ask_for(node, nova.url, timeout="300")
    _host_stops(node)
    agent = node.start_agent()
    node.opens()
    gpu_node.within(lambda: nova.log.count("GET"))
    agent.terminate()
    assert agent.wait(15) == exception.EXIT_OK
    node.closes("SHUTDOWN")
