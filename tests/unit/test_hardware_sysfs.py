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
"""Reading and writing a sysfs, of a simulated node and a hostile one."""

import errno
import pathlib
import tracemalloc

import pytest

from mig_placement import exception
from mig_placement import simulator
from mig_placement.hardware import sysfs

_PF = "0000:41:00.0"
_VF = "0000:41:00.4"


def _node(
    tmp_path: pathlib.Path, way: str
) -> tuple[simulator.SimulatedNode, sysfs.Sysfs]:
    node = simulator.SimulatedNode(tmp_path / "gpus.json")
    node.create(["A100-40GB"], mig=True, vgpu=way)
    root = pathlib.Path(node.sysfs_root)
    return node, sysfs.Sysfs(root, node.write_sysfs)


def test_functions_come_and_go_with_sriov(tmp_path: pathlib.Path) -> None:
    node, there = _node(tmp_path, "vfio")
    off = there.sriov(_PF)
    assert off is not None
    assert (off.total, off.offset, off.functions) == (16, 4, ())
    node.set_sriov(0)
    on = there.sriov(_PF)
    assert on is not None
    addresses = [each.pci_address for each in on.functions]
    assert addresses[:5] == [
        *(f"0000:41:00.{number}" for number in (4, 5, 6, 7)),
        "0000:41:01.0",
    ]
    node.reboot()
    assert there.sriov(_PF) == off


def test_sriov_takes_the_instances_away(tmp_path: pathlib.Path) -> None:
    node, _ = _node(tmp_path, "vfio")
    node.create_instance(0, "1g.5gb")
    node.set_sriov(0)
    assert node.summary()["gpus"][0]["instances"] == []


def test_a_type_is_set_once_and_read_back(tmp_path: pathlib.Path) -> None:
    node, there = _node(tmp_path, "vfio")
    node.set_sriov(0)
    gi_id = node.create_instance(0, "1g.5gb", 2)
    assert there.creatable(_VF) == {463}
    there.set_type(_VF, 463)
    there.set_type(_VF, 463)
    seen = there.sriov(_PF)
    assert seen is not None
    assert seen.functions[0].current_type == 463
    assert seen.functions[0].gi_id == gi_id
    assert there.creatable("0000:41:00.5") == frozenset()


def test_a_type_without_an_instance_is_refused(tmp_path: pathlib.Path) -> None:
    node, there = _node(tmp_path, "vfio")
    node.set_sriov(0)
    with pytest.raises(exception.HardwareError, match="cannot be created now"):
        there.set_type(_VF, 463)


def test_what_a_vm_holds_is_not_cleared(tmp_path: pathlib.Path) -> None:
    node, there = _node(tmp_path, "vfio")
    node.set_sriov(0)
    node.create_instance(0, "1g.5gb")
    there.set_type(_VF, 463)
    node.set_vm(_VF, running=True)
    with pytest.raises(exception.HardwareError, match="not permitted"):
        there.set_type(_VF, 0)
    node.set_vm(_VF, running=False)
    there.set_type(_VF, 0)


def test_a_plug_in_that_is_not_gone_yet_is_waited_for(
    tmp_path: pathlib.Path,
) -> None:
    node, _ = _node(tmp_path, "vfio")
    node.set_sriov(0)
    node.create_instance(0, "1g.5gb")
    refusals = [errno.EBUSY, errno.EBUSY]

    def write(path: str, text: str) -> None:
        if text.strip() == "0" and refusals:
            raise OSError(refusals.pop(), "busy")
        node.write_sysfs(path, text)

    there = sysfs.Sysfs(pathlib.Path(node.sysfs_root), write)
    there.set_type(_VF, 463)
    there.set_type(_VF, 0)
    assert not refusals
    seen = there.sriov(_PF)
    assert seen is not None
    assert not seen.functions[0].current_type


@pytest.mark.parametrize("text", ["-1", "4294967295", "N/A", ""])
def test_a_vgpu_may_have_no_instance(
    tmp_path: pathlib.Path, text: str
) -> None:
    there = _device(tmp_path, sriov_totalvfs="16")
    (tmp_path / _DEVICE / "virtfn0").symlink_to(f"../{_VF}")
    folder = tmp_path / f"bus/pci/devices/{_VF}/nvidia"
    folder.mkdir(parents=True)
    (folder / "current_vgpu_type").write_text("471\n")
    (folder / "gpu_instance_id").write_text(text)
    seen = there.sriov(_PF)
    assert seen is not None
    assert seen.functions[0].gi_id is None


