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

"""The fleet, read from a real Placement."""

import json
import os
import pty
from typing import Any

import pytest

from mig_placement import exception
from mig_placement.placement import client as clients
from mig_placement.placement import fleet
from mig_placement.placement import fleet_reader
from mig_placement.placement import names
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import fleets
from tests.functional import gpu_node
from tests.functional import placement_app

Node = gpu_node.GpuNode
Placement = placement_app.InProcessPlacement
SMALL = fleets.SMALL
LARGE = fleets.LARGE


@pytest.fixture
def made(placement: Placement) -> fleets.Builder:
    """In process: its requests can be counted, one at a time."""
    return fleets.Builder(placement.cloud)


def _read(
    placement: Placement, wanted: fleet.Filter | None = None
) -> fleet.Fleet:
    client = clients.Client(placement.adapter)
    return fleet_reader.Reader(client, workers=1).read(wanted)


def _rows(node: Node, *arguments: str, status: int = 0) -> Any:
    done = node.tool("fleet", "-f", "json", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_cloud_without_the_agent_has_an_empty_fleet(
    placement: Placement,
) -> None:
    placement.cloud.create_root("plain.example.org")
    assert _read(placement) == fleet.Fleet()


def test_units_of_an_open_gpu_are_free_or_used(
    placement: Placement, made: fleets.Builder
) -> None:
    gpu = made.node("n1", {SMALL: 7})
    placement.cloud.allocate({gpu: {SMALL: 3}})
    (found,) = _read(placement).gpus
    assert found.is_open
    assert found.rows == (fleet.ClassRow(SMALL, 7, 3, 0, 4),)


def test_a_closed_gpu_has_reasons_and_nothing_free(
    placement: Placement, made: fleets.Builder
) -> None:
    made.node("n1", {SMALL: 7}, reasons=("HOLD", "INSTANCE_MISSING"))
    (found,) = _read(placement).gpus
    assert found.reasons == ("HOLD", "INSTANCE_MISSING")
    assert found.rows == (fleet.ClassRow(SMALL, 7, 0, 7, 0),)
    assert found.rows[0].blocked == 7


def test_a_node_closed_at_its_root_alone_is_blocked(
    placement: Placement, made: fleets.Builder
) -> None:
    made.node("n1", {SMALL: 7}, ready=False)
    (found,) = _read(placement).gpus
    assert found.reasons == (fleet.NODE_CLOSED,)


def test_a_gpu_that_lost_its_traits_is_blocked(
    placement: Placement, made: fleets.Builder
) -> None:
    gpu = made.node("n1", {SMALL: 7})
    placement.cloud.set_traits(gpu, [names.OWNER])
    (found,) = _read(placement).gpus
    assert found.reasons == (fleet.UNKNOWN,)


def test_a_provider_without_a_root_is_retiring(placement: Placement) -> None:
    name = names.provider_name("n1", "0000:41:00.0")
    placement.cloud.create_root(name, traits=[names.OWNER])
    (found,) = _read(placement).gpus
    assert (found.node, found.reasons) == ("n1", (fleet.RETIRING,))


def test_a_strange_provider_with_our_trait_is_left_out_with_a_note(
    placement: Placement, made: fleets.Builder
) -> None:
    made.node("n1", {SMALL: 7})
    placement.cloud.create_root("strange", traits=[names.OWNER])
    found = _read(placement)
    assert [gpu.node for gpu in found.gpus] == ["n1"]
    assert "no name of a GPU's provider" in found.notes[0]


def test_a_name_that_a_terminal_takes_for_a_command_is_defused(
    placement: Placement, made: fleets.Builder
) -> None:
    made.node("n\x1b[2J1", {SMALL: 7})
    (found,) = _read(placement).gpus
    assert found.node == "n?[2J1"


def test_each_gpu_costs_two_requests(
    placement: Placement, made: fleets.Builder
) -> None:
    made.node("n1", {SMALL: 7})
    _read(placement)
    one = placement.recorder.count()
    for number in range(2, 6):
        made.node(f"n{number}", {SMALL: 7})
    placement.recorder.clear()
    _read(placement)
    assert placement.recorder.count() - one == 2 * 4
    # Traits in use, owned, open GPUs, open nodes, one layout, one GPU.
    assert one == 5 + 2


def test_what_a_filter_leaves_out_is_not_asked_for(
    placement: Placement, made: fleets.Builder
) -> None:
    made.node("n1", {SMALL: 7})
    made.node("n2", {SMALL: 7}, layout="other", reasons=("HOLD",))
    for wanted in (fleet.Filter(blocked=True), fleet.Filter(layout="Other")):
        placement.recorder.clear()
        assert [g.node for g in _read(placement, wanted).gpus] == ["n2"]
        assert placement.recorder.count("GET", "/inventories") == 1


def test_a_provider_that_goes_meanwhile_is_left_out_with_a_note(
    placement: Placement, made: fleets.Builder
) -> None:
    gone = made.node("n1", {SMALL: 7})
    made.node("n2", {SMALL: 7})
    placement.recorder.before(
        "GET", f"{gone}/usages", lambda: placement.cloud.delete_provider(gone)
    )
    found = _read(placement)
    assert [gpu.node for gpu in found.gpus] == ["n2"]
    assert found.notes[0].startswith("n1 0000:41:00.0: the provider went")


def test_with_mdev_the_marked_functions_are_the_units(
    placement: Placement,
) -> None:
    cloud = placement.cloud
    root = cloud.create_root("n1", traits=[names.NODE_READY])
    made = fleets.Builder(cloud)
    made.gpu(root, "n1", {})
    own = made.gpu(root, "n1", {}, address="0000:42:00.0")
    made.gpu(root, "n1", {}, address="0000:43:00.0")
    for number in range(4):
        address = f"0000:42:00.{4 + number}"
        function = cloud.create_child(
            root, names.mdev_provider_name("n1", address)
        )
        cloud.set_inventories(function, {SMALL: {"total": 1}})
        # Without the mark no VM gets it: there is no instance for it.
        cloud.set_traits(function, [names.READY] if number else [])
    cloud.allocate({function: {SMALL: 1}})
    rows = {gpu.uuid: gpu.rows for gpu in _read(placement).gpus}
    assert rows.pop(own) == (fleet.ClassRow(SMALL, 3, 1, 0, 2),)
    assert list(rows.values()) == [(), ()]


# The command.


def test_what_the_agent_wrote_is_shown(node: Node) -> None:
    node.tool("sync")
    (row,) = _rows(node)
    assert row == {
        "Node": gpu_node.ROOT_NAME,
        "GPU": "0000:41:00.0",
        "Class": SMALL,
        "Total": 7,
        "Used": 0,
        "Reserved": 0,
        "Free": 7,
        "Gate": "open",
        "Reason": "",
        "Layout": "ALL_1G_5GB",
    }


def test_a_missing_instance_is_shown_with_its_reason(node: Node) -> None:
    node.gpus.destroy_instance(0, (3, 1))
    node.tool("sync")
    (row,) = _rows(node)
    assert (row["Gate"], row["Reason"]) == ("blocked", "INSTANCE_MISSING")
    assert (row["Total"], row["Free"]) == (6, 0)


def test_blocked_has_a_status_of_its_own_where_something_is(
    node: Node,
) -> None:
    made = fleets.Builder(node.cloud)
    made.node("n1", {SMALL: 7})
    assert _rows(node, "--blocked") == []
    made.node("n2", {SMALL: 7}, reasons=("HOLD",))
    (row,) = _rows(node, "--blocked", status=exception.EXIT_MISMATCH)
    assert row["Node"] == "n2"
    assert [each["Node"] for each in _rows(node)] == ["n1", "n2"]


def test_a_class_leaves_out_others_and_gpus_without_it(node: Node) -> None:
    made = fleets.Builder(node.cloud)
    made.node("n1", {SMALL: 3, LARGE: 1})
    made.node("n2", {SMALL: 7})
    for asked in (LARGE, "3g.20gb"):
        (row,) = _rows(node, "--class", asked)
        assert (row["Node"], row["Class"], row["Total"]) == ("n1", LARGE, 1)


def test_nodes_are_sorted_as_people_count(node: Node) -> None:
    made = fleets.Builder(node.cloud)
    for name in ("n10", "n9", "a1"):
        made.node(name, {SMALL: 7})
    assert [row["Node"] for row in _rows(node)] == ["a1", "n9", "n10"]


def test_totals_of_nodes_and_classes(node: Node) -> None:
    made = fleets.Builder(node.cloud)
    first = made.node("n1", {SMALL: 3, LARGE: 1})
    made.node("n2", {SMALL: 7}, reasons=("HOLD",))
    node.cloud.allocate({first: {SMALL: 1}})
    rows = _rows(node, "--by", "class")
    assert rows[0] == {
        "Class": SMALL,
        "GPUs": 2,
        "Open": 1,
        "Total": 10,
        "Used": 1,
        "Reserved": 7,
        "Free": 2,
    }
    assert rows[1]["Class"] == LARGE
    by_node = _rows(node, "--by", "node")
    assert [(r["Node"], r["Class"], r["Total"]) for r in by_node] == [
        ("n1", SMALL, 3),
        ("n1", LARGE, 1),
        ("n2", SMALL, 7),
    ]


def test_people_get_the_sums_in_a_line(node: Node) -> None:
    made = fleets.Builder(node.cloud)
    first = made.node("n1", {SMALL: 3})
    made.node("n2", {SMALL: 7}, reasons=("HOLD",))
    node.cloud.allocate({first: {SMALL: 1}})
    assert node.tool("fleet").stdout.splitlines()[-1] == (
        "2 nodes, 2 GPUs: 1 open, 1 blocked."
        " 10 slices: 1 used, 2 free, 7 blocked."
    )


def test_what_cannot_be_read_does_not_lose_the_rest(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    made = fleets.Builder(node.cloud)
    bad = made.node("n1", {SMALL: 7})
    made.node("n2", {SMALL: 7})
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.write_config()
        proxy.add(faults.html(500), path=f"{bad}/inventories")
        done = node.tool("fleet", "-f", "json")
    assert done.returncode == exception.EXIT_NO_PLACEMENT
    first, second = json.loads(done.stdout)
    assert (first["Node"], first["Total"]) == ("n1", "")
    assert first["Reason"] == "(not read)"
    assert second["Free"] == 7
    (line,) = done.stderr.splitlines()
    assert line.startswith("mig-placement: n1 0000:41:00.0: ")
    assert "HTTP status 500" in line


def test_an_answer_of_another_shape_is_no_traceback(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    fleets.Builder(node.cloud).node("n1", {SMALL: 7})
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.write_config()
        proxy.add(
            faults.json_answer({"usages": {SMALL: "many"}}), path="/usages"
        )
        done = node.tool("fleet", "-f", "json")
    assert done.returncode == exception.EXIT_NO_PLACEMENT
    assert "not one of Placement's API" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_placement_that_fails_is_not_asked_without_an_end(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    made = fleets.Builder(node.cloud)
    root = node.cloud.create_root("n1")
    for number in range(36):
        address = f"0000:{number:02x}:00.0"
        made.gpu(root, "n1", {SMALL: 1}, address=address)
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.write_config()
        proxy.add(faults.html(500), path="/inventories")
        done = node.tool("fleet", "--requests", "1")
        assert proxy.log.count("GET", "/inventories") == 32
    assert done.returncode == exception.EXIT_NO_PLACEMENT
    assert len(done.stderr.splitlines()) == 11
    assert done.stderr.splitlines()[-1].endswith("and 26 more like these")


def test_a_placement_that_is_away_is_one_line(node: Node) -> None:
    node.sections["placement"]["endpoint_override"] = gpu_node.free_port_url()
    node.write_config()
    done = node.tool("fleet")
    assert done.returncode == exception.EXIT_NO_PLACEMENT
    assert len(done.stderr.splitlines()) == 1


def test_progress_is_shown_to_a_person_and_cleared(node: Node) -> None:
    made = fleets.Builder(node.cloud)
    root = node.cloud.create_root("n1")
    for number in range(17):
        address = f"0000:{number:02x}:00.0"
        made.gpu(root, "n1", {SMALL: 1}, address=address)
    seen, end = pty.openpty()
    assert node.on_terminal(end, "fleet") == 0
    said = os.read(seen, 4096).decode()
    os.close(seen)
    assert "16 of 17 GPUs" in said
    assert said.endswith("\x1b[K")


def test_the_help_states_the_requests(node: Node) -> None:
    said = " ".join(node.tool("help", "fleet").stdout.split())
    assert "two requests for each GPU" in said


@pytest.mark.parametrize("many", ["0", "33", "-1", "000000001999", "x"])
def test_requests_at_a_time_are_bounded(many: str, node: Node) -> None:
    done = node.tool("fleet", f"--requests={many}")
    assert done.returncode == exception.EXIT_USAGE
    assert "is to be 1 to 32" in done.stderr
