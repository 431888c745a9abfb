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
"""Bringing the layout back, with every step that can go wrong."""

import dataclasses
import os
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator

import pynvml
import pytest

from mig_placement import conf
from mig_placement import cycle
from mig_placement import exception
from mig_placement import keeper
from mig_placement import picture
from mig_placement import restore
from mig_placement import simulator
from mig_placement.cmd import ending
from mig_placement.geometry import apply
from mig_placement.geometry import steps
from mig_placement.geometry import target
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model
from mig_placement.placement import client
from mig_placement.placement import names
from mig_placement.placement import sync
from mig_placement.service import command
from mig_placement.service import lock
from mig_placement.service import nvml
from tests.functional import gpu_node
from tests.functional import placement_app

_BEFORE = [("3g.20gb", 0), ("3g.20gb", 4)]
_MIXED = '{"1g.5gb": 3, "4g.20gb": 1}'
_STEPS = 12


class Node:
    """A node in this process: simulated NVML, real Placement."""

    def __init__(
        self,
        folder: pathlib.Path,
        placement: placement_app.InProcessPlacement,
        layout: str = _MIXED,
        options: str = "",
    ) -> None:
        self.cloud = placement.cloud
        self.recorder = placement.recorder
        self.gpus = simulator.SimulatedNode(folder / "gpus.json")
        self.layout = folder / "layout.yaml"
        self.declare(layout)
        path = folder / "agent.conf"
        path.write_text(
            f"[agent]\nhypervisor_hostname = {gpu_node.ROOT_NAME}\n"
            f"run_dir = {folder}/run\nstate_dir = {folder}/state\n"
            f"[hardware]\nsimulate = {self.gpus.path}\n"
            f"[layout]\nfile = {self.layout}\n{options}"
        )
        self.settings = conf.settings(conf.parse([f"--config-file={path}"]))
        self.nvml = nvml.Nvml(self.settings)
        self.cycle = cycle.Cycle(
            self.settings,
            self.nvml,
            sync.Synchronizer(
                client.Client(placement.adapter), gpu_node.ROOT_NAME
            ),
        )
        self.root = self.cloud.create_root(gpu_node.ROOT_NAME)
        self.on_step: Callable[[int, steps.Step], None] = lambda i, s: None

    def declare(self, devices: str) -> None:
        self.layout.write_text(
            gpu_node.LAYOUT.replace('{"1g.5gb": 7}', devices)
        )

    def create(
        self,
        instances: list[tuple[str, int]],
        model_name: str = "A100-40GB",
        count: int = 1,
    ) -> None:
        self.gpus.create([model_name] * count, mig=True, overwrite=True)
        for gpu in range(count):
            for profile, start in instances:
                self.gpus.create_instance(gpu, profile, start)

    def observe(self) -> model.Node:
        return self.nvml.observe()

    def geometry(self, index: int = 0) -> tuple[object, ...]:
        return apply.geometry(self.observe().gpus[index])

    def restorer(self) -> restore.Restorer:
        return restore.Restorer(
            self.settings,
            self.nvml,
            self.cycle,
            {},
            lambda index, step: self.on_step(index, step),
        )

    def restore(
        self, allowed: restore.Allowed = frozenset()
    ) -> restore.Result:
        """As the tool does: plan, close, confirm, change, tell."""
        seen = self.cycle.look()
        assert seen.node is not None
        wanted = self.cycle.wanted(seen.node)
        restorer = self.restorer()
        plans = restorer.plans(seen.node, wanted, self.cycle.read(), allowed)
        indices = frozenset(p.gpu.index for p in plans if p.steps)
        result = restore.Result(plans)
        if indices:
            result = restorer.run(seen, wanted, indices, allowed)
        self.cycle.tell(self.cycle.look())
        return result

    def matches(self) -> bool:
        return self.cycle.look().verdict.matches

    def offered(self) -> dict[str, int]:
        """What Placement hands out, by class."""
        offered: dict[str, int] = {}
        for provider in self.cloud.tree(self.root).values():
            for name, units in provider.offered.items():
                if name.startswith("CUSTOM_MIG_"):
                    offered[name] = offered.get(name, 0) + units
        return {name: units for name, units in offered.items() if units > 0}

    def assert_nothing_offered_that_is_not_there(self) -> None:
        there: dict[str, int] = {}
        for gpu in self.observe().gpus:
            for instance in gpu.instances:
                name = names.class_name(instance.profile, {})
                there[name] = there.get(name, 0) + 1
        for name, units in self.offered().items():
            assert units <= there.get(name, 0), (name, units, there)


