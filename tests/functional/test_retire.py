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
"""Retiring providers on a real Placement: by the tool and by the agent."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from mig_placement import exception
from mig_placement import retiring
from mig_placement.placement import client
from mig_placement.placement import desired
from mig_placement.placement import names
from mig_placement.placement import plan
from mig_placement.placement import retire
from mig_placement.placement import sync
from mig_placement.service import lock
from mig_placement.service import retired
from tests.functional import cloud as clouds
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import placement_app
from tests.unit import pictures

Node = gpu_node.GpuNode
_ONE = {gpu_node.CLASS: 1}
_VGPU = names.vgpu_class("1g.5gb")
_OURS = f"{gpu_node.ROOT_NAME}_mig_0000_41_00_0"


def _states(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """State by provider."""
    return {r["Provider"]: r["State"] for r in json.loads(done.stdout)}


def _retire(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return node.tool("retire", "-f", "json", *arguments)


def _refresh(node: Node, seconds: float) -> None:
    node.sections["agent"]["nova_refresh"] = str(seconds)
    node.write_config()


def _synced(node: Node) -> clouds.Provider:
    """The node's only GPU, open."""
    assert node.tool("sync").returncode == exception.EXIT_OK
    return node.provider()


@dataclasses.dataclass(frozen=True)
class _Others:
    """What is not ours, by name."""

    cloud: clouds.Cloud
    names: tuple[str, ...]

    def seen(self) -> dict[str, clouds.Provider]:
        found = self.cloud.providers()
        return {name: found[name] for name in self.names}


def _gpu_of(cloud: clouds.Cloud, root: str, name: str) -> None:
    """A GPU provider of another host's agent, open."""
    uuid = cloud.create_child(root, name)
    cloud.set_traits(uuid, [names.OWNER, names.READY])
    cloud.set_inventories(uuid, {gpu_node.CLASS: {"total": 7}})


def _others(cloud: clouds.Cloud, own_root: str) -> _Others:
    """Other hosts, called as to be taken for this one, and Nova's."""
    made = []
    for host in (
        f"{gpu_node.ROOT_NAME}_mig_x",
        f"{gpu_node.ROOT_NAME}1",
        f"x{gpu_node.ROOT_NAME}",
    ):
        root = cloud.create_root(host, traits=["COMPUTE_NODE"])
        _gpu_of(cloud, root, f"{host}_mig_0000_41_00_0")
        made += [host, f"{host}_mig_0000_41_00_0"]
    # A host may even be called as a GPU of this one would be.
    host = f"{gpu_node.ROOT_NAME}_mig_0000_99_00_0"
    cloud.create_root(host)
    made.append(host)
    for name in ("pci_0000_41_00_4", "0000:41:00.0"):
        child = cloud.create_child(own_root, f"{gpu_node.ROOT_NAME}_{name}")
        cloud.set_inventories(child, {"VGPU": {"total": 4}})
        made.append(f"{gpu_node.ROOT_NAME}_{name}")
    return _Others(cloud, tuple(made))


# The tool: a host leaves service.


def test_a_host_leaves_and_its_root_is_as_nova_made_it(node: Node) -> None:
    before = node.cloud.providers()[gpu_node.ROOT_NAME]
    _synced(node)
    done = _retire(node, "--nova-stopped")
    assert done.returncode == exception.EXIT_OK, done.stderr
    assert _states(done) == {_OURS: "deleted"}
    (root,) = node.cloud.providers().values()
    assert root.traits == before.traits
    assert root.inventories == before.inventories


def test_without_waiting_it_is_out_of_the_tree_and_not_deleted(
    node: Node,
) -> None:
    _synced(node)
    done = _retire(node)
    assert done.returncode == exception.EXIT_MISMATCH
    (row,) = json.loads(done.stdout)
    assert (row["Provider"], row["State"]) == (_OURS, "waits")
    assert row["Left to do"] == "delete it in 365 s"
    provider = node.provider()
    assert (provider.parent, provider.inventories) == (None, {})
    assert names.OWNER in provider.traits
    assert node.candidates(required=False) == 0


