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
"""mig-placement-status as a process, on a real Placement and Keystone."""

import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mig_placement.placement import names
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import keystone_server
from tests.functional import placement_app

Node = gpu_node.GpuNode

_CONFIGURATION = "Configuration"
_VERSION = "Placement API version"
_CREDENTIALS = "Placement credentials and role"
_HARDWARE = "Hardware access"
_LAYOUT = "Layout"
_NOVA = "Resource classes in nova.conf"


def _run(
    node: Node, *options: str, form: str = "--json"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mig_placement.cmd.upgrade",
            f"--config-file={node.config}",
            *options,
            "upgrade",
            "check",
            *([form] if form else []),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _checked(node: Node, *options: str) -> dict[str, tuple[int, str]]:
    """Code and details of each check; the status is the worst one."""
    done = _run(node, *options)
    assert "Traceback" not in done.stderr + done.stdout
    checks = json.loads(done.stdout)["checks"]
    found = {c["check"]: (c["result"], c["details"] or "") for c in checks}
    assert done.returncode == max(code for code, _ in found.values())
    return found


def _others_are_well(found: dict[str, tuple[int, str]], *failing: str) -> None:
    assert {name for name, (code, _) in found.items() if code} == set(failing)


@pytest.fixture
def nova_conf(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\n[compute]\n")
    return path


@pytest.fixture(autouse=True)
def _not_for_all_eyes() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def files(nova_conf: pathlib.Path) -> str:
    return f"--nova-conf={nova_conf}"


def test_a_node_that_is_ready_is_a_success(node: Node, files: str) -> None:
    _others_are_well(_checked(node, files))
    done = _run(node, files, form="")
    assert done.returncode == 0
    said = re.findall(r"Result: (\w+)", done.stdout)
    assert said == ["Success"] * 6


def test_nothing_is_written_but_a_trait_that_is_there(
    node: Node, files: str, placement_tcp: placement_app.TcpPlacement
) -> None:
    assert node.tool("sync").returncode == 0
    before = node.cloud.providers()
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint"] = proxy.url
        node.write_config()
        _others_are_well(_checked(node, files))
        writes = [(e.method, e.path) for e in proxy.log.writes()]
    assert writes == [("PUT", f"/traits/{names.NODE_READY}")]
    assert node.cloud.providers() == before


def test_an_old_placement_is_a_failure(
    node: Node, files: str, placement_tcp: placement_app.TcpPlacement
) -> None:
    versions = {"versions": [{"id": "v1.0", "max_version": "1.36"}]}
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint"] = proxy.url
        node.write_config()
        proxy.add(faults.json_answer(versions), path="^/$")
        found = _checked(node, files)
    _others_are_well(found, _VERSION)
    assert "up to 1.36, and 1.39 is needed" in found[_VERSION][1]


@pytest.mark.parametrize(
    "answer",
    [
        faults.html(200),
        faults.json_answer([], 200),
        faults.json_answer({"versions": []}, 200),
        faults.json_answer({"versions": [{"max_version": "one"}]}, 200),
        faults.json_answer({"versions": [{"max_version": None}]}, 200),
    ],
    ids=str,
)
def test_what_is_no_placement_is_a_failure(
    answer: faults.Fault,
    node: Node,
    files: str,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint"] = proxy.url
        node.write_config()
        proxy.add(answer, path="^/$")
        found = _checked(node, files)
    _others_are_well(found, _VERSION)
    assert "[placement]" in found[_VERSION][1]


def test_who_may_read_and_not_write_is_told(
    node: Node, files: str, placement_tcp: placement_app.TcpPlacement
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint"] = proxy.url
        node.write_config()
        proxy.add(faults.error(403, "x"), method="PUT")
        found = _checked(node, files)
    _others_are_well(found, _CREDENTIALS)
    assert "writing is not" in found[_CREDENTIALS][1]
    assert "service role" in found[_CREDENTIALS][1]


@pytest.mark.parametrize(
    ("account", "failing", "said"),
    [
        (keystone_server.AGENT, (), "writing are allowed"),
        (keystone_server.READER, (_CREDENTIALS,), "service role"),
        (keystone_server.WRONG, (_CREDENTIALS, _VERSION), "401"),
    ],
    ids=["agent", "reader", "wrong password"],
)
def test_credentials_are_tried_on_a_real_keystone(
    account: keystone_server.Account,
    failing: tuple[str, ...],
    said: str,
    tmp_path: pathlib.Path,
    files: str,
    secured: keystone_server.SecuredPlacement,
) -> None:
    node = Node(tmp_path, secured.options(account), None)  # type: ignore[arg-type]
    node.create_gpus()
    found = _checked(node, files)
    _others_are_well(found, *failing)
    assert said in found[_CREDENTIALS][1]
    assert account.password not in str(found)


def test_a_placement_that_is_not_there_is_a_failure(
    node: Node, files: str
) -> None:
    node.sections["placement"]["endpoint"] = gpu_node.free_port_url()
    node.write_config()
    found = _checked(node, files)
    _others_are_well(found, _VERSION, _CREDENTIALS)


def test_a_wrong_option_is_a_failure_that_names_it(
    node: Node, files: str
) -> None:
    node.sections["mapping"] = {"resource_classes": "1g.5gb:lower"}
    node.write_config()
    found = _checked(node, files)
    code, details = found[_CONFIGURATION]
    assert code == 2
    assert "resource_classes" in details
    assert found[_VERSION][0] == found[_CREDENTIALS][0] == 0


def test_a_misspelt_option_is_a_warning(node: Node, files: str) -> None:
    node.sections["layout"]["aply"] = "native"
    node.write_config()
    code, details = _checked(node, files)[_CONFIGURATION]
    assert code == 1
    assert "[layout] has no option aply, did you mean apply?" in details


def test_a_file_that_cannot_be_parsed_is_one_line(node: Node) -> None:
    node.config.write_text("[placement]\npassword s3cr3t\n")
    done = _run(node)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("mig-placement-status: configuration: ")
    assert f"{node.config}:2" in line
    assert "s3cr3t" not in done.stdout + done.stderr


def test_what_others_may_read_or_write_is_told(node: Node, files: str) -> None:
    node.config.chmod(0o644)
    code, details = _checked(node, files)[_CONFIGURATION]
    assert code == 1
    assert f"{node.config}: every user" in details
    node.config.chmod(0o640)
    node.run_dir.mkdir(mode=0o777)
    node.run_dir.chmod(0o777)
    code, details = _checked(node, files)[_CONFIGURATION]
    assert code == 2
    assert "run_dir" in details


def test_what_it_says_of_a_file_is_printable(
    node: Node, files: str, nova_conf: pathlib.Path
) -> None:
    node.sections["mapping"] = {"resource_classes": "1g.5gb:CUSTOM_X"}
    node.write_config()
    _with_class(nova_conf, "CUSTOM_X")
    text = nova_conf.read_text().replace("nvidia-35", "nvidia-35\x1b[2J")
    nova_conf.write_text(text)
    assert "nvidia-35?[2J" in _checked(node, files)[_NOVA][1]


def test_a_layout_that_cannot_be_had_is_a_failure(
    node: Node, files: str
) -> None:
    node.layout.write_text(gpu_node.LAYOUT.replace(": 7}", ": 8}"))
    found = _checked(node, files)
    _others_are_well(found, _LAYOUT, _NOVA)
    assert found[_LAYOUT][0] == 2
    assert str(node.layout) in found[_LAYOUT][1]
    assert found[_NOVA][0] == 1


def test_the_layout_that_the_node_is_to_have_is_told(
    node: Node, files: str
) -> None:
    assert "all-1g.5gb" in _checked(node, files)[_LAYOUT][1]


def test_without_nvml_the_layout_is_judged_as_far_as_it_goes(
    node: Node, files: str
) -> None:
    node.gpus.set_driver(present=False)
    found = _checked(node, files)
    assert found[_HARDWARE][0] == 2
    assert "modprobe nvidia" in found[_HARDWARE][1]
    assert (found[_LAYOUT][0], found[_NOVA][0]) == (1, 1)
    node.layout.write_text("")
    assert _checked(node, files)[_LAYOUT][0] == 2


def _with_class(path: pathlib.Path, name: str) -> None:
    path.write_text(
        "[devices]\nenabled_mdev_types = nvidia-35\n"
        "[mdev_nvidia-35]\ndevice_addresses = 0000:c1:00.0\n"
        f"mdev_class = {name}\n"
    )


def test_a_class_that_nova_offers_as_well_is_a_failure(
    node: Node, files: str, nova_conf: pathlib.Path
) -> None:
    _with_class(nova_conf, gpu_node.CLASS)
    found = _checked(node, files)
    _others_are_well(found, _NOVA)
    code, details = found[_NOVA]
    assert code == 2
    assert f"[mdev_nvidia-35] mdev_class = {gpu_node.CLASS}" in details
    assert f"nova-config --check {nova_conf}" in details
    _with_class(nova_conf, "CUSTOM_T4")
    _others_are_well(_checked(node, files))


def test_several_files_are_read_as_nova_reads_them(
    node: Node, files: str, nova_conf: pathlib.Path
) -> None:
    _with_class(nova_conf, gpu_node.CLASS)
    more = nova_conf.parent / "nova.conf.d"
    more.mkdir()
    _with_class(more / "vgpu.conf", "CUSTOM_T4")
    _others_are_well(_checked(node, files, f"--nova-conf={more}"))
    found = _checked(node, f"--nova-conf={more}", files)
    assert found[_NOVA][0] == 2


def test_a_class_of_novas_own_that_lacks_is_a_warning(
    node: Node, files: str
) -> None:
    node.gpus.create(["A100-40GB"], mig=True, overwrite=True, vgpu="mdev")
    node.gpus.set_sriov(0)
    node.sections["nova"] = {"attach": "mdev"}
    node.write_config()
    found = _checked(node, files)
    _others_are_well(found, _NOVA)
    assert found[_NOVA][0] == 1
    assert "nova-config --check" in found[_NOVA][1]


@pytest.mark.parametrize("text", [None, "[devices\n"])
def test_a_nova_conf_of_no_use_is_a_failure(
    text: str | None, node: Node, files: str, nova_conf: pathlib.Path
) -> None:
    nova_conf.unlink()
    if text:
        nova_conf.write_text(text)
    found = _checked(node, files)
    assert found[_NOVA][0] == 2
    assert str(nova_conf) in found[_NOVA][1]


@pytest.mark.skipif(
    pathlib.Path("/etc/nova/nova.conf").exists(), reason="Nova is here"
)
def test_without_a_nova_conf_it_asks_for_one(node: Node) -> None:
    found = _checked(node)
    _others_are_well(found, _NOVA)
    assert found[_NOVA][0] == 1
    assert "--nova-conf" in found[_NOVA][1]