@pytest.fixture
def make(
    tmp_path: pathlib.Path, placement: placement_app.InProcessPlacement
) -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def build(**kwargs: str) -> Node:
        made.append(Node(tmp_path, placement, **kwargs))
        return made[-1]

    yield build
    for node in made:
        node.nvml.let_go()
    simulator.uninstall()


@pytest.fixture
def node(make: Callable[..., Node]) -> Node:
    """Two 3g.20gb; the layout wants 3x 1g.5gb + 1x 4g.20gb."""
    made = make()
    made.create(_BEFORE)
    return made


def _located(profile: str, start: int, size: int) -> target.Located:
    return target.Located(profile, model.Placement(start, size))


def test_a_layout_is_reached_and_then_offered(node: Node) -> None:
    result = node.restore()
    assert not result.failed
    assert node.matches()
    assert node.offered() == {
        "CUSTOM_MIG_1G_5GB": 3,
        "CUSTOM_MIG_4G_20GB": 1,
    }


def test_the_gate_is_closed_before_the_first_step(node: Node) -> None:
    node.declare('{"3g.20gb": 2}')
    node.restore()
    assert node.offered() == {"CUSTOM_MIG_3G_20GB": 2}
    node.declare(_MIXED)
    seen: list[dict[str, int]] = []
    node.on_step = lambda index, step: seen.append(node.offered())
    node.restore()
    assert len(seen) == _STEPS
    assert not any(seen)


def test_a_restore_of_one_gpu_closes_all_of_the_node(
    make: Callable[..., Node],
) -> None:
    # Nobody looks at the other GPUs meanwhile.
    node = make(layout='{"3g.20gb": 2}', options="[gate]\nscope = gpu\n")
    node.create(_BEFORE, count=2)
    node.cycle.tell(node.cycle.look())
    node.gpus.destroy_instance(1, (4, 4))
    node.cycle.tell(node.cycle.look())
    assert node.offered() == {"CUSTOM_MIG_3G_20GB": 2}, "GPU 0's"
    before = node.geometry(0)
    seen: list[dict[str, int]] = []
    node.on_step = lambda index, step: seen.append(node.offered())
    node.restore()
    assert seen
    assert not any(seen)
    assert node.geometry(0) == before
    assert node.offered() == {"CUSTOM_MIG_3G_20GB": 4}


def test_in_the_pause_after_a_failure_nothing_is_closed_for_a_restore(
    make: Callable[..., Node],
) -> None:
    node = make(options="apply = native\n")
    node.create([])
    keeping = keeper.Keeper(node.settings, node.cycle, node.nvml)
    assert keeping.expects(node.cycle.look())
    node.gpus.fail_next(2)
    assert keeping.keep(node.cycle.look())
    # After a hold it would be tried again, were it not for the pause.
    keeping.keep(picture.closed(verdicts.Reason.HOLD, "new fans"))
    seen = node.cycle.look()
    assert not keeping.keep(seen)
    assert not keeping.expects(seen)


def test_a_gpu_that_was_lost_in_its_restore_is_no_success(
    make: Callable[..., Node],
) -> None:
    node = make(options="apply = native\n")
    node.create([])
    seen = node.cycle.look()
    assert seen.node is not None
    keeping = keeper.Keeper(node.settings, node.cycle, node.nvml)
    node.gpus.lose_gpu(0)
    keeping._judge(node.cycle.wanted(seen.node), passes=True)
    assert keeping.outlook.pause > 0