def test_run_again_it_goes_on_to_count(node: Node) -> None:
    _synced(node)
    _retire(node)
    _refresh(node, 0.001)
    assert _retire(node).returncode == exception.EXIT_MISMATCH
    path = node.folder / "state" / "retire.json"
    records = retired.read(path)
    assert records is not None
    ((uuid, since),) = records.orphans.items()
    assert since is not None
    earlier = dataclasses.replace(since, seconds=since.seconds - 10)
    retired.write(path, records.with_orphan(uuid, earlier))
    done = _retire(node)
    assert done.returncode == exception.EXIT_OK
    assert _OURS not in node.cloud.providers()


def test_it_waits_for_novas_cache_and_deletes(node: Node) -> None:
    node.create_gpus(2)
    _synced(node)
    _refresh(node, 1)
    before = time.monotonic()
    done = _retire(node, "--wait")
    assert done.returncode == exception.EXIT_OK
    assert time.monotonic() - before > 6
    assert set(_states(done).values()) == {"deleted"}
    assert list(node.cloud.providers()) == [gpu_node.ROOT_NAME]


def test_to_wait_for_what_never_comes_is_refused(node: Node) -> None:
    _synced(node)
    _refresh(node, 0)
    done = _retire(node, "--wait")
    assert done.returncode == exception.EXIT_USAGE
    assert "--nova-stopped" in done.stderr
    assert node.candidates() == 1
    done = _retire(node)
    assert "when nova-compute was restarted" in done.stdout


def test_allocations_keep_everything_but_the_gate(node: Node) -> None:
    node.create_gpus(2)
    _synced(node)
    vm = node.cloud.boot(_ONE)
    done = _retire(node, "--nova-stopped")
    assert done.returncode == exception.EXIT_MISMATCH
    (line,) = done.stderr.splitlines()
    assert (
        f"VMs hold 1 of {gpu_node.CLASS} on {gpu_node.ROOT_NAME}_mig_" in line
    )
    assert "run it again" in line
    assert node.cloud.candidates(_ONE) == []
    for index in range(2):
        inventory = node.provider(index).inventories[gpu_node.CLASS]
        assert inventory["total"] == inventory["reserved"] == 7
        assert node.blocked_by(index) == {"RETIRED"}
    node.cloud.delete_vm(vm)
    done = _retire(node, "--nova-stopped")
    assert done.returncode == exception.EXIT_OK


def test_a_vm_with_a_function_of_novas_keeps_the_host(node: Node) -> None:
    node.sections["nova"] = {"attach": "mdev"}
    node.write_config()
    root = node.cloud.providers()[gpu_node.ROOT_NAME].uuid
    function = f"{gpu_node.ROOT_NAME}_pci_0000_41_00_4"
    uuid = node.cloud.create_child(root, function)
    node.cloud.set_inventories(uuid, {gpu_node.CLASS: {"total": 1}})
    node.cloud.boot(_ONE)
    done = _retire(node, "--nova-stopped")
    assert done.returncode == exception.EXIT_MISMATCH
    assert f"1 of {gpu_node.CLASS} on {function}" in done.stderr


def test_novas_units_of_a_host_that_left_are_for_an_operator_to_free(
    node: Node,
) -> None:
    node.sections["nova"] = {"attach": "vfio"}
    node.write_config()
    root = node.cloud.providers()[gpu_node.ROOT_NAME].uuid
    name = f"{gpu_node.ROOT_NAME}_0000:41:00.0"
    uuid = node.cloud.create_child(root, name)
    node.cloud.set_inventories(uuid, {_VGPU: {"total": 7}})
    node.tool("sync")
    assert _retire(node, "--nova-stopped").returncode == exception.EXIT_OK
    assert node.cloud.providers()[name].inventories[_VGPU]["reserved"] == 7


def test_a_vm_with_somebody_elses_class_does_not_keep_the_host(
    node: Node,
) -> None:
    node.sections["nova"] = {"attach": "mdev"}
    node.write_config()
    root = node.cloud.providers()[gpu_node.ROOT_NAME].uuid
    uuid = node.cloud.create_child(
        root, f"{gpu_node.ROOT_NAME}_pci_0000_c1_00_4"
    )
    node.cloud.set_inventories(uuid, {"VGPU": {"total": 1}})
    node.cloud.boot({"VGPU": 1})
    assert _retire(node, "--nova-stopped").returncode == exception.EXIT_OK


