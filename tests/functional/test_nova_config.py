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
"""nova-config as a process: what it prints, writes and compares."""

import json
import os
import pathlib
from typing import Any

import pytest

from mig_placement import exception
from tests.functional import gpu_node

Node = gpu_node.GpuNode


@pytest.fixture
def node(tmp_path: pathlib.Path) -> Node:
    """A node that Nova attaches nothing on; no Placement is asked."""
    made = Node(tmp_path, {}, None)  # type: ignore[arg-type]
    made.create_gpus()
    return made


@pytest.fixture(params=["mdev", "vfio"])
def attaching(request: pytest.FixtureRequest, node: Node) -> Node:
    """A node that Nova attaches slices on, its SR-IOV on."""
    node.gpus.create(
        ["A100-40GB"], mig=True, overwrite=True, vgpu=request.param
    )
    node.gpus.set_sriov(0)
    _attach(node, request.param)
    return node


def _attach(node: Node, attach: str, **options: str) -> None:
    node.sections["nova"] = {"attach": attach, **options}
    node.write_config()


def _refused(node: Node, *arguments: str) -> str:
    done = node.tool("nova-config", *arguments)
    assert done.returncode == exception.EXIT_USAGE, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("mig-placement: ")
    return line


def _rows(node: Node, status: int, *arguments: str) -> list[dict[str, Any]]:
    done = node.tool("nova-config", "-f", "json", "--check", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def _written(node: Node, text: str) -> str:
    path = node.folder / "nova.conf"
    path.write_text(text)
    return str(path)


# Where Nova attaches nothing.


def test_nothing_is_needed_where_nova_attaches_nothing(node: Node) -> None:
    done = node.tool("nova-config")
    assert done.returncode == exception.EXIT_OK
    assert done.stderr == ""
    assert "Nothing is needed" in done.stdout
    assert all(
        line.startswith("#") or not line for line in done.stdout.splitlines()
    )
    assert "layout all-1g.5gb" in done.stdout


def test_a_nova_conf_without_slices_does_not_differ(node: Node) -> None:
    path = _written(node, "[DEFAULT]\nmy_ip = 10.0.0.1\n")
    assert _rows(node, exception.EXIT_OK, path) == []


def test_a_class_of_ours_in_nova_conf_is_3_and_named(node: Node) -> None:
    path = _written(
        node,
        "[devices]\nenabled_mdev_types = nvidia-1\n[mdev_nvidia-1]\n"
        "device_addresses = 0000:99:00.4\nmdev_class = CUSTOM_MIG_1G_5GB\n",
    )
    (row,) = _rows(node, exception.EXIT_MISMATCH, path)
    assert list(row) == ["Section", "Option", "Have", "Need", "Why"]
    assert row["Section"] == "mdev_nvidia-1"
    assert row["Have"] == "CUSTOM_MIG_1G_5GB"
    other = node.folder / "other.conf"
    other.write_text("[mdev_nvidia-1]\nmdev_class = CUSTOM_OTHER\n")
    assert _rows(node, exception.EXIT_OK, path, str(other)) == []
    assert (
        _rows(
            node,
            exception.EXIT_OK,
            path,
            "--check",
            str(node.folder / "other.conf"),
        )
        == []
    )


def test_a_mapped_class_is_ours_too(node: Node) -> None:
    node.sections["mapping"] = {"resource_classes": "1g.5gb:CUSTOM_SMALL"}
    node.write_config()
    spec = {"address": "0000:99:00.0", "resource_class": "CUSTOM_SMALL"}
    path = _written(node, f"[pci]\ndevice_spec = {json.dumps(spec)}\n")
    (row,) = _rows(node, exception.EXIT_MISMATCH, path)
    assert row["Option"] == "device_spec"


def test_a_mapped_class_that_is_none_is_2(node: Node) -> None:
    node.sections["mapping"] = {"resource_classes": "1g.5gb:lower"}
    node.write_config()
    assert "resource_classes" in _refused(node)


def test_a_file_that_says_the_same_is_left_alone(node: Node) -> None:
    path = node.folder / "90-mig.conf"
    first = node.tool("nova-config", "--output", str(path))
    assert first.returncode == exception.EXIT_OK
    assert first.stdout == f"{path}: written; restart Nova\n"
    assert path.read_text() == node.tool("nova-config").stdout
    os.utime(path, (1, 1))
    second = node.tool("nova-config", "--output", str(path))
    assert second.stdout == f"{path}: unchanged\n"
    assert path.stat().st_mtime == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pci\n", "nova.conf"),
        ("[pci]\ndevice_spec = {\n", "device_spec"),
        ("[pci]\nreport_in_placement = perhaps\n", "perhaps"),
    ],
)
def test_a_nova_conf_that_cannot_be_parsed_is_2(
    text: str, said: str, node: Node
) -> None:
    assert said in _refused(node, "--check", _written(node, text))


