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

"""The fixtures of Placement are what they claim to be."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import exceptions as ksa_exceptions

from mig_placement import exception
from mig_placement.demo import placement_server as server
from mig_placement.demo import server_process
from tests.functional import cloud as cloud_module
from tests.functional import placement_app

SLICE = "CUSTOM_MIG_1G_5GB"
READY = "CUSTOM_MIG_READY"
NODE_READY = "CUSTOM_MIG_NODE_READY"


def _node_with_gpu(cloud: cloud_module.Cloud) -> tuple[str, str]:
    root = cloud.create_root("compute-1", traits=["COMPUTE_NODE", NODE_READY])
    gpu = cloud.create_child(root, "compute-1_mig_0000_41_00_0")
    cloud.set_inventories(gpu, {SLICE: {"total": 7}})
    cloud.set_traits(gpu, [READY])
    return root, gpu


@pytest.fixture(params=["placement", "placement_tcp"])
def either(request: pytest.FixtureRequest) -> placement_app.Placement:
    """The same tests for the one in process and the one over TCP."""
    found: placement_app.Placement = request.getfixturevalue(request.param)
    return found


def test_a_vm_gets_a_slice_until_none_is_left(
    either: placement_app.Placement,
) -> None:
    root, gpu = _node_with_gpu(either.cloud)
    (candidate,) = either.cloud.candidates({SLICE: 7}, [READY])
    assert candidate.providers == {root, gpu}
    vm = either.cloud.boot({SLICE: 7}, [READY], node_required=[NODE_READY])
    assert either.cloud.usages(gpu) == {SLICE: 7}
    assert either.cloud.consumers(gpu) == [vm]
    with pytest.raises(cloud_module.NoValidHost):
        either.cloud.boot({SLICE: 1}, [READY])
    either.cloud.delete_vm(vm)
    assert either.cloud.candidates({SLICE: 1}, [READY])


def test_a_class_or_trait_that_is_unknown_is_no_valid_host(
    either: placement_app.Placement,
) -> None:
    either.cloud.create_root("compute-1")
    assert either.cloud.candidates({"CUSTOM_MIG_9G_9GB": 1}) == []
    assert either.cloud.candidates({}, node_required=["CUSTOM_NO"]) == []


def test_a_closed_node_takes_plain_vms_only(
    either: placement_app.Placement,
) -> None:
    root, _gpu = _node_with_gpu(either.cloud)
    either.cloud.set_traits(root, ["COMPUTE_NODE"])
    wanted = {SLICE: 1}
    assert not either.cloud.candidates(wanted, node_required=[NODE_READY])
    assert either.cloud.candidates(wanted)
    plain = either.cloud.boot_plain()
    assert either.cloud.consumers(root) == [plain]


def test_a_provider_tells_what_it_still_offers(
    either: placement_app.Placement,
) -> None:
    root, gpu = _node_with_gpu(either.cloud)
    either.cloud.boot({SLICE: 2}, [READY])
    either.cloud.set_inventories(gpu, {SLICE: {"total": 7, "reserved": 1}})
    provider = either.cloud.tree(root)["compute-1_mig_0000_41_00_0"]
    assert provider.offered == {SLICE: 4}
    assert provider.traits == {READY}
    assert provider.parent == root
    either.cloud.set_inventories(gpu, {SLICE: {"total": 7, "reserved": 7}})
    assert either.cloud.provider(gpu).offered == {SLICE: 0}


def test_a_recreated_root_has_a_new_uuid_and_no_children(
    either: placement_app.Placement,
) -> None:
    root, gpu = _node_with_gpu(either.cloud)
    either.cloud.boot({SLICE: 1}, [READY])
    again = either.cloud.recreate_root(root)
    assert again != root
    assert set(either.cloud.providers()) == {"compute-1"}
    with pytest.raises(cloud_module.Refused, match="404"):
        either.cloud.provider(gpu)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_a_clean_placement(
    either: placement_app.Placement, turn: int
) -> None:
    assert either.cloud.providers() == {}
    assert not either.adapter.get(f"/traits?name=in:{READY}").json()["traits"]
    _node_with_gpu(either.cloud)


def test_a_placement_in_memory_is_there_for_longer_than_an_hour(
    placement: placement_app.InProcessPlacement,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placement.cloud.create_root("compute-1")
    tomorrow = time.time() + 86400
    monkeypatch.setattr("time.time", lambda: tomorrow)
    assert set(placement.cloud.providers()) == {"compute-1"}


def test_the_recorder_sees_the_client_and_nobody_else(
    placement: placement_app.InProcessPlacement,
) -> None:
    root = placement.cloud.create_root("compute-1")
    placement.adapter.get(f"/resource_providers/{root}")
    placement.adapter.put("/traits/CUSTOM_A", json={"not": "read"})
    recorder = placement.recorder
    assert recorder.count("GET", "^/resource_providers") == 1
    assert recorder.routes() == {
        ("GET", "/resource_providers/{uuid}"): 1,
        ("PUT", "/traits/CUSTOM_A"): 1,
    }
    (write,) = recorder.writes()
    assert write.status == 201
    assert write.json() == {"not": "read"}
    recorder.clear()
    assert recorder.count() == 0


def test_the_world_can_move_just_before_a_write(
    placement: placement_app.InProcessPlacement,
) -> None:
    _root, gpu = _node_with_gpu(placement.cloud)
    generation = placement.cloud.provider(gpu).generation
    placement.recorder.before(
        "PUT",
        f"{gpu}/traits$",
        lambda: placement.cloud.boot({SLICE: 1}, [READY]),
    )
    body = {"traits": [], "resource_provider_generation": generation}
    path = f"/resource_providers/{gpu}/traits"
    late = placement.adapter.put(path, json=body, raise_exc=False)
    assert late.status_code == 409
    assert late.json()["errors"][0]["code"] == "placement.concurrent_update"
    assert placement.cloud.usages(gpu) == {SLICE: 1}
    assert placement.recorder.count() == 1


def test_placement_itself_answers_401_and_403(
    placement: placement_app.InProcessPlacement,
) -> None:
    def status(session: Any, method: str, path: str, **more: Any) -> int:
        adapter = placement_app.make_adapter(session, placement.url)
        answer = adapter.request(path, method, raise_exc=False, **more)
        return int(answer.status_code)

    nobody = placement.session_without_token()
    reader = placement.session_as("reader")
    service = placement.session_as("service")
    trait = "/traits/CUSTOM_A"
    assert status(nobody, "GET", "/traits", authenticated=False) == 401
    assert status(reader, "PUT", trait) == 403
    assert status(service, "PUT", trait) == 201


def test_the_server_comes_back_on_its_port_with_its_database(
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    root = placement_tcp.cloud.create_root("compute-1")
    placement_tcp.process.stop(kill=True)
    with pytest.raises(ksa_exceptions.ConnectFailure):
        placement_tcp.adapter.get("/", connect_retries=0)
    placement_tcp.process.restart()
    assert placement_tcp.cloud.provider(root).name == "compute-1"


def test_a_process_cleans_up_after_an_error() -> None:
    started = server.PlacementProcess()
    with pytest.raises(ZeroDivisionError):
        _fail_inside(started)
    assert not started.running
    assert not started.folder.exists()


def _fail_inside(process: server.PlacementProcess) -> None:
    with process:
        assert process.running
        raise ZeroDivisionError


def test_a_process_that_is_not_ready_in_time_is_ended() -> None:
    late = server.PlacementProcess(time_limit=0.05)
    with (
        pytest.raises(exception.MigPlacementError, match="is not ready after"),
        late,
    ):
        pass
    assert late.pid is None
    assert not late.folder.exists()


def test_a_server_that_fails_to_start_tells_why(tmp_path: Path) -> None:
    database = tmp_path / "missing" / "placement.sqlite"
    with (
        pytest.raises(exception.MigPlacementError, match="unable to open"),
        server.PlacementProcess(database=database),
    ):
        pass


def test_the_server_ends_with_its_killed_owner(tmp_path: Path) -> None:
    code = (
        "import json, time\n"
        "from mig_placement.demo.placement_server import PlacementProcess\n"
        "p = PlacementProcess()\n"
        "p.start()\n"
        "print(json.dumps([p.pid, str(p.folder)]), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        pid, folder = json.loads(owner.stdout.readline())
        assert _alive(pid)
        owner.send_signal(signal.SIGKILL)
    assert _within(10, lambda: not _alive(pid))
    assert not Path(folder).exists()


def test_a_missing_extra_is_named_with_its_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(server._MODULES, "no_such_module", "no-such-package")
    with pytest.raises(exception.ConfigError) as caught:
        server.PlacementProcess()
    assert "no-such-package not installed" in str(caught.value)
    assert "mig-placement[demo]" in str(caught.value)
    assert caught.value.exit_status == exception.EXIT_USAGE


def test_a_reserved_port_refuses_connections() -> None:
    port = server_process.ReservedPort()
    url = f"http://127.0.0.1:{port.number}"
    session = placement_app.admin_session(url)
    with pytest.raises(ksa_exceptions.ConnectFailure):
        session.get(url, connect_retries=0)
    port.release()


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A zombie has ended: its parent, which may be gone, did not say so.
    return stat.rpartition(")")[2].split()[0] != "Z"


def _within(seconds: float, condition: Any) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