def test_while_the_agent_runs_it_is_refused(node: Node) -> None:
    node.start_agent()
    node.opens()
    done = _retire(node, "--nova-stopped")
    assert done.returncode == exception.EXIT_USAGE
    assert "stop and disable mig-placement-agent" in done.stderr
    assert node.candidates() == 1


def test_no_agent_starts_while_it_waits(node: Node) -> None:
    with lock.retire(node.run_dir):
        agent = node.start_agent()
        assert agent.wait(gpu_node.PATIENCE) == exception.EXIT_USAGE


def test_a_node_without_providers_has_nothing_to_retire(node: Node) -> None:
    done = _retire(node)
    assert done.returncode == exception.EXIT_OK
    assert json.loads(done.stdout) == []


def test_nobody_elses_provider_is_touched(node: Node) -> None:
    _synced(node)
    root = node.cloud.providers()[gpu_node.ROOT_NAME].uuid
    others = _others(node.cloud, root)
    before = others.seen()
    for host in (gpu_node.ROOT_NAME, "mig", f"{gpu_node.ROOT_NAME}_mig"):
        done = _retire(node, "--nova-stopped", f"--host={host}")
        assert done.returncode == exception.EXIT_OK, done.stderr
    assert others.seen() == before
    assert _OURS not in node.cloud.providers()


def test_a_provider_of_that_name_without_our_mark_is_left_alone(
    node: Node,
) -> None:
    foreign = node.cloud.create_root(_OURS, traits=["CUSTOM_RACK_7"])
    before = node.cloud.provider(foreign)
    node.cloud.create_child(foreign, "x")
    assert _retire(node, "--nova-stopped").returncode == exception.EXIT_OK
    assert node.cloud.provider(foreign) == before


# A host that was renamed.


def _renamed(node: Node) -> None:
    node.sections["agent"]["hypervisor_hostname"] = "new.example.org"
    node.write_config()


def test_what_is_under_the_old_root_is_retired(node: Node) -> None:
    _synced(node)
    node.cloud.create_root("new.example.org")
    _renamed(node)
    assert node.tool("sync").returncode == exception.EXIT_OK
    done = _retire(node, f"--host={gpu_node.ROOT_NAME}", "--nova-stopped")
    assert done.returncode == exception.EXIT_OK, done.stderr
    assert _states(done) == {_OURS: "deleted"}
    assert set(node.cloud.providers()) == {
        gpu_node.ROOT_NAME,
        "new.example.org",
        "new.example.org_mig_0000_41_00_0",
    }
    old = node.cloud.providers()[gpu_node.ROOT_NAME]
    assert names.NODE_READY not in old.traits
    assert node.candidates() == 1, "what has the new name is offered"


def test_what_has_lost_its_root_is_retired(node: Node) -> None:
    _synced(node)
    assert _retire(node).returncode == exception.EXIT_MISMATCH
    node.cloud.delete_root(node.cloud.providers()[gpu_node.ROOT_NAME].uuid)
    _renamed(node)
    done = _retire(node, f"--host={gpu_node.ROOT_NAME}", "--nova-stopped")
    assert done.returncode == exception.EXIT_OK, done.stderr
    assert node.cloud.providers() == {}


