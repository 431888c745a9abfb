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

"""The simulated node as tests and the command see it."""

import multiprocessing
import os
import pathlib
from typing import Any

import pynvml
import pytest

from mig_placement import simulator

MODELS = ["A100-40GB", "H100-80GB"]


@pytest.fixture
def node(tmp_path: pathlib.Path) -> simulator.SimulatedNode:
    return simulator.SimulatedNode(tmp_path / "node.json").create(
        MODELS, mig=True, seed="a"
    )


def gpu_of(node: simulator.SimulatedNode, index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = node.summary()["gpus"][index]
    return found


def test_gpus_lie_from_bus_41_upward(node: simulator.SimulatedNode) -> None:
    assert [gpu["pci_address"] for gpu in node.summary()["gpus"]] == [
        "00000000:41:00.0",
        "00000000:42:00.0",
    ]


def test_a_seed_gives_the_same_uuids_again(
    node: simulator.SimulatedNode, tmp_path: pathlib.Path
) -> None:
    node.create_instance(0, "1g.5gb")
    twin = simulator.SimulatedNode(tmp_path / "twin").create(
        MODELS, mig=True, seed="a"
    )
    twin.create_instance(0, "1g.5gb")
    other = simulator.SimulatedNode(tmp_path / "other").create(MODELS)
    assert twin.summary() == node.summary()
    assert gpu_of(other)["uuid"] != gpu_of(node)["uuid"]


def test_a_reboot_takes_the_instances_and_from_hopper_on_the_mode(
    node: simulator.SimulatedNode,
) -> None:
    for gpu, profile in ((0, "3g.20gb"), (1, "3g.40gb")):
        node.add_process(gpu, node.create_instance(gpu, profile), 7)
    before = node.summary()
    node.reboot()
    after = node.summary()
    assert after["boot_id"] != before["boot_id"]
    assert [gpu["mig"] for gpu in after["gpus"]] == [True, False]
    assert [gpu["instances"] for gpu in after["gpus"]] == [[], []]
    assert [gpu["processes"] for gpu in after["gpus"]] == [[], []]
    assert [gpu["uuid"] for gpu in after["gpus"]] == [
        gpu["uuid"] for gpu in before["gpus"]
    ]


def test_a_gpu_in_another_slot_is_the_same_one_and_has_no_instances(
    node: simulator.SimulatedNode,
) -> None:
    node.create_instance(0, "3g.20gb")
    before = node.summary()
    node.move_gpu(0, "00000000:51:00.0")
    after = gpu_of(node)
    assert after["uuid"] == before["gpus"][0]["uuid"]
    assert after["pci_address"] == "00000000:51:00.0"
    assert after["instances"] == []
    assert node.summary()["boot_id"] != before["boot_id"]
    with pytest.raises(simulator.SimulatorError, match="taken"):
        node.move_gpu(0, "00000000:42:00.0")


def test_a_reboot_applies_the_pending_mode(
    node: simulator.SimulatedNode,
) -> None:
    assert node.set_mig(0, False) is False
    node.reboot()
    assert gpu_of(node)["mig"] is False


def test_instances_are_told_with_placement_and_compute_instances(
    node: simulator.SimulatedNode,
) -> None:
    node.create_instance(0, "3g.20gb", 0, ["2c.3g.20gb", "1c.3g.20gb"])
    node.create_instance(0, 9, compute_instances=False)
    found = [
        (
            gi["profile"],
            gi["start"],
            gi["size"],
            [ci["profile"] for ci in gi["compute_instances"]],
        )
        for gi in gpu_of(node)["instances"]
    ]
    assert found == [
        ("3g.20gb", 0, 4, ["2c.3g.20gb", "1c.3g.20gb"]),
        ("3g.20gb", 4, 4, []),
    ]


def test_an_instance_that_cannot_be_completed_is_not_begun(
    node: simulator.SimulatedNode,
) -> None:
    wanted = ["2c.3g.20gb", "2c.3g.20gb"]
    with pytest.raises(simulator.SimulatorError, match="no room"):
        node.create_instance(0, "3g.20gb", compute_instances=wanted)
    assert gpu_of(node)["instances"] == []


def test_an_instance_is_destroyed_by_id_or_by_placement(
    node: simulator.SimulatedNode,
) -> None:
    gi_id = node.create_instance(0, "3g.20gb", 0)
    node.create_instance(0, "3g.20gb", 4)
    node.destroy_instance(0, (4, 4))
    assert [gi["gi_id"] for gi in gpu_of(node)["instances"]] == [gi_id]
    node.destroy_instance(0, gi_id)
    assert gpu_of(node)["instances"] == []


def test_compute_instances_come_and_go_alone(
    node: simulator.SimulatedNode,
) -> None:
    gi_id = node.create_instance(0, "3g.20gb", compute_instances=False)
    ci_id = node.create_compute_instance(0, gi_id, "1c.3g.20gb", 1)
    (gi,) = gpu_of(node)["instances"]
    assert gi["compute_instances"][0]["start"] == 1
    node.destroy_compute_instance(0, gi_id, ci_id)
    (gi,) = gpu_of(node)["instances"]
    assert gi["compute_instances"] == []


def test_a_gpu_is_meant_by_index_uuid_or_address(
    node: simulator.SimulatedNode,
) -> None:
    for name in (
        1,
        gpu_of(node, 1)["uuid"],
        "00000000:42:00.0",
        "0000:42:00.0",
    ):
        node.destroy_instance(name, node.create_instance(name, "7g.80gb"))


def test_a_replaced_gpu_is_another_one_in_the_same_slot(
    node: simulator.SimulatedNode,
) -> None:
    before = gpu_of(node)
    node.create_instance(0, "1g.5gb")
    node.replace_gpu(0, "A30-24GB")
    after = gpu_of(node)
    assert after["pci_address"] == before["pci_address"]
    assert after["uuid"] != before["uuid"]
    assert (after["model"], after["mig"]) == ("A30-24GB", False)
    assert after["instances"] == []


def test_gpus_are_unplugged_and_plugged_in(
    node: simulator.SimulatedNode,
) -> None:
    node.remove_gpu(0)
    assert [gpu["model"] for gpu in node.summary()["gpus"]] == ["H100-80GB"]
    node.add_gpu("A30-24GB")
    assert gpu_of(node, 1)["pci_address"] == "00000000:41:00.0"


def test_a_reset_waits_for_no_session(node: simulator.SimulatedNode) -> None:
    node.set_mig(0, False)
    simulator.install(node.path)
    pynvml.nvmlInit()
    with pytest.raises(simulator.SimulatorError, match="session"):
        node.reset_gpu(0)
    assert gpu_of(node)["mig"] is True
    pynvml.nvmlShutdown()
    node.reset_gpu(0)
    assert gpu_of(node)["mig"] is False
    simulator.uninstall()


def test_a_gpu_with_processes_is_not_reset(
    node: simulator.SimulatedNode,
) -> None:
    node.add_process(0, None, 7)
    with pytest.raises(simulator.SimulatorError, match="processes"):
        node.reset_gpu(0, force=True)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (lambda n: n.create(["A100-40GB"]), "exists already"),
        (lambda n: n.create(["Voodoo"], overwrite=True), "no model 'Voodoo'"),
        (
            lambda n: n.create(MODELS, pci_addresses=["x"], overwrite=True),
            "not as many",
        ),
        (
            lambda n: n.create(
                ["A30-24GB"], pci_addresses=["x"], overwrite=True
            ),
            "pci does not look like",
        ),
        (
            lambda n: n.create(["A30-24GB"] * 65, overwrite=True),
            "at most 64",
        ),
        (
            lambda n: n.create(["A30-24GB"], driver="a b", overwrite=True),
            "driver does not look like",
        ),
        (lambda n: n.create_instance(2, "1g.5gb"), "no GPU 2"),
        (lambda n: n.create_instance(0, "1g.10gb+x"), "it has 1g.5gb"),
        (lambda n: n.create_instance(0, "1g.5gb", 7), "no placement"),
        (
            lambda n: n.create_instance(
                0, "1g.5gb", compute_instances=["2c.1g.5gb"]
            ),
            "no compute profile",
        ),
        (lambda n: n.destroy_instance(0, 1), "no GPU instance 1"),
        (lambda n: n.destroy_instance(0, (0, 4)), "no GPU instance"),
        (lambda n: n.remove_process(0, None, 1), "no process 1"),
        (lambda n: n.add_process(0, None, 0), "pid"),
        (lambda n: n.set_delay(-1), "delay_ms"),
        (lambda n: n.fail_next(0), "faults"),
        (lambda n: n.fail_next(1, 0), "code"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    node: simulator.SimulatedNode, what: Any, text: str
) -> None:
    before = node.summary()
    with pytest.raises(simulator.SimulatorError) as error:
        what(node)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert node.summary() == before


def test_a_lost_gpu_takes_no_instance(node: simulator.SimulatedNode) -> None:
    node.lose_gpu(0)
    with pytest.raises(simulator.SimulatorError, match="lost"):
        node.create_instance(0, "1g.5gb")


@pytest.mark.parametrize("content", [None, "{", "fifo", "directory"])
def test_a_file_that_is_no_state_is_told(
    tmp_path: pathlib.Path, content: str | None
) -> None:
    path = tmp_path / "node.json"
    if content == "fifo":
        os.mkfifo(path)
    elif content == "directory":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    with pytest.raises(simulator.SimulatorError) as error:
        simulator.SimulatedNode(path).summary()
    assert "node.json: " in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_is_left_of_a_deleted_node(
    node: simulator.SimulatedNode, tmp_path: pathlib.Path
) -> None:
    node.reset_gpu(0)
    node.delete()
    node.delete()
    assert list(tmp_path.iterdir()) == []


def _create_many(path: str, gpu: int, profile: str) -> None:
    node = simulator.SimulatedNode(path)
    for _ in range(10):
        for _ in range(7):
            node.create_instance(gpu, profile)
        node.clear(gpu)
        node.send_xid(gpu, 13)


def test_processes_that_change_at_once_lose_no_change(
    node: simulator.SimulatedNode,
) -> None:
    context = multiprocessing.get_context("fork")
    work = [(0, "1g.5gb"), (1, "1g.10gb")]
    children = [
        context.Process(target=_create_many, args=(node.path, *item))
        for item in work
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    # 10 rounds of 7 times a GI and a CI, on 2 GPUs, each a serial number;
    # the GPUs themselves took the first two.
    node.create_instance(0, "1g.5gb")
    (gi,) = gpu_of(node)["instances"]
    twin = simulator.SimulatedNode(node.path + ".twin").create(
        MODELS, mig=True, seed="a"
    )
    for _ in range(140):
        twin.destroy_instance(0, twin.create_instance(0, "1g.5gb"))
    twin.create_instance(0, "1g.5gb")
    (same,) = gpu_of(twin)["instances"]
    assert gi == same


def test_a_reader_never_takes_a_new_state_for_the_old_one(
    node: simulator.SimulatedNode,
) -> None:
    reader = simulator.SimulatedNode(node.path)
    for change in range(500):
        # Of one size, within one tick of the kernel's clock, and in the
        # inode that the state before the last one left.
        node.set_delay(change % 10)
        if change % 2:
            assert reader.summary()["delay_ms"] == change % 10


def test_a_reader_never_sees_half_a_change(
    node: simulator.SimulatedNode,
) -> None:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_create_many, args=(node.path, 0, "1g.5gb"))
    child.start()
    sizes = set()
    while child.is_alive():
        gpu = gpu_of(node)
        assert all(gi["compute_instances"] for gi in gpu["instances"])
        sizes.add(len(gpu["instances"]))
    child.join()
    assert child.exitcode == 0
    assert len(sizes) > 1