def test_a_restore_shows_its_reason_in_placement(node: Node) -> None:
    reasons: list[frozenset[str]] = []
    name = names.provider_name(gpu_node.ROOT_NAME, "0000:41:00.0")

    def look(index: int, step: steps.Step) -> None:
        reasons.append(node.cloud.tree(node.root)[name].traits)

    node.on_step = look
    node.restore()
    assert all("CUSTOM_MIG_BLOCKED_RESTORING" in each for each in reasons)
    traits = node.cloud.tree(node.root)[name].traits
    assert "CUSTOM_MIG_BLOCKED_RESTORING" not in traits


def test_without_a_confirmed_gate_nothing_is_changed(
    node: Node,
) -> None:
    before, mutations = node.geometry(), node.gpus.mutations
    node.declare('{"3g.20gb": 2}')
    node.restore()
    node.declare(_MIXED)
    provider = node.cloud.tree(node.root)[
        names.provider_name(gpu_node.ROOT_NAME, "0000:41:00.0")
    ]

    def open_again() -> None:
        node.cloud.set_inventories(
            provider.uuid, {"CUSTOM_MIG_3G_20GB": {"total": 2}}
        )

    # Somebody opens it between our write and our reading back.
    node.recorder.before(
        "GET", f"{provider.uuid}/usages$", open_again, times=9
    )
    node.recorder.before("GET", "^/resource_providers$", open_again, times=9)
    with pytest.raises(exception.PlacementConflict):
        node.restore()
    assert node.geometry() == before
    assert node.gpus.mutations == mutations


@pytest.mark.parametrize("k", range(1, _STEPS + 1))
def test_a_failed_step_is_rolled_back_and_the_next_run_succeeds(
    k: int, node: Node
) -> None:
    before = node.geometry()
    node.gpus.fail_next(k)
    result = node.restore()
    assert result.failed
    assert result.outcomes[0].rolled_back, str(result.outcomes[0])
    assert node.geometry() == before
    assert node.offered() == {}
    assert not node.restore().failed
    assert node.matches()


_TYPE = 463


def _with_functions(node: Node, count: int, vgpu: str) -> None:
    """An A100 with so many 1g.5gb, and functions for them."""
    node.gpus.create(["A100-40GB"], mig=True, vgpu=vgpu, overwrite=True)
    node.gpus.set_sriov(0, force=True)
    for start in range(count):
        node.gpus.create_instance(0, "1g.5gb", start)


def _typed(node: Node, count: int) -> None:
    """Each instance with a vGPU of a function."""
    _with_functions(node, count, "vfio")
    for each in node.gpus.summary()["gpus"][0]["functions"][:count]:
        node.gpus.write_sysfs(
            f"bus/pci/devices/{each['pci_address']}/nvidia/current_vgpu_type",
            f"{_TYPE}",
        )


@pytest.mark.parametrize("k", [1, 3, 4])
def test_a_roll_back_leaves_the_types_of_functions(
    k: int, make: Callable[..., Node]
) -> None:
    node = make(layout='{"1g.5gb": 7}', options="[nova]\nattach = vfio\n")
    _typed(node, 5)
    before = node.geometry()
    node.gpus.fail_next(k)
    (outcome,) = node.restore().outcomes
    assert outcome.rolled_back, str(outcome)
    assert node.geometry() == before
    assert not node.restore().failed
    assert node.matches()


def _make_mdev(node: Node, address: str) -> str:
    """As nova-compute does; the path that removes it."""
    uuid = "5c3a9a0e-0d3b-4c1c-9d2f-2f6f2d1f7a01"
    kind = f"{address}/mdev_supported_types/nvidia-{_TYPE}"
    node.gpus.write_sysfs(f"bus/pci/devices/{kind}/create", uuid)
    return f"bus/mdev/devices/{uuid}/remove"