def test_without_its_root_a_provider_in_use_is_closed_and_kept(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    uuid = _synced(node).uuid
    node.cloud.boot(_ONE, node_required=[names.NODE_READY])
    # The root was renamed in place, which leaves its children.
    root = node.cloud.providers()[gpu_node.ROOT_NAME].uuid
    placement_tcp.adapter.put(
        f"/resource_providers/{root}", json={"name": "new.example.org"}
    )
    _renamed(node)
    done = _retire(node, f"--host={gpu_node.ROOT_NAME}", "--nova-stopped")
    assert done.returncode == exception.EXIT_MISMATCH
    assert "VMs hold 1" in done.stderr
    provider = node.cloud.provider(uuid)
    inventory = provider.inventories[gpu_node.CLASS]
    assert inventory["reserved"] == inventory["total"]
    assert provider.parent == root


def test_an_agent_does_not_hinder_the_retiring_of_its_old_name(
    node: Node,
) -> None:
    _synced(node)
    node.cloud.create_root("new.example.org")
    _renamed(node)
    node.start_agent()
    node.opens(2)
    done = _retire(node, f"--host={gpu_node.ROOT_NAME}", "--nova-stopped")
    assert done.returncode == exception.EXIT_OK
    assert node.candidates() == 1


def test_one_that_an_agent_puts_back_is_not_deleted(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    uuid = _synced(node).uuid
    root = node.cloud.providers()[gpu_node.ROOT_NAME].uuid
    _refresh(node, 0.001)
    tool = _started(node, "--wait", "-f", "json")
    gpu_node.within(lambda: node.cloud.provider(uuid).parent is None)
    # As the agent of a host whose name was given by mistake.
    _put_back(placement_tcp, uuid, root)
    output, _ = tool.communicate(timeout=gpu_node.PATIENCE)
    assert tool.returncode == exception.EXIT_MISMATCH
    assert json.loads(output)[0]["State"] == "put back"
    assert node.cloud.provider(uuid).parent == root


def _started(node: Node, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mig_placement.cmd.tool",
            f"--config-file={node.config}",
            "retire",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _put_back(
    placement: placement_app.Placement, uuid: str, root: str
) -> None:
    provider = client.Client(placement.adapter).provider(uuid)
    assert provider is not None
    client.Client(placement.adapter).do(
        plan.PutParent(plan.Stage.PREPARE, provider, root)
    )


# Crashes.


class _Hangs:
    """A write that is applied, or not, and whose answer never comes.

    :param after: how many like it are answered.
    """

    def __init__(self, *, applied: bool, after: int = 0) -> None:
        self.reached = threading.Event()
        self._applied = applied
        self._after = after

    def __call__(self, talk: faults.Talk) -> None:
        self._after -= 1
        if self._after >= 0:
            talk.send(talk.forward())
            return
        if self._applied:
            talk.forward()
        self.reached.set()
        talk.pause(60)


@pytest.mark.parametrize("applied", [True, False], ids=["after", "before"])
@pytest.mark.parametrize(
    ("method", "path", "after"),
    [
        ("PUT", "/inventories$", 1),
        ("PUT", "/resource_providers/[-0-9a-f]*$", 0),
        ("DELETE", "", 0),
    ],
    ids=["emptying", "taking out", "deleting"],
)
def test_killed_at_a_write_and_run_again_it_ends_the_same(
    method: str,
    path: str,
    after: int,
    applied: bool,
    node: Node,
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    _synced(node)
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node.sections["placement"]["endpoint"] = proxy.url
        node.write_config()
        fault = _Hangs(applied=applied, after=after)
        proxy.add(fault, method=method, path=path)
        tool = _started(node, "--nova-stopped")
        assert fault.reached.wait(gpu_node.PATIENCE)
        tool.kill()
        tool.communicate()
        assert node.candidates(required=False) == 0
    node.sections["placement"].update(placement_tcp.options())
    node.write_config()
    done = _retire(node, "--nova-stopped")
    assert done.returncode == exception.EXIT_OK, done.stderr
    (root,) = node.cloud.providers().values()
    assert root.traits == {"COMPUTE_NODE"}


class _Died(BaseException):
    """The process ends here."""


class _Host:
    """A host in a Placement in this process, at a time that we set."""

    NEEDED = 300.0

    def __init__(
        self,
        placement: placement_app.InProcessPlacement,
        folder: pathlib.Path,
        patch: pytest.MonkeyPatch,
    ) -> None:
        self.placement = placement
        self.cloud = placement.cloud
        self.client = client.Client(placement.adapter)
        self.root = self.cloud.create_root(pictures.ROOT_NAME)
        self.folder = folder
        self.boot = "boot-1"
        self.seconds = 1000.0
        patch.setattr(
            retired, "moment", lambda: retired.Moment(self.boot, self.seconds)
        )

    def retirer(self, *, reboot_counts: bool = True) -> retiring.Retirer:
        """One that knows what the file says, as after a start."""
        return retiring.Retirer(
            self.client,
            retired.path(self.folder),
            self.NEEDED,
            reboot_counts=reboot_counts,
        )

    def synchronizer(self) -> sync.Synchronizer:
        return sync.Synchronizer(self.client, pictures.ROOT_NAME)

    def tell(self, *indices: int) -> sync.Outcome:
        """A new agent sees GPUs with seven 1g.5gb at these addresses."""
        seen = pictures.picture(
            *(pictures.judged(each, {"1g.5gb": 7}) for each in indices)
        )
        return self.synchronizer().sync(
            functools.partial(
                desired.desired, picture=seen, rules=desired.Rules()
            )
        )

    def follow(self, *indices: int, agent: retiring.GoneGpus) -> None:
        """A cycle of the agent that sees these GPUs."""
        outcome = self.tell(*indices)
        seen = pictures.picture(*(pictures.judged(i) for i in indices))
        agent.follow(outcome.tree, seen.node)

    def gone_gpus(self, after: float = 100.0) -> retiring.GoneGpus:
        return retiring.GoneGpus(
            self.retirer(), after, clock=lambda: self.seconds
        )

    def gpu(self, index: int = 0) -> clouds.Provider | None:
        return self.cloud.providers().get(
            names.provider_name(pictures.ROOT_NAME, pictures.address(index))
        )


@pytest.fixture
def host(
    placement: placement_app.InProcessPlacement,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> _Host:
    return _Host(placement, tmp_path, monkeypatch)


def _uuid(host: _Host, index: int = 0) -> str:
    provider = host.gpu(index)
    assert provider is not None
    return provider.uuid


def _dies() -> None:
    raise _Died


@pytest.mark.parametrize("crash", range(3))
def test_dying_before_any_write_never_shortens_the_waiting(
    crash: int, host: _Host
) -> None:
    host.tell(0)
    uuid = _uuid(host)
    method, path = [
        ("PUT", "/inventories$"),
        ("PUT", f"{uuid}$"),
        ("DELETE", f"{uuid}$"),
    ][crash]
    host.placement.recorder.before(method, path, _dies)
    out_since = None
    with contextlib.suppress(_Died):
        while host.retirer().advance(uuid):
            out_since = out_since or host.seconds
            host.seconds += 50
    while host.retirer().advance(uuid):
        out_since = out_since or host.seconds
        host.seconds += 50
    assert out_since is not None
    assert host.seconds - out_since >= host.NEEDED
    assert host.gpu() is None


def test_an_agent_that_dies_between_write_and_record_deletes_it_later(
    host: _Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.tell(0, 1)
    agent = host.gone_gpus(after=1)
    host.follow(0, agent=agent)
    host.seconds += 2
    real = host.client.do

    def do(action: plan.Write) -> int:
        generation = real(action)
        if isinstance(action, plan.PutParent):
            raise _Died
        return generation

    with monkeypatch.context() as patch:
        patch.setattr(host.client, "do", do)
        with pytest.raises(_Died):
            host.follow(0, agent=agent)
    host.seconds += 10_000
    agent = host.gone_gpus(after=1)
    host.follow(0, agent=agent)
    assert host.gpu(1) is not None, "nobody knows how long it waited"
    host.seconds += 301
    host.follow(0, agent=agent)
    assert host.gpu(1) is None


def test_an_old_record_does_not_count_when_it_is_taken_out_again(
    host: _Host,
) -> None:
    host.tell(0)
    uuid = _uuid(host)
    host.retirer().advance(uuid)
    host.seconds += 1000
    host.tell(0)
    left = host.retirer().advance(uuid)
    assert left == retire.Wait(left.provider, host.NEEDED)  # type: ignore[union-attr]
    host.seconds += 299
    assert isinstance(host.retirer().advance(uuid), retire.Wait)


@pytest.mark.parametrize("own", [True, False], ids=["own", "other"])
def test_a_reboot_ends_the_waiting_on_the_rebooted_host_alone(
    own: bool, host: _Host
) -> None:
    host.tell(0)
    uuid = _uuid(host)
    host.retirer().advance(uuid)
    host.boot, host.seconds = "boot-2", 5.0
    left = host.retirer(reboot_counts=own).advance(uuid)
    assert left is None if own else isinstance(left, retire.Wait)
    host.seconds = 290.0
    left = host.retirer(reboot_counts=own).advance(uuid)
    assert left is None if own else isinstance(left, retire.Wait)
    host.seconds = 306.0
    assert host.retirer(reboot_counts=own).advance(uuid) is None


def test_an_allocation_in_the_middle_keeps_the_provider(host: _Host) -> None:
    # Its gate is open: it is the emptying that Placement refuses.
    host.tell(0)
    uuid = _uuid(host)
    booted: list[str] = []
    host.placement.recorder.before(
        "PUT", "/inventories$", lambda: booted.append(host.cloud.boot(_ONE))
    )
    left = host.retirer().advance(uuid)
    assert isinstance(left, retire.Keep)
    provider = host.cloud.provider(uuid)
    assert provider.parent == host.root
    assert provider.offered == {gpu_node.CLASS: 0}
    assert host.cloud.consumers(uuid) == booted


# The agent: a GPU that was taken out.


def test_a_gpu_that_is_gone_for_long_enough_is_retired(host: _Host) -> None:
    host.tell(0, 1)
    agent = host.gone_gpus()
    host.follow(0, agent=agent)
    host.seconds += 99
    host.follow(0, agent=agent)
    gpu = host.gpu(1)
    assert gpu is not None
    assert gpu.parent == host.root
    host.seconds += 2
    agent = host.gone_gpus()  # it was started again meanwhile
    host.follow(0, agent=agent)
    gpu = host.gpu(1)
    assert gpu is not None
    assert (gpu.parent, gpu.inventories) == (None, {})
    host.seconds += 299
    host.follow(0, agent=agent)
    assert host.gpu(1) is not None
    host.seconds += 2
    host.follow(0, agent=agent)
    assert host.gpu(1) is None
    assert host.gpu(0) is not None
    assert host.cloud.candidates(_ONE)


def test_waiting_costs_placement_nothing(host: _Host) -> None:
    host.tell(0, 1)
    agent = host.gone_gpus(after=1)
    host.follow(0, agent=agent)
    host.seconds += 2
    host.follow(0, agent=agent)
    tree = host.tell(0).tree
    node = pictures.picture(pictures.judged(0)).node
    host.placement.recorder.clear()
    for _ in range(5):
        host.seconds += 10
        agent.follow(tree, node)
    assert host.placement.recorder.exchanges == []


def test_a_gpu_that_comes_back_in_the_middle_is_offered_again(
    host: _Host,
) -> None:
    host.tell(0, 1)
    uuid = _uuid(host, 1)
    traits = {*host.cloud.traits(uuid), "CUSTOM_RACK_7"}
    host.cloud.set_traits(uuid, traits)
    agent = host.gone_gpus(after=1)
    host.follow(0, agent=agent)
    host.seconds += 2
    host.follow(0, agent=agent)
    assert host.cloud.provider(uuid).parent is None
    host.follow(0, 1, agent=agent)
    gpu = host.cloud.provider(uuid)
    assert gpu.parent == host.root
    assert gpu.offered == {gpu_node.CLASS: 7}
    assert "CUSTOM_RACK_7" in gpu.traits
    host.seconds += 10_000
    host.follow(0, 1, agent=agent)
    assert host.gpu(1) is not None
    assert host.gone_gpus()._retirer.records == retired.Records()


def test_eight_gpus_that_come_back_are_offered_in_one_cycle(
    host: _Host,
) -> None:
    host.tell(*range(8))
    for index in range(8):
        host.retirer().advance(_uuid(host, index))
    host.tell(*range(8))
    assert len(host.cloud.candidates(_ONE)) == 8


def test_one_that_was_retired_under_the_root_before_is_taken_in(
    host: _Host,
) -> None:
    # The service was deleted and the root made anew, with another uuid.
    host.tell(0)
    host.retirer().advance(_uuid(host))
    host.root = host.cloud.recreate_root(host.root)
    host.tell(0)
    gpu = host.gpu()
    assert gpu is not None
    assert gpu.parent == host.root
    assert host.cloud.candidates(_ONE)


def test_a_root_of_somebody_elses_with_the_gpus_name_is_not_taken_in(
    host: _Host,
) -> None:
    name = names.provider_name(pictures.ROOT_NAME, pictures.address(0))
    foreign = host.cloud.create_root(name)
    before = host.cloud.provider(foreign)
    with pytest.raises(exception.PlacementConflict, match="name is taken"):
        host.tell(0)
    assert host.cloud.provider(foreign) == before


def test_a_gone_gpu_with_allocations_is_kept_and_said_once(
    host: _Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.tell(0)
    uuid = _uuid(host)
    vm = host.cloud.boot(_ONE)
    agent = host.gone_gpus(after=1)
    for _ in range(3):
        host.follow(1, agent=agent)
        host.seconds += 10
    gpu = host.cloud.provider(uuid)
    assert gpu.parent == host.root
    assert gpu.offered == {gpu_node.CLASS: 0}
    assert caplog.text.count("is kept: VMs hold 1") == 1
    host.cloud.delete_vm(vm)
    host.follow(1, agent=agent)
    assert host.cloud.provider(uuid).parent is None


def test_what_is_not_observed_is_not_gone(host: _Host) -> None:
    outcome = host.tell(0)
    agent = host.gone_gpus(after=1)
    for _ in range(3):
        agent.follow(outcome.tree, pictures.unseen().node)
        host.seconds += 10
    assert _uuid(host)
    assert host.gpu().parent == host.root  # type: ignore[union-attr]


def test_with_its_memory_lost_an_orphan_is_found_and_waits_anew(
    host: _Host,
) -> None:
    host.tell(0, 1)
    uuid = _uuid(host, 1)
    host.retirer().advance(uuid)
    others = host.cloud.create_root("other")
    _gpu_of(host.cloud, others, "other_mig_0000_42_00_0")
    retired.path(host.folder).unlink()
    host.seconds += 1000
    agent = host.gone_gpus()
    host.follow(0, agent=agent)
    assert host.gpu(1) is not None
    host.seconds += 301
    host.follow(0, agent=agent)
    assert host.gpu(1) is None
    assert "other_mig_0000_42_00_0" in host.cloud.providers()


def test_an_orphan_under_another_root_is_let_go(host: _Host) -> None:
    host.tell(0, 1)
    uuid = _uuid(host, 1)
    agent = host.gone_gpus(after=1)
    host.follow(0, agent=agent)
    host.seconds += 2
    host.follow(0, agent=agent)
    other = host.cloud.create_root("other")
    _put_back(host.placement, uuid, other)
    host.cloud.set_inventories(uuid, {gpu_node.CLASS: {"total": 3}})
    before = host.cloud.provider(uuid)
    for _ in range(3):
        host.seconds += 1000
        host.follow(0, agent=agent)
    assert host.cloud.provider(uuid) == before


def test_a_memory_that_cannot_be_written_retires_nothing(
    host: _Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.tell(0)
    uuid = _uuid(host)
    (host.folder / "file").touch()
    host.folder = host.folder / "file"
    agent = host.gone_gpus(after=1)
    for _ in range(3):
        host.follow(1, agent=agent)
        host.seconds += 10
    assert host.cloud.provider(uuid).parent == host.root
    assert caplog.text.count("are gone are not retired") == 1


def _retires(node: Node, after: float) -> None:
    node.sections["agent"]["retire_after"] = str(after)
    _refresh(node, 0.001)


def test_the_agent_retires_a_gpu_and_offers_it_when_it_is_back(
    node: Node, placement_tcp: placement_app.TcpPlacement
) -> None:
    _retires(node, 0.1)
    node.create_gpus(2)
    node.start_agent()
    node.opens(2)
    uuid = node.provider(1).uuid
    node.gpus.remove_gpu(1)
    gpu_node.within(lambda: node.cloud.provider(uuid).parent is None)
    node.gpus.add_gpu("A100-40GB")
    node.gpus.set_mig(1, enabled=True)
    node.gpus.reset_gpu(1, force=True)
    for start in range(7):
        node.gpus.create_instance(1, "1g.5gb", start)
    node.opens(2)
    assert node.cloud.provider(uuid).offered == {gpu_node.CLASS: 7}
    node.gpus.remove_gpu(1)
    found = client.Client(placement_tcp.adapter)
    gpu_node.within(lambda: found.provider(uuid) is None)
    node.opens(1)


def test_by_itself_the_agent_retires_nothing(node: Node) -> None:
    _retires(node, 0)
    node.create_gpus(2)
    node.start_agent()
    node.opens(2)
    node.gpus.remove_gpu(1)
    gpu_node.within(lambda: node.blocked_by(1) == {"GPU_LOST"})
    time.sleep(1.5)
    assert node.provider(1).parent is not None
