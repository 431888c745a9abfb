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

Safety is checked after every write to Placement, before every change of a
GPU, and after each pass of the agent; liveness at each history's end.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from mig_placement import simulator
from mig_placement.geometry import layout_file
from mig_placement.placement import names
from mig_placement.service import hold
from mig_placement.service import marks
from tests.chaos import world as worlds
from tests.functional import cloud as clouds

STEPS = 15
_CLASSES = tuple(
    names.class_name(profile, {})
    for profile in ("1g.5gb", "4g.20gb", "3g.20gb", "2g.10gb")
)
_WRITES = (
    ("PUT", "/inventories$"),
    ("PUT", "/traits$"),
    ("PUT", "^/traits/"),
    ("PUT", "^/resource_classes/"),
    ("POST", "^/resource_providers$"),
)
_FREE_SLOTS = tuple(f"00000000:{bus:02X}:00.0" for bus in range(0x51, 0x54))
_gpu = st.integers(0, worlds.GPUS - 1)
_layout = st.integers(0, len(worlds.LAYOUTS) - 1)
_refused = contextlib.suppress(simulator.SimulatorError)


class Histories(stateful.RuleBasedStateMachine):
    """A node, its agent, and everybody who disturbs them."""

    # Set before it runs: Placement is one per process.
    placement: worlds.Placement
    world: worlds.World

    @stateful.initialize(
        restore=st.sampled_from(["none", "native"]),
        scope=st.sampled_from(["node", "gpu"]),
        complete=st.booleans(),
        in_use=st.booleans(),
    )
    def start(
        self, restore: str, scope: str, complete: bool, in_use: bool
    ) -> None:
        worlds.COUNTED["histories"] += 1
        self.restore = restore
        self.world = worlds.World(
            self.placement, restore, scope, in_use=in_use
        )
        self.vms: list[str] = []
        self.unseen = 0
        self.world.declare(0)
        if complete:
            for gpu in range(worlds.GPUS):
                self._make(gpu)
        self._passes()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._calm_down()
            self._assert_open()
        finally:
            self.world.close()

    # The host.

    @stateful.rule()
    def reboot(self) -> None:
        self.world.stop_agent()
        self.world.gpus.reboot()
        self._clear_marks()
        self._passes()

    @stateful.rule()
    def restart_agent(self) -> None:
        """It knows nothing of what it did before."""
        self.world.start_agent()
        self._passes()

    @stateful.rule(
        place=st.sampled_from(
            ["before", "after", "step before", "step after"]
        ),
        k=st.integers(1, 5),
    )
    def kill_agent(self, place: str, k: int) -> None:
        """At its k-th write or step from now on."""
        self.world.at(place, k, worlds.kill)

    @stateful.rule(events=st.integers(1, 3))
    def look_away(self, events: int) -> None:
        """So much happens at once, as within an interval."""
        self.unseen = events

    @stateful.rule(present=st.booleans())
    def driver(self, present: bool) -> None:
        self.world.gpus.set_driver(present)
        self._passes()

    # The hardware.

    @stateful.rule(gpu=_gpu, at=st.integers(0, 7))
    def destroy_instance(self, gpu: int, at: int) -> None:
        with _refused:
            instances = self.world.instances(gpu)
            if instances:
                gone = instances[at % len(instances)]
                self.world.gpus.destroy_instance(gpu, gone["gi_id"])
        self._passes()

    @stateful.rule(
        gpu=_gpu,
        profile=st.sampled_from(["1g.5gb", "2g.10gb", "3g.20gb"]),
        with_ci=st.booleans(),
    )
    def create_instance(self, gpu: int, profile: str, with_ci: bool) -> None:
        with _refused:
            self.world.gpus.create_instance(
                gpu, profile, compute_instances=with_ci
            )
        self._passes()

    @stateful.rule(gpu=_gpu)
    def make_as_declared(self, gpu: int) -> None:
        """As another tool does, mig-parted for instance."""
        with _refused:
            self.world.gpus.clear(gpu)
            self._make(gpu)
        self._passes()

    @stateful.rule(gpu=_gpu)
    def toggle_a_process(self, gpu: int) -> None:
        with _refused:
            for each in self.world.instances(gpu)[:1]:
                try:
                    self.world.gpus.remove_process(gpu, each["gi_id"], 4711)
                except simulator.SimulatorError:
                    self.world.gpus.add_process(gpu, each["gi_id"], 4711)
        self._passes()

    @stateful.rule(gpu=_gpu, at=st.integers(-1, 7))
    def send_xid(self, gpu: int, at: int) -> None:
        """Of an instance, or of the whole GPU (-1)."""
        seen = self.world.node()["gpus"][gpu]
        gi = None
        if at >= 0 and seen["instances"]:
            which = at % len(seen["instances"])
            gi = seen["instances"][which]["gi_id"]
        if self._is_heard() and not seen["lost"]:
            self.world.truth.falls_sick(seen, gi)
        with _refused:
            self.world.gpus.send_xid(gpu, 94, gi)
        self._passes()

    @stateful.rule(gpu=_gpu)
    def send_an_xid_of_an_application(self, gpu: int) -> None:
        with _refused:
            self.world.gpus.send_xid(gpu, 31)
        self._passes()

    @stateful.rule(gpu=_gpu)
    def lose_gpu(self, gpu: int) -> None:
        with _refused:
            self.world.gpus.lose_gpu(gpu)
        self._passes()

    @stateful.rule(gpu=_gpu)
    def return_gpu(self, gpu: int) -> None:
        with _refused:
            self.world.gpus.return_gpu(gpu)
        self._passes()

    @stateful.rule(gpu=_gpu)
    def replace_gpu(self, gpu: int) -> None:
        with _refused:
            self.world.gpus.replace_gpu(gpu)
        self._passes()

    @stateful.rule(
        gpu=_gpu, slot=st.sampled_from(_FREE_SLOTS), made=st.booleans()
    )
    def move_gpu(self, gpu: int, slot: str, made: bool) -> None:
        """To another PCI address, while the host is off."""
        self.world.stop_agent()
        with _refused:
            self.world.gpus.move_gpu(gpu, slot)
            self._clear_marks()
            for each in range(worlds.GPUS) if made else ():
                self._make(each)
        self._passes()

    @stateful.rule(gpu=_gpu, on=st.booleans())
    def switch_mode(self, gpu: int, on: bool) -> None:
        """On an Ampere GPU it is pending until a reset."""
        with _refused:
            self.world.gpus.clear(gpu)
        with _refused:
            self.world.gpus.set_mig(gpu, on)
        self._passes()

    @stateful.rule(gpu=_gpu, on=st.booleans())
    def leave_the_mode_pending(self, gpu: int, on: bool) -> None:
        """With all instances as declared, where the driver allows that."""
        with _refused:
            self.world.gpus.set_mig(gpu, on)
            self._make(gpu)
        self._passes()

    @stateful.rule(gpu=_gpu)
    def reset_gpu(self, gpu: int) -> None:
        with _refused:
            self.world.gpus.reset_gpu(gpu, force=True)
        self._passes()

    @stateful.rule(k=st.integers(1, 5))
    def fail_a_step(self, k: int) -> None:
        self.world.gpus.fail_next(k)
        worlds.COUNTED["failing NVML calls"] += 1
        self._passes()

    # The layout.

    @stateful.rule(number=_layout)
    def edit_layout(self, number: int) -> None:
        self.world.declare(number)
        self._passes()

    @stateful.rule(text=st.sampled_from(worlds.NOT_TO_BE_HAD))
    def break_layout(self, text: str) -> None:
        self.world.layout.write_text(text)
        self.world.truth.declared = [None]
        self._passes()

    @stateful.rule(
        number=_layout,
        late=st.booleans(),
        whole=st.booleans(),
        gpu=_gpu,
    )
    def replace_the_layout_while_it_is_read(
        self, number: int, late: bool, whole: bool, gpu: int
    ) -> None:
        """By a rename, or written in its place: half of it may be seen."""
        before = self.world.truth.declared
        self.world.truth.declared = [*before, worlds.LAYOUTS[number]]
        # Something else changed, or the file would not be read at all.
        os.utime(self.world.layout)
        with self._replacing(number, late=late, whole=whole):
            self.world.tick()
        self.world.declare(number)
        self._passes()

    # Everybody else at Placement.

    @stateful.rule(name=st.sampled_from(_CLASSES))
    def boot_vm(self, name: str) -> None:
        self._boot(name)
        self._passes()

    @stateful.rule(
        name=st.sampled_from(_CLASSES),
        write=st.sampled_from(_WRITES),
    )
    def boot_vm_between_read_and_write(
        self, name: str, write: tuple[str, str]
    ) -> None:
        """At the next such write, whatever it is for."""
        method, path = write
        self.world.placement.recorder.before(
            method, path, lambda: self._boot(name)
        )

    @stateful.rule()
    def delete_vm(self) -> None:
        if self.vms:
            self.world.cloud.delete_vm(self.vms.pop())
        self._passes()

    @stateful.rule(
        place=st.sampled_from(["before", "after"]), k=st.integers(1, 4)
    )
    def break_the_connection(self, place: str, k: int) -> None:
        """At a write to come: not applied, or its answer is lost."""
        self.world.at(place, k, worlds.break_connection)

    @stateful.rule(total=st.integers(1, 20))
    def edit_inventories(self, total: int) -> None:
        for uuid, _ in self.world.providers():
            inventories = {
                name: {"total": total, "max_unit": total}
                for name in self.world.cloud.inventories(uuid)
            }
            with contextlib.suppress(clouds.Refused):
                self.world.cloud.set_inventories(uuid, inventories)
        self._passes()

    @stateful.rule()
    def edit_traits(self) -> None:
        cloud = self.world.cloud
        for uuid, _ in self.world.providers():
            cloud.set_traits(uuid, {names.READY, "CUSTOM_RACK_7"})
        cloud.set_traits(self.world.root, {"COMPUTE_NODE", names.NODE_READY})
        self._passes()

    @stateful.rule()
    def delete_provider(self) -> None:
        for uuid, _ in self.world.providers()[:1]:
            with contextlib.suppress(clouds.Refused):
                self.world.cloud.delete_provider(uuid)
        self._passes()

    @stateful.rule()
    def recreate_root(self) -> None:
        """Nova makes it again, under a new uuid."""
        self.world.root = self.world.cloud.recreate_root(self.world.root)
        self.vms.clear()
        self._passes()

    # The operator.

    @stateful.rule()
    def hold(self) -> None:
        hold.place(self.world.settings.state_dir, "maintenance")
        self.world.truth.held = True
        self._passes()

    @stateful.rule()
    def release(self) -> None:
        hold.release(self.world.settings.state_dir)
        self.world.truth.held = False
        self._clear_marks()
        self._passes()

    # What is checked.

    def _passes(self) -> None:
        worlds.COUNTED["steps"] += 1
        if self.unseen:
            self.unseen -= 1
            self.world.is_listening = False
            return
        self.world.passes()

    def _calm_down(self) -> None:
        """No more faults, and a layout that can be had."""
        world = self.world
        world.calm_down()
        world.gpus.set_driver(True)
        for vm in self.vms:
            world.cloud.delete_vm(vm)
        hold.release(world.settings.state_dir)
        world.truth.held = False
        world.declare(0)
        world.stop_agent()
        for gpu in range(worlds.GPUS):
            self._mend(gpu)
        self._clear_marks()

    def _mend(self, gpu: int) -> None:
        with _refused:
            self.world.gpus.return_gpu(gpu)
        for each in self.world.instances(gpu):
            with _refused:
                self.world.gpus.remove_process(gpu, each["gi_id"], 4711)
        self.world.gpus.set_mig(gpu, True)
        self.world.gpus.reset_gpu(gpu, force=True)
        if self.restore == "none":
            self._make(gpu)

    def _assert_open(self) -> None:
        """Within two passes, by itself."""
        self.world.clock.now += 3600
        self.world.tick()
        self.world.tick()
        self.world.assert_safe()
        seen = self.world.offer()
        allowed = self.world.truth.allowed(self.world.node())
        assert len(allowed) == worlds.GPUS, self.world.node()
        for key, units in allowed.items():
            assert seen.units.get(key) == units == 7, (key, seen)
        ready = {provider for provider, _ in seen.ready}
        assert ready == {self.world.truth.root_name, *(k[0] for k in allowed)}

    # Shorthands.

    def _make(self, gpu: int) -> None:
        for start in range(7):
            self.world.gpus.create_instance(gpu, "1g.5gb", start)

    def _boot(self, name: str) -> None:
        with contextlib.suppress(clouds.NoValidHost, clouds.Refused):
            self.vms.append(self.world.cloud.boot({name: 1}))

    def _clear_marks(self) -> None:
        marks.clear(self.world.settings.run_dir)
        self.world.truth.sick.clear()

    def _is_heard(self) -> bool:
        """Whether the agent has NVML open, as it is now: an event is told
        but once."""
        node, truth = self.world.node(), self.world.truth
        return (
            self.world.is_listening
            and not self.unseen
            and bool(node["driver_present"])
            and not truth.held
        )

    @contextlib.contextmanager
    def _replacing(
        self, number: int, *, late: bool, whole: bool
    ) -> Iterator[None]:
        real, path = layout_file.load, self.world.layout
        text = worlds.layout_text(number)
        seen = text if whole else text[: len(text) // 2]

        def load(source: str | os.PathLike[str]) -> layout_file.LayoutFile:
            if not late:
                _write(path, seen, whole=whole)
            try:
                return real(source)
            finally:
                _write(path, text, whole=whole)

        setattr(layout_file, "load", load)  # noqa: B010 (for mypy)
        try:
            yield
        finally:
            setattr(layout_file, "load", real)  # noqa: B010 (for mypy)


def _write(path: pathlib.Path, text: str, *, whole: bool) -> None:
    """By a rename, so that it is there all at once, or in its place."""
    if not whole:
        path.write_text(text)
        return
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def run(placement: worlds.Placement, seed: int, count: int) -> None:
    """So many histories, the same ones for the same seed.

    :raises AssertionError: a property did not hold.
    """
    Histories.placement = placement
    stateful.run_state_machine_as_test(
        hypothesis.seed(seed)(Histories),
        settings=hypothesis.settings(
            max_examples=count,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            # A history takes a while, and shrinking one takes hundreds.
            phases=_phases(),
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )


def _phases() -> list[hypothesis.Phase]:
    shrink = os.environ.get("CHAOS_SHRINK")
    more = [hypothesis.Phase.shrink] if shrink else []
    return [hypothesis.Phase.generate, *more]