def test_an_mdev_that_nova_left_is_waited_for(
    make: Callable[..., Node],
) -> None:
    node = make(layout='{"3g.20gb": 2}', options="[nova]\nattach = mdev\n")
    _with_functions(node, 5, "mdev")
    address = "0000:41:00.5"
    remove = _make_mdev(node, address)
    before = node.gpus.mutations
    result = node.restore()
    assert node.gpus.mutations == before
    assert f"an mdev on {address} has no VM and holds one" in str(
        result.lines()
    )
    node.gpus.write_sysfs(remove, "1")
    assert not node.restore().failed
    assert node.matches()


def test_an_mdev_that_a_vm_has_holds_its_own_instance_alone(
    make: Callable[..., Node],
) -> None:
    node = make(layout='{"3g.20gb": 2}', options="[nova]\nattach = mdev\n")
    _with_functions(node, 3, "mdev")
    _make_mdev(node, "0000:41:00.5")
    node.gpus.set_vm("0000:41:00.5", running=True)
    (used,) = node.restore().plans[0].waiting
    assert used.vm
    assert used.why == "1 vGPUs"


def test_a_failed_gpu_leaves_the_others_alone(node: Node) -> None:
    node.create(_BEFORE, count=3)
    node.gpus.fail_next(5)
    result = node.restore()
    assert [each.failed for each in result.outcomes].count(True) == 1
    done = [i for i in range(3) if node.geometry(i) == node.geometry(i - 1)]
    assert done, "the other two are as declared"
    node.assert_nothing_offered_that_is_not_there()
    node.restore()
    assert node.matches()


def test_a_failed_roll_back_says_exactly_what_exists(node: Node) -> None:
    node.gpus.fail_next(5)
    node.gpus.fail_next(6)
    node.gpus.fail_next(7)
    result = node.restore()
    (outcome,) = result.outcomes
    assert outcome.failed
    assert not outcome.rolled_back
    assert "could not be rolled back" in str(outcome)
    existing = [
        f"{each.profile} at {each.placement}"
        for each in node.observe().gpus[0].instances
    ]
    for text in existing or ["no instance"]:
        assert text in str(outcome)
    assert node.offered() == {}
    node.gpus.clear_faults()
    node.restore()
    assert node.matches()


@pytest.mark.parametrize("k", range(1, _STEPS + 1, 3))
def test_a_gpu_that_is_lost_in_mid_plan_is_never_offered(
    k: int, node: Node
) -> None:
    seen: list[steps.Step] = []

    def lose(index: int, step: steps.Step) -> None:
        seen.append(step)
        if len(seen) == k:
            node.gpus.lose_gpu(0)

    node.on_step = lose
    result = node.restore()
    assert result.failed or k == _STEPS
    assert node.offered() == {}
    node.on_step = lambda index, step: None
    node.gpus.return_gpu(0)
    node.restore()
    assert node.matches()
    node.assert_nothing_offered_that_is_not_there()


def test_what_another_tool_does_in_mid_plan_is_found_out(
    node: Node,
) -> None:
    seen: list[steps.Step] = []

    def meddle(index: int, step: steps.Step) -> None:
        seen.append(step)
        if len(seen) == 4:
            node.gpus.create_instance(0, "1g.5gb", 1)

    node.on_step = meddle
    assert node.restore().failed
    assert node.offered() == {}
    node.on_step = lambda index, step: None
    node.restore()
    assert node.matches()


def test_an_instance_made_anew_under_an_old_id_is_not_destroyed(
    node: Node,
) -> None:
    seen: list[steps.Step] = []

    def replace(index: int, step: steps.Step) -> None:
        seen.append(step)
        if len(seen) == 1:
            node.gpus.destroy_instance(0, (4, 4))
            node.gpus.create_instance(0, "3g.20gb", 4)

    node.on_step = replace
    result = node.restore()
    assert result.failed
    assert "no longer the one" in str(result.outcomes[0])


def test_a_gpu_instance_left_without_compute_instance_is_completed(
    node: Node,
) -> None:
    node.create([("4g.20gb", 0), ("1g.5gb", 4), ("1g.5gb", 5)])
    node.gpus.create_instance(0, "1g.5gb", 6, compute_instances=False)
    mutations = node.gpus.mutations
    node.restore()
    assert node.matches()
    assert node.gpus.mutations == mutations + 1


