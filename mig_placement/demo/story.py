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
"""The demo's story: what is done to a node, and what Placement then says."""

import pathlib
import sys
import tempfile

from mig_placement import simulator
from mig_placement.demo import cloud
from mig_placement.demo import node
from mig_placement.demo import placement_server

_LAYOUT = """\
version: v1
mig-configs:
  mixed:
    - devices: all
      mig-enabled: true
      mig-devices:
        "1g.5gb": 3
        "4g.20gb": 1
"""
_IMPOSSIBLE = """\
version: v1
mig-configs:
  impossible:
    - devices: all
      mig-enabled: true
      mig-devices:
        "3g.20gb": 2
        "1g.5gb": 1
"""
_SMALL = "CUSTOM_MIG_1G_5GB"
_LARGE = "CUSTOM_MIG_4G_20GB"
_INSTANCES = (("4g.20gb", 0), ("1g.5gb", 4), ("1g.5gb", 5), ("1g.5gb", 6))
_EXIT_LAYOUT = 2
# What an NVML call that creates takes on real hardware, about.
_DELAY_MS = 200


def tell() -> None:
    """Tell the story and check it; clean up whatever happens.

    :raises ConfigError: the ``demo`` extra is not installed.
    :raises StoryError: Placement says other than what is promised.
    """
    with (
        tempfile.TemporaryDirectory(prefix="mig-placement-demo-") as folder,
        placement_server.PlacementProcess() as placement,
    ):
        stage = _Stage(pathlib.Path(folder), placement)
        try:
            stage.play()
        finally:
            stage.node.stop_agent()


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class _Stage:
    """One node, one Placement, and the acts."""

    def __init__(
        self,
        folder: pathlib.Path,
        placement: placement_server.PlacementProcess,
    ) -> None:
        self.node = node.Node(folder, placement.options())
        self._folder = folder
        self._url = placement.url
        self._cloud = cloud.Cloud(placement.url, node.ROOT_NAME)
        self._gpus = simulator.SimulatedNode(self.node.state)

    def play(self) -> None:
        self._set_the_scene()
        self._reboot()
        self._restore()
        self._lose_one()
        self._refuse()
        _say("\nThe end: everything that was started has been stopped.")

    def _set_the_scene(self) -> None:
        _say(f"A real Placement at {self._url}, a simulated node")
        _say(f"{node.ROOT_NAME} with one A100-40GB, and its layout:")
        _say("  3x 1g.5gb + 1x 4g.20gb")
        self.node.layout.write_text(_LAYOUT)
        self._gpus.create(["A100-40GB"], mig=True)
        self._cloud.create_root()
        for profile, start in _INSTANCES:
            self._gpus.create_instance(0, profile, start)
        self._expect(self.node.tool("sync")[0] == 0, "the first sync")
        _say("\n1. Yesterday the node was as declared.")
        self._show(small=1, large=1)

    def _reboot(self) -> None:
        self._gpus.reboot()
        self._gpus.set_delay(_DELAY_MS)
        _say("\n2. The node rebooted: its instances are gone, and Placement")
        _say("   still offers them. Without an agent:")
        self._show(small=1, large=1)
        self.node.start_agent()
        self._wait(_SMALL, 0, "the agent to close the gate")
        _say("   The agent starts, before nova-compute, and closes the gate:")
        self._show(small=0, large=0)

    def _restore(self) -> None:
        _say("\n3. The agent creates the instances again, at")
        _say(f"   {_DELAY_MS} ms for each call, and opens the gate:")
        self._wait(_SMALL, 1, "candidates")
        self._show(small=1, large=1)

    def _lose_one(self) -> None:
        self._gpus.destroy_instance(0, (5, 1))
        _say("\n4. Somebody destroys one 1g.5gb behind the agent's back:")
        closed = self._wait(_SMALL, 0, "the gate to close")
        self._wait_reserved()
        self._show(small=0, large=0)
        _say(f"   closed {closed * 1000:.0f} ms after it had gone")
        self._expect(closed < 1, "closing within a second")
        self._wait(_SMALL, 1, "candidates")
        _say("   The agent makes it again, and keeps the other three:")
        self._show(small=1, large=1)

    def _refuse(self) -> None:
        layout = self._folder / "impossible.yaml"
        layout.write_text(_IMPOSSIBLE)
        status, said = self.node.tool("check", str(layout))
        _say("\n5. 2x 3g.20gb + 1x 1g.5gb is asked for, and refused before")
        _say(f"   anything is touched (exit status {status}):")
        _say(f"   {said}")
        self._expect(status == _EXIT_LAYOUT, "a layout error")
        self._expect("memory slices" in said, "the reason in slices")

    def _show(self, small: int, large: int) -> None:
        """Print what Placement says, and check it."""
        for name, expected in ((_SMALL, small), (_LARGE, large)):
            found = self._cloud.candidates(name)
            line = f"   {name}: {found} allocation candidates"
            inventory = self._cloud.inventories().get(name)
            if inventory:
                line += (
                    f" (total {inventory['total']},"
                    f" reserved {inventory['reserved']})"
                )
            _say(line)
            self._expect(found == expected, f"{expected} candidates")
        plain = self._cloud.candidates(None)
        _say(f"   a VM without a GPU: {plain} allocation candidates")
        self._expect(plain == 1, "a place for a VM without a GPU")

    def _wait(self, name: str, candidates: int, what: str) -> float:
        seconds = self._cloud.wait_for(name, candidates)
        self._expect(seconds is not None, what)
        return seconds or 0.0

    def _wait_reserved(self) -> None:
        closed = self._cloud.wait_until_reserved()
        self._expect(closed, "all units to be reserved")

    def _expect(self, true: bool, what: str) -> None:
        if not true:
            raise node.StoryError(
                f"waited in vain for {what}",
                where="demo",
                mend=f"the agent's log ends with: {self.node.log_tail()}",
            )
