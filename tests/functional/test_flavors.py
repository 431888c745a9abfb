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

"""The flavors command where Nova fails, or there is none.

What it does to a working Nova is in tests/nova, with a real one.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from mig_placement import conf
from mig_placement import exception
from mig_placement.nova import cloud as clouds
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node

Node = gpu_node.GpuNode
Proxy = faulty_server.FaultProxy

FLAVOR = {
    "id": "7",
    "name": "f",
    "vcpus": 1,
    "ram": 128,
    "disk": 0,
    "os-flavor-access:is_public": True,
    "extra_specs": {"resources_MIG:CUSTOM_MIG_1G_5GB": "1"},
}


@pytest.fixture
def nova(node: Node) -> Iterator[Proxy]:
    """No Nova but its version; what no rule takes is answered with 503."""
    with Proxy() as proxy:
        version = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": "2.96",
            "min_version": "2.1",
            "links": [{"rel": "self", "href": f"{proxy.url}/v2.1/"}],
        }
        proxy.add(faults.json_answer({"version": version}), path="v2.1/?$")
        node.sections["nova"] = {
            "auth_type": "admin_token",
            "endpoint": f"{proxy.url}/v2.1",
            "endpoint_override": f"{proxy.url}/v2.1",
            "token": "admin",
            "timeout": "2",
        }
        node.write_config()
        yield proxy


def _refused(node: Node, status: int, *arguments: str) -> str:
    done = node.tool("flavors", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("mig-placement: ")
    return line


def test_commands_are_printed_one_on_a_line(node: Node) -> None:
    done = node.tool("flavors", "--vcpus", "2", "--prefix", "gpu ")
    assert done.returncode == exception.EXIT_OK
    assert done.stdout.splitlines() == [
        "openstack --os-placement-api-version 1.6 trait create"
        " CUSTOM_MIG_NODE_READY",
        "openstack flavor create --vcpus 2 --ram 8192 --disk 20 --public"
        " 'gpu 1g.5gb'",
        "openstack flavor set --property resources_MIG:CUSTOM_MIG_1G_5GB=1"
        " --property trait:CUSTOM_MIG_NODE_READY=required 'gpu 1g.5gb'",
    ]


def test_commands_come_in_other_formats_too(node: Node) -> None:
    done = node.tool("flavors", "-f", "json")
    assert len(json.loads(done.stdout)) == 3


def test_a_profile_by_name_needs_neither_node_nor_layout(
    node: Node,
) -> None:
    node.gpus.delete()
    node.layout.unlink()
    done = node.tool("flavors", "--profile", "3g.20gb", "--attach", "vfio")
    assert done.returncode == exception.EXIT_OK
    assert "pci_passthrough:alias=mig-3g-20gb:1" in done.stdout


def test_a_model_needs_no_node(node: Node) -> None:
    node.gpus.delete()
    done = node.tool("flavors", "--model", "A100-40GB:2")
    assert "mig.1g.5gb" in done.stdout


def test_a_divided_instance_is_offered_by_its_parts(node: Node) -> None:
    node.layout.write_text(
        gpu_node.LAYOUT.replace('{"1g.5gb": 7}', '{"1c.3g.20gb": 3}')
    )
    assert "CUSTOM_MIG_1C_3G_20GB" in node.tool("flavors").stdout


def test_no_credentials_at_all_are_told(
    node: Node, tmp_path: pathlib.Path
) -> None:
    # Where neither clouds.yaml nor a variable is found.
    node.environment["HOME"] = str(tmp_path)
    line = _refused(node, exception.EXIT_USAGE, "--check")
    assert "[nova]: there are no credentials" in line
    assert "OS_CLOUD" in line


@pytest.mark.parametrize("action", ["--check", "--create"])
def test_a_user_who_may_not_is_one_line(
    action: str, node: Node, nova: Proxy
) -> None:
    nova.add(faults.html(403), path="/flavors")
    line = _refused(node, exception.EXIT_NO_PLACEMENT, action)
    assert "admin role" in line
    assert nova.log.writes() == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(faults.html(401), "refused (401)", id="401"),
        pytest.param(faults.html(403), "admin role", id="403"),
        pytest.param(faults.html(404), "HTTP status 404", id="404"),
        pytest.param(faults.html(500), "HTTP status 500", id="500"),
        pytest.param(faults.html(200), "no", id="login page"),
        pytest.param(faults.json_answer([]), "no", id="a list"),
        pytest.param(faults.json_answer({}), "no", id="no flavors"),
        pytest.param(faults.json_answer({"flavors": 1}), "no", id="a number"),
        pytest.param(
            faults.json_answer({"flavors": [FLAVOR | {"extra_specs": [1]}]}),
            "not one of Nova's",
            id="keys that are none",
        ),
        pytest.param(
            faults.json_answer({"flavors": [FLAVOR | {"vcpus": "many"}]}),
            "not one of Nova's",
            id="vcpus that are none",
        ),
        pytest.param(
            faults.json_answer({"flavors": [FLAVOR | {"name": 5}]}),
            "not one of Nova's",
            id="a name that is none",
        ),
        pytest.param(
            faults.json_answer({"flavors": [FLAVOR | {"id": "../7"}]}),
            "not one of Nova's",
            id="an id that is none",
        ),
        pytest.param(
            faults.json_answer(
                {
                    "flavors": [
                        {k: FLAVOR[k] for k in FLAVOR.keys() - {"extra_specs"}}
                    ]
                }
            ),
            "not one of Nova's",
            id="keys that are hidden",
        ),
        pytest.param(faults.Drop(reset=True), "no usable answer", id="reset"),
        pytest.param(faults.Stall(), "no usable answer", id="stalled"),
    ],
)
def test_what_nova_answers_wrongly_is_one_line(
    fault: faults.Fault, said: str, node: Node, nova: Proxy
) -> None:
    nova.add(fault, path="/flavors")
    seen = clouds.Cloud(conf.parse([f"--config-file={node.config}"]))
    with pytest.raises(exception.NovaError) as caught:
        seen.list_flavors()
    assert caught.value.exit_status == exception.EXIT_NO_PLACEMENT
    assert said in str(caught.value)
    assert caught.value.mend


def _check(node: Node, nova: Proxy, flavor: dict[str, Any]) -> Any:
    nova.add(faults.json_answer({"flavors": [flavor]}), path="/flavors/detail")
    done = node.tool("flavors", "--check", "-f", "json")
    assert done.returncode == exception.EXIT_MISMATCH, done.stderr
    return json.loads(done.stdout)


def test_a_flavor_without_the_gates_keys_is_found(
    node: Node, nova: Proxy
) -> None:
    assert node.tool("sync").returncode == exception.EXIT_OK
    (row,) = _check(node, nova, FLAVOR)
    assert row["Flavor"] == "f"
    pages = nova.log.matching("GET", "/flavors/detail")
    assert [page.query for page in pages] == [
        "is_public=None",
        "is_public=None&marker=7",
    ]
    assert "closed gate" in row["Problem"]


def test_a_name_with_control_characters_cannot_harm_a_terminal(
    node: Node, nova: Proxy
) -> None:
    name = "f\x1b[2J\n"
    nova.add(
        faults.json_answer({"flavors": [FLAVOR | {"name": name}]}),
        path="/flavors/detail",
    )
    done = node.tool("flavors", "--check")
    assert done.returncode == exception.EXIT_MISMATCH
    assert "\x1b" not in done.stdout
    assert "READY=required 7" in done.stdout


def test_nova_in_step_and_placement_away_is_told(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.json_answer({"flavors": [FLAVOR]}), path="/flavors/detail")
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    line = _refused(node, exception.EXIT_NO_PLACEMENT, "--check")
    assert "Placement" in line


def test_no_flavor_is_made_where_its_traits_cannot_be(
    node: Node, nova: Proxy
) -> None:
    nova.add(faults.json_answer({"flavors": []}), path="/flavors/detail")
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    _refused(node, exception.EXIT_NO_PLACEMENT, "--create")
    assert nova.log.writes() == []