def test_a_gpu_instance_that_is_stuck_is_rolled_back(node: Node) -> None:
    before = node.geometry()
    node.gpus.refuse_gi_destroy()
    result = node.restore()
    assert result.outcomes[0].rolled_back
    assert node.geometry() == before
    node.restore()
    assert node.matches()


def test_a_layout_edited_in_mid_plan_is_reached_by_the_next_run(
    node: Node,
) -> None:
    node.on_step = lambda index, step: node.declare('{"7g.40gb": 1}')
    node.restore()
    assert node.offered() == {}
    node.on_step = lambda index, step: None
    node.restore()
    assert node.matches()
    assert node.offered() == {"CUSTOM_MIG_7G_40GB": 1}


def test_two_applies_at_once_are_refused(node: Node) -> None:
    before = node.geometry()
    seen = node.cycle.look()
    assert seen.node is not None
    wanted = node.cycle.wanted(seen.node)
    with (
        lock.apply(node.settings.run_dir),
        pytest.raises(exception.ConfigError, match="another process"),
    ):
        node.restorer().run(seen, wanted, frozenset({0}))
    assert node.geometry() == before


@pytest.mark.parametrize(
    "devices", ['{"9g.99gb": 1}', '{"3g.20gb": 2, "1g.5gb": 1}']
)
def test_what_cannot_be_had_costs_no_mutating_call(
    devices: str, node: Node
) -> None:
    node.declare(devices)
    with pytest.raises(exception.LayoutError):
        node.restore()
    assert node.gpus.mutations == 0


def test_a_filter_that_matches_no_gpu_is_an_error_and_no_success(
    node: Node,
) -> None:
    text = node.layout.read_text()
    node.layout.write_text(
        text.replace(
            "devices: all", 'devices: all\n      device-filter: "0x233010DE"'
        )
    )
    with pytest.raises(exception.LayoutError, match="device-filter"):
        node.restore()
    assert node.gpus.mutations == 0


def test_an_instance_with_a_process_is_kept_and_the_rest_done(
    node: Node,
) -> None:
    node.gpus.add_process(0, (0, 4), 4711)
    result = node.restore()
    assert not result.failed
    placements = [i.placement.start for i in node.observe().gpus[0].instances]
    assert placements == [0, 4, 5, 6]
    assert any("4g.20gb" in line for line in result.lines())
    assert any("1 processes" in line for line in result.lines())
    assert node.offered() == {}
    node.gpus.remove_process(0, (0, 4), 4711)
    node.restore()
    assert node.matches()


def test_an_instance_in_use_goes_where_the_operator_names_it(
    node: Node,
) -> None:
    node.gpus.add_process(0, (0, 4), 4711)
    allowed = frozenset({(0, _located("3g.20gb", 0, 4))})
    result = node.restore(allowed)
    # NVML itself refuses while the process runs: rolled back, said.
    assert result.failed
    node.gpus.remove_process(0, (0, 4), 4711)
    assert not node.restore(allowed).failed
    assert node.matches()


def test_a_class_with_allocations_is_not_destroyed(node: Node) -> None:
    node.declare('{"3g.20gb": 2}')
    node.restore()
    vm = node.cloud.boot({"CUSTOM_MIG_3G_20GB": 1})
    before = node.geometry()
    node.declare(_MIXED)
    result = node.restore()
    assert node.geometry() == before
    assert any("are allocated" in line for line in result.lines())
    assert node.offered() == {}
    node.cloud.delete_vm(vm)
    node.restore()
    assert node.matches()


def test_a_vm_that_lands_between_plan_and_closing_is_seen(
    node: Node,
) -> None:
    node.declare('{"3g.20gb": 2}')
    node.restore()
    before = node.geometry()
    node.declare(_MIXED)
    booted: list[str] = []
    node.recorder.before(
        "PUT",
        f"{node.root}/traits$",
        lambda: booted.append(node.cloud.boot({"CUSTOM_MIG_3G_20GB": 1})),
    )
    node.restore()
    assert booted
    assert node.geometry() == before