def test_a_nova_conf_that_is_not_there_is_2(node: Node) -> None:
    assert "/nonexistent" in _refused(node, "--check", "/nonexistent")


def test_a_layout_that_cannot_be_had_writes_nothing(node: Node) -> None:
    node.layout.write_text(gpu_node.LAYOUT.replace(": 7}", ": 8}"))
    path = node.folder / "90-mig.conf"
    _refused(node, "--output", str(path))
    assert not path.exists()


def test_an_output_that_cannot_be_written_is_2(node: Node) -> None:
    assert "cannot write" in _refused(node, "--output", "/nonexistent/a")


def test_a_file_is_not_written_and_compared_at_once(node: Node) -> None:
    done = node.tool("nova-config", "--output", "a", "--check", "b")
    assert done.returncode == exception.EXIT_USAGE


@pytest.mark.parametrize("attach", ["mdev", "vfio"])
def test_attaching_without_sriov_is_2_and_writes_nothing(
    attach: str, node: Node
) -> None:
    _attach(node, attach)
    path = node.folder / "90-mig.conf"
    assert "GPU 0" in _refused(node, "--output", str(path))
    assert not path.exists()


# Where Nova attaches slices.


def test_the_fragment_written_does_not_differ(attaching: Node) -> None:
    path = attaching.folder / "90-mig.conf"
    done = attaching.tool("nova-config", "--output", str(path))
    assert done.returncode == exception.EXIT_OK
    assert done.stderr == ""
    for part in ([], ["--part", "compute"], ["--part", "scheduler"]):
        assert _rows(attaching, exception.EXIT_OK, str(path), *part) == []


def test_an_empty_nova_conf_differs(attaching: Node) -> None:
    path = _written(attaching, "")
    rows = _rows(attaching, exception.EXIT_MISMATCH, path)
    options = {row["Option"] for row in rows}
    assert options in (
        {"enabled_mdev_types"},
        {"report_in_placement", "pci_in_placement", "device_spec", "alias"},
    )


def test_addresses_are_foretold_while_sriov_is_off(attaching: Node) -> None:
    on = attaching.tool("nova-config")
    attaching.gpus.set_sriov(0, False)
    off = attaching.tool("nova-config")
    assert off.returncode == exception.EXIT_OK
    assert off.stdout == on.stdout
    assert "SR-IOV is off on GPU 0" in off.stderr


def test_the_other_kernels_way_is_2_and_writes_nothing(
    attaching: Node,
) -> None:
    other = {"mdev": "vfio", "vfio": "mdev"}
    attach = other[attaching.sections["nova"]["attach"]]
    _attach(attaching, attach)
    path = attaching.folder / "90-mig.conf"
    line = _refused(attaching, "--output", str(path))
    assert f"[nova] attach = {attach}" in line
    assert not path.exists()


def test_a_type_that_no_profile_backs_is_2(attaching: Node) -> None:
    attach = attaching.sections["nova"]["attach"]
    for profile in ("1g.5gb", "2g.10gb"):
        _attach(attaching, attach, vgpu_types=f"{profile}:A100-2-10C")
        assert "vgpu_types" in _refused(attaching)
