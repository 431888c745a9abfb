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
"""Histories drawn by Hypothesis: nothing is offered that is not there.

Safety is checked from Placement alone after every event and one tick of the
agent; liveness at the end of each history.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from typing import Any

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from mig_placement import agent as agents
from mig_placement import conf
from mig_placement import simulator
from mig_placement.placement import client
from mig_placement.placement import names
from mig_placement.placement import sync
from mig_placement.service import hold
from mig_placement.service import marks
from mig_placement.service import wake
from tests.functional import cloud as clouds
from tests.functional import gpu_node
from tests.functional import placement_app

_GPUS = 2
_LAYOUTS = (
    '{"1g.5gb": 7}',
    '{"1g.5gb": 3, "4g.20gb": 1}',
    '{"3g.20gb": 2}',
    '{"2g.10gb": 3}',
)
_BROKEN = ("version: v1\nmig-configs: {", gpu_node.LAYOUT.replace("7", "9"))
_CLASSES = tuple(
    names.class_name(profile, {})
    for profile in ("1g.5gb", "4g.20gb", "3g.20gb", "2g.10gb")
)
_gpu = st.integers(0, _GPUS - 1)

# Set by the test before the machine runs: Placement is one per process.
_placement: dict[str, placement_app.PlacementApp] = {}


class Histories(stateful.RuleBasedStateMachine):
    """A node, its agent, and everybody who disturbs them."""

    agent: agents.Agent

    @stateful.initialize(
        restore=st.sampled_from(["none", "native"]),
        scope=st.sampled_from(["node", "gpu"]),
    )
    def start(self, restore: str, scope: str) -> None:
        app = placement_app.in_process(_placement["app"])
        self.placement = app
        self.cloud: clouds.Cloud = app.cloud
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mig-history-"))
        self.gpus = simulator.SimulatedNode(self.folder / "gpus.json")
        self.gpus.create(["A100-40GB"] * _GPUS, mig=True)
        self.layout = self.folder / "layout.yaml"
        self.vms: list[str] = []
        self.root = self.cloud.create_root(gpu_node.ROOT_NAME)
        path = self.folder / "agent.conf"
        path.write_text(
            f"[agent]\nhypervisor_hostname = {gpu_node.ROOT_NAME}\n"
            f"run_dir = {self.folder}/run\nstate_dir = {self.folder}/state\n"
            f"[hardware]\nsimulate = {self.gpus.path}\n"
            f"[layout]\nfile = {self.layout}\napply = {restore}\n"
            f"[gate]\nscope = {scope}\n"
        )
        self.scope = scope
        self.settings = conf.settings(conf.parse([f"--config-file={path}"]))
        self._declare(_LAYOUTS[0])
        self.restart_agent()

    def teardown(self) -> None:
        if not hasattr(self, "agent"):
            return
        try:
            self._calm_down()
            self._assert_open()
        finally:
            self.agent.let_go()
            simulator.uninstall()
            shutil.rmtree(self.folder)

    # Events.

    @stateful.rule()
    def reboot(self) -> None:
        self.gpus.reboot()
        marks.clear(self.settings.run_dir)
        self.restart_agent()

    @stateful.rule()
    def restart_agent(self) -> None:
        if hasattr(self, "agent"):
            self.agent.let_go()
        synchronizer = sync.Synchronizer(
            client.Client(self.placement.adapter), gpu_node.ROOT_NAME
        )
        self.agent = agents.Agent(self.settings, synchronizer, wake.Waker())
        self._tick()

    @stateful.rule(gpu=_gpu, at=st.integers(0, 7))
    def destroy_instance(self, gpu: int, at: int) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            instances = self._instances(gpu)
            if instances:
                gone = instances[at % len(instances)]
                self.gpus.destroy_instance(gpu, gone["gi_id"])
        self._tick()

    @stateful.rule(
        gpu=_gpu,
        profile=st.sampled_from(["1g.5gb", "2g.10gb", "3g.20gb"]),
        with_ci=st.booleans(),
    )
    def create_instance(self, gpu: int, profile: str, with_ci: bool) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            self.gpus.create_instance(gpu, profile, compute_instances=with_ci)
        self._tick()

    @stateful.rule(gpu=_gpu)
    def make_as_declared(self, gpu: int) -> None:
        """As another tool does, mig-parted for instance."""
        with contextlib.suppress(simulator.SimulatorError):
            self.gpus.clear(gpu)
            for start in range(7):
                self.gpus.create_instance(gpu, "1g.5gb", start)
        self._tick()

    @stateful.rule(gpu=_gpu)
    def toggle_a_process(self, gpu: int) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            first = self._instances(gpu)[:1]
            for each in first:
                try:
                    self.gpus.remove_process(gpu, each["gi_id"], 4711)
                except simulator.SimulatorError:
                    self.gpus.add_process(gpu, each["gi_id"], 4711)
        self._tick()

    @stateful.rule(gpu=_gpu, whole=st.booleans())
    def send_xid(self, gpu: int, whole: bool) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            instances = self._instances(gpu)
            gi = instances[0]["gi_id"] if instances and not whole else None
            self.gpus.send_xid(gpu, 94, gi)
        self._tick(heard=True)

    @stateful.rule(gpu=_gpu)
    def lose_gpu(self, gpu: int) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            self.gpus.lose_gpu(gpu)
        self._tick()

    @stateful.rule(gpu=_gpu)
    def return_gpu(self, gpu: int) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            self.gpus.return_gpu(gpu)
        self._tick()

    @stateful.rule(gpu=_gpu)
    def replace_gpu(self, gpu: int) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            self.gpus.replace_gpu(gpu)
        self._tick()

    @stateful.rule(gpu=_gpu, on=st.booleans())
    def switch_mode(self, gpu: int, on: bool) -> None:
        with contextlib.suppress(simulator.SimulatorError):
            self.gpus.set_mig(gpu, on)
        self._tick()

    @stateful.rule(present=st.booleans())
    def driver(self, present: bool) -> None:
        self.gpus.set_driver(present)
        self._tick()

    @stateful.rule(devices=st.sampled_from(_LAYOUTS))
    def edit_layout(self, devices: str) -> None:
        self._declare(devices)
        self._tick()

    @stateful.rule(text=st.sampled_from(_BROKEN))
    def break_layout(self, text: str) -> None:
        self.layout.write_text(text)
        self._tick()

    @stateful.rule(name=st.sampled_from(_CLASSES))
    def boot_vm(self, name: str) -> None:
        with contextlib.suppress(clouds.NoValidHost):
            self.vms.append(self.cloud.boot({name: 1}))
        self._tick()

    @stateful.rule(name=st.sampled_from(_CLASSES))
    def boot_vm_between_read_and_write(self, name: str) -> None:
        def boot() -> None:
            with contextlib.suppress(clouds.NoValidHost, clouds.Refused):
                self.vms.append(self.cloud.boot({name: 1}))

        self.placement.recorder.before("PUT", "/inventories$", boot)
        self._tick()
        self.placement.recorder.clear()
        self._tick()

    @stateful.rule()
    def delete_vm(self) -> None:
        if self.vms:
            self.cloud.delete_vm(self.vms.pop())
        self._tick()

    @stateful.rule()
    def hold(self) -> None:
        hold.place(self.settings.state_dir, "maintenance")
        self._tick()

    @stateful.rule()
    def release(self) -> None:
        hold.release(self.settings.state_dir)
        marks.clear(self.settings.run_dir)
        self._tick()

    @stateful.rule(total=st.integers(1, 20))
    def edit_inventories(self, total: int) -> None:
        for provider in self._providers():
            inventories = {
                name: {"total": total, "max_unit": total}
                for name in provider.inventories
            }
            with contextlib.suppress(clouds.Refused):
                self.cloud.set_inventories(provider.uuid, inventories)
        self._tick()

    @stateful.rule()
    def edit_traits(self) -> None:
        for provider in self._providers():
            self.cloud.set_traits(
                provider.uuid, {names.READY, "CUSTOM_RACK_7"}
            )
        self.cloud.set_traits(self.root, {"COMPUTE_NODE", names.NODE_READY})
        self._tick()

    @stateful.rule()
    def delete_provider(self) -> None:
        for provider in self._providers()[:1]:
            with contextlib.suppress(clouds.Refused):
                self.cloud.delete_provider(provider.uuid)
        self._tick()

    @stateful.rule()
    def recreate_root(self) -> None:
        self.root = self.cloud.recreate_root(self.root)
        self.vms.clear()
        self._tick()

    # What is checked.

    def _tick(self, heard: bool = False) -> None:
        if heard:
            # What the watcher's thread does, here in this one.
            self.agent.hear(0.0)
        self.agent.tick()
        self._assert_safe()

    def _assert_safe(self) -> None:
        existing = self._existing()
        ready = names.NODE_READY in self.cloud.traits(self.root)
        for provider in self._providers():
            for name, units in provider.offered.items():
                there = existing.get(provider.name, {}).get(name, 0)
                used = provider.usages.get(name, 0)
                assert units <= max(there - used, 0), (
                    f"{units} {name} offered, {there} exist, {used} used"
                )
                assert units <= 0 or ready
                assert units <= 0 or not self._must_be_closed()

    def _must_be_closed(self) -> bool:
        """Closed whatever the scope, as the test itself knows it."""
        held = hold.path(self.settings.state_dir).exists()
        broken = self.layout.read_text() in _BROKEN
        return held or broken or not self._summary()["driver_present"]

    def _existing(self) -> dict[str, dict[str, int]]:
        """Instances that a VM could have, by provider and class."""
        found: dict[str, dict[str, int]] = {}
        for gpu in self._summary()["gpus"]:
            address = gpu["pci_address"][4:].lower()
            name = names.provider_name(gpu_node.ROOT_NAME, address)
            counts = found.setdefault(name, {})
            for each in gpu["instances"] if not gpu["lost"] else ():
                if each["compute_instances"]:
                    key = names.class_name(each["profile"], {})
                    counts[key] = counts.get(key, 0) + 1
        return found

    def _calm_down(self) -> None:
        """No more faults, and a layout that can be had."""
        self.gpus.set_driver(True)
        for gpu in range(_GPUS):
            with contextlib.suppress(simulator.SimulatorError):
                self.gpus.return_gpu(gpu)
            self.gpus.set_mig(gpu, True)
        for vm in self.vms:
            self.cloud.delete_vm(vm)
        hold.release(self.settings.state_dir)
        self._declare(_LAYOUTS[0])
        self.agent.let_go()
        for gpu in range(_GPUS):
            for each in self._instances(gpu):
                with contextlib.suppress(simulator.SimulatorError):
                    self.gpus.remove_process(gpu, each["gi_id"], 4711)
            self.gpus.reset_gpu(gpu, force=True)
            for start in range(7):
                self.gpus.create_instance(gpu, "1g.5gb", start)
        marks.clear(self.settings.run_dir)

    def _assert_open(self) -> None:
        """Within two ticks, by itself."""
        self.agent.tick()
        self.agent.tick()
        for provider in self._providers():
            if provider.name in self._existing():
                assert provider.offered == {_CLASSES[0]: 7}, provider
        assert names.NODE_READY in self.cloud.traits(self.root)

    # Shorthands.

    def _declare(self, devices: str) -> None:
        self.layout.write_text(
            gpu_node.LAYOUT.replace('{"1g.5gb": 7}', devices)
        )

    def _summary(self) -> dict[str, Any]:
        return self.gpus.summary()

    def _instances(self, gpu: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._summary()["gpus"][gpu]["instances"]
        return found

    def _providers(self) -> list[clouds.Provider]:
        return [
            each
            for name, each in self.cloud.tree(self.root).items()
            if names.is_gpu_provider(name, gpu_node.ROOT_NAME)
        ]


def test_nothing_is_offered_that_is_not_there(
    placement_application: placement_app.PlacementApp,
) -> None:
    _placement["app"] = placement_application
    stateful.run_state_machine_as_test(
        Histories,
        settings=hypothesis.settings(
            max_examples=int(os.environ.get("HISTORIES", "12")),
            stateful_step_count=25,
            deadline=None,
            # A history takes seconds, and shrinking one takes hundreds.
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