def test_hoppers_mode_is_set_again_after_a_reboot(
    make: Callable[..., Node],
) -> None:
    node = make(layout='{"1g.10gb": 7}')
    node.create([], "H100-80GB")
    node.restore()
    assert node.matches()
    node.gpus.reboot()
    assert not node.observe().gpus[0].mig_mode
    node.restore()
    assert node.matches()


def test_who_may_not_change_the_mode_is_told_what_gives_it(
    make: Callable[..., Node],
) -> None:
    node = make(layout='{"1g.10gb": 7}')
    node.gpus.create(["H100-80GB"], overwrite=True)
    node.gpus.fail_next(code=pynvml.NVML_ERROR_NO_PERMISSION)
    said = str(node.restore().outcomes[0])
    assert "only root may change MIG mode" in said
    assert "root.conf" in said
    assert "nvidia-cap1" not in said


def test_amperes_mode_waits_for_a_reset_and_says_so(node: Node) -> None:
    node.gpus.create(["A100-40GB"], overwrite=True)
    result = node.restore()
    assert result.outcomes[0].needs_reset
    assert "waits for a reset" in str(result.outcomes[0])
    assert node.offered() == {}
    node.nvml.let_go()
    node.gpus.reset_gpu(0)
    node.restore()
    assert node.matches()


def test_a_reset_that_is_allowed_is_done_with_nvml_let_go(
    make: Callable[..., Node], tmp_path: pathlib.Path
) -> None:
    node = make(
        options="allow_gpu_reset = true\n"
        f"reset_command = {sys.executable} -m mig_placement.cmd.tool"
        f" simulate reset {tmp_path}/gpus.json {{index}}\n"
    )
    node.gpus.create(["A100-40GB"] * 2, overwrite=True)
    node.gpus.set_mig(1, enabled=True)
    result = node.restore()
    assert not result.failed, result.lines()
    assert node.matches()


@pytest.mark.parametrize("on", [True, False])
def test_a_mode_that_was_left_pending_is_completed(
    on: bool, make: Callable[..., Node], tmp_path: pathlib.Path
) -> None:
    """Nothing else is to be done: an attempt died before its reset."""
    node = make(
        layout="{}",
        options="allow_gpu_reset = true\n"
        f"reset_command = {sys.executable} -m mig_placement.cmd.tool"
        f" simulate reset {tmp_path}/gpus.json {{index}}\n",
    )
    if not on:
        text = node.layout.read_text()
        off = text.replace("mig-enabled: true", "mig-enabled: false")
        node.layout.write_text(off)
    node.gpus.create(["A100-40GB"], mig=not on, overwrite=True)
    assert not node.gpus.set_mig(0, enabled=on), "it is pending"
    assert not node.restore().failed
    assert node.observe().gpus[0].mig_mode is on
    assert node.matches()


def test_a_pending_mode_outlives_an_attempt_that_is_refused(
    node: Node,
) -> None:
    node.gpus.create(["A100-40GB"], overwrite=True)
    node.gpus.set_mig(0, enabled=True)
    node.gpus.add_process(0, None, 4711)
    (outcome,) = node.restore().outcomes
    assert outcome.rolled_back, str(outcome)
    assert node.observe().gpus[0].mig_pending


def test_a_gpu_in_use_is_not_reset(
    make: Callable[..., Node], tmp_path: pathlib.Path
) -> None:
    node = make(
        options="allow_gpu_reset = true\n"
        f"reset_command = {sys.executable} -m mig_placement.cmd.tool"
        f" simulate reset {tmp_path}/gpus.json {{index}}\n"
    )
    node.gpus.create(["A100-40GB"], overwrite=True)
    node.gpus.add_process(0, None, 4711)
    result = node.restore()
    assert not node.observe().gpus[0].mig_mode
    assert node.offered() == {}
    assert result.outcomes[0].failed or result.outcomes[0].needs_reset