def test_every_function_lists_all_mdev_types(tmp_path: pathlib.Path) -> None:
    node, there = _node(tmp_path, "mdev")
    node.set_sriov(0)
    node.create_instance(0, "1g.5gb")
    uuid = "11111111-1111-1111-1111-111111111111"
    folder = f"bus/pci/devices/{_VF}/mdev_supported_types/nvidia-463"
    node.write_sysfs(f"{folder}/create", uuid)
    seen = there.sriov(_PF)
    assert seen is not None
    assert all(463 in each.mdev_types for each in seen.functions)
    assert [each.mdev_type for each in seen.functions] == [463] + [0] * 15


def test_one_free_instance_shows_on_every_free_function(
    tmp_path: pathlib.Path,
) -> None:
    node, _ = _node(tmp_path, "mdev")
    node.set_sriov(0)
    node.create_instance(0, "1g.5gb")
    root = pathlib.Path(node.sysfs_root)

    def available() -> list[str]:
        pattern = "class/mdev_bus/*/mdev_supported_types/nvidia-463"
        found = root.glob(f"{pattern}/available_instances")
        return [each.read_text().strip() for each in found]

    assert available() == ["1"] * 16
    folder = f"bus/pci/devices/{_VF}/mdev_supported_types/nvidia-463"
    uuid = "11111111-1111-1111-1111-111111111111"
    node.write_sysfs(f"{folder}/create", uuid)
    assert available() == ["0"] * 16


def test_a_gpu_without_sriov_has_none(tmp_path: pathlib.Path) -> None:
    assert sysfs.Sysfs(tmp_path).sriov(_PF) is None


_DEVICE = f"bus/pci/devices/{_PF}"


def _device(root: pathlib.Path, **files: str) -> sysfs.Sysfs:
    folder = root / _DEVICE
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return sysfs.Sysfs(root)


@pytest.mark.parametrize("text", ["", "many", "-1", "1 2", "\x00", "9" * 30])
def test_a_number_that_is_none_is_said(
    tmp_path: pathlib.Path, text: str
) -> None:
    there = _device(tmp_path, sriov_totalvfs=text)
    with pytest.raises(exception.HardwareError, match="is no number"):
        there.sriov(_PF)


def test_a_function_that_leads_nowhere_is_said(tmp_path: pathlib.Path) -> None:
    there = _device(tmp_path, sriov_totalvfs="16")
    (tmp_path / _DEVICE / "virtfn0").symlink_to("../../etc/passwd")
    with pytest.raises(exception.HardwareError, match="no PCI address"):
        there.sriov(_PF)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("ID    : vGPU Name\n1147  : NVIDIA L40S-1Q\n", {1147}),
        ("ID    : vGPU Name\n", set()),
        ("NVIDIA A40-2Q  558\nNVIDIA A40-4Q  559\n", {558, 559}),
        ("empty\n", set()),
        ("", set()),
        ("junk\n:\n: 3:\n", set()),
    ],
)
def test_the_list_of_types_is_read_in_either_order(
    tmp_path: pathlib.Path, text: str, ids: set[int]
) -> None:
    folder = tmp_path / f"bus/pci/devices/{_VF}/nvidia"
    folder.mkdir(parents=True)
    (folder / "creatable_vgpu_types").write_text(text)
    assert sysfs.Sysfs(tmp_path).creatable(_VF) == ids


def test_a_gpu_that_lost_its_driver_is_bound_again(
    tmp_path: pathlib.Path,
) -> None:
    there = _device(tmp_path)
    driver = tmp_path / "bus/pci/drivers/nvidia"
    driver.mkdir(parents=True)
    (driver / "bind").write_text("")
    assert not there.is_bound(_PF)
    there.bind(_PF)
    assert (driver / "bind").read_text() == _PF
    (tmp_path / _DEVICE / "driver").symlink_to(driver)
    assert there.is_bound(_PF)


def test_a_huge_file_is_read_in_part_alone(tmp_path: pathlib.Path) -> None:
    there = tmp_path / "bus/pci/devices" / _PF
    there.mkdir(parents=True)
    with (there / "sriov_totalvfs").open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(exception.HardwareError, match="is no number"):
            sysfs.Sysfs(tmp_path).sriov(_PF)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