def test_a_node_unknown_to_placement_is_restored(
    node: Node,
) -> None:
    node.create([])
    node.cloud.delete_root(node.root)
    seen = node.cycle.look()
    assert seen.node is not None
    wanted = node.cycle.wanted(seen.node)
    result = node.restorer().run(seen, wanted, frozenset({0}))
    assert not result.failed
    assert node.matches()


def test_a_node_that_placement_does_not_know_loses_nothing(
    node: Node,
) -> None:
    # Its name may be wrong, and VMs hold what it has.
    before = node.geometry()
    node.cloud.delete_root(node.root)
    seen = node.cycle.look()
    assert seen.node is not None
    wanted = node.cycle.wanted(seen.node)
    result = node.restorer().run(seen, wanted, frozenset({0}))
    assert node.geometry() == before
    assert any("does not know" in line for line in result.lines())


def test_an_instance_allocated_whole_is_not_divided_and_offered_again(
    node: Node,
) -> None:
    whole = '{"3g.20gb": 2}\n      compute-instances: false'
    node.create([])
    for start in (0, 4):
        node.gpus.create_instance(0, "3g.20gb", start, False)
    node.declare(whole)
    node.restore()
    node.cloud.boot({"CUSTOM_MIG_3G_20GB": 1})
    mutations = node.gpus.mutations
    node.declare('{"1c.3g.20gb": 6}')
    node.restore()
    assert node.gpus.mutations == mutations, "either may be the VM's"
    assert node.offered() == {}


@pytest.mark.parametrize(
    ("then", "succeeds"),
    [("wait", False), ("exit 0", True)],
    ids=["time-out", "left behind"],
)
def test_no_child_of_a_command_outlives_it(
    then: str, succeeds: bool, tmp_path: pathlib.Path
) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    # The child has the pipe open for as long as it lives.
    script = f"exec 3>{held}; echo >&3; sleep 600 & {then}"
    try:
        done = command.run(f"sh -c {shlex.quote(script)}", 2)
        assert done is succeeds
        assert os.read(reader, 1) == b"\n"
        gpu_node.within(lambda: _has_no_writer(reader), 5)
    finally:
        os.close(reader)


@pytest.fixture
def signals() -> Iterator[None]:
    """Of this process, as they were afterwards."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = {each: signal.getsignal(each) for each in numbers}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("signals")
def test_a_signal_between_fork_and_wait_leaves_no_child(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)

    class Interrupted(subprocess.Popen[bytes]):
        def _execute_child(self, *arguments: object) -> None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            gpu_node.within(lambda: os.read(reader, 1) == b"\n")
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    script = f"exec 3>{held}; echo >&3; sleep 600"
    try:
        with pytest.raises(SystemExit), ending.in_order():
            command.run(f"sh -c {shlex.quote(script)}", 60)
        # Told once more, it ends with the same status.
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        gpu_node.within(lambda: _has_no_writer(reader), 5)
    finally:
        os.close(reader)


class _Unbound:
    """A GPU that its driver lost, and that takes it back."""

    def __init__(self) -> None:
        self.bound: list[str] = []

    def is_bound(self, pci_address: str) -> bool:
        return pci_address in self.bound

    def bind(self, pci_address: str) -> None:
        self.bound.append(pci_address)

    def sriov(self, _: str) -> None:
        return None


def test_a_gpu_is_bound_again_also_where_a_signal_ends_the_command(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> bool:
        raise SystemExit(129)

    node.create([])
    there = _Unbound()
    monkeypatch.setattr(nvml, "functions", lambda _: there)
    monkeypatch.setattr(command, "run", ended)
    with pytest.raises(SystemExit):
        node.restorer()._enable_sriov_of(0)
    assert there.bound == ["0000:41:00.0"]


def _has_no_writer(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


def test_an_outcome_is_one_line(node: Node) -> None:
    node.gpus.fail_next(2)
    (outcome,) = node.restore().outcomes
    assert "\n" not in str(outcome)
    assert dataclasses.replace(outcome, error="").failed is False
