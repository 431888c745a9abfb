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
"""A host of the real Nova: simulated GPUs and our agent beside it."""

import dataclasses
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any

from mig_placement.placement import names
from tests.functional import cloud as clouds
from tests.functional import gpu_node
from tests.functional import placement_app

CLASS = gpu_node.CLASS
_PROFILE = "1g.5gb"
_FIRST_BUS = 0x41
# A look takes Nova or Placement some 50 ms of what they need to get there.
_PAUSE = 0.1


def eventually(condition: Callable[[], object]) -> Any:
    """As gpu_node.within, for conditions that are dear to look at."""

    def looked() -> object:
        value = condition()
        if not value:
            time.sleep(_PAUSE)
        return value

    return gpu_node.within(looked)


@dataclasses.dataclass(frozen=True)
class Look:
    """A host as Placement has it: units by provider, none left out but 0.

    :param is_open: whether the node as a whole is offered.
    :param offered: units that would still be handed out.
    :param used: units that VMs hold.
    """

    is_open: bool
    offered: dict[str, int]
    used: dict[str, int]


class GpuHost(gpu_node.GpuNode):
    """One host's GPUs and agent; its nova-compute is the test's.

    :param name: of the host, the hypervisor and the root provider.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        placement: placement_app.TcpPlacement,
        name: str,
        *,
        per_gpu: int,
    ) -> None:
        super().__init__(folder, placement.options(), placement.cloud)
        self.name = name
        self._per_gpu = per_gpu
        self._root = ""
        self.sections["agent"].update(host=name, hypervisor_hostname=name)
        self.layout.write_text(
            gpu_node.LAYOUT.replace(": 7}", f": {per_gpu}}}")
        )
        self.write_config()

    def configure(self, section: str, **options: str) -> None:
        """Set options; the next agent that is started has them."""
        self.sections.setdefault(section, {}).update(options)
        self.write_config()

    # The hardware.

    def make_instances(self, gpu: int) -> None:
        """Make the GPU's missing instances, as nvidia-mig-parted would."""
        for start in set(range(self._per_gpu)) - set(self.starts(gpu)):
            self.gpus.create_instance(gpu, _PROFILE, start)

    def destroy_one(self, gpu: int, start: int = 0) -> None:
        """Destroy one instance behind the agent's back."""
        self.gpus.destroy_instance(gpu, (start, 1))

    def starts(self, gpu: int) -> list[int]:
        """Where the GPU's instances start, in slices."""
        found = self.gpus.summary()["gpus"][gpu]["instances"]
        return [item["start"] for item in found]

    def instances(self, gpu: int) -> int:
        return len(self.starts(gpu))

    # The agent.

    def start_agent_until_ready(self) -> subprocess.Popen[bytes]:
        """As systemd does, which starts nova-compute after it."""
        with gpu_node.notify_socket(self) as receiver:
            agent = self.start_agent()
            gpu_node.wait_for_notification(receiver, "READY=1")
        self.environment.pop("NOTIFY_SOCKET")
        (self.folder / "notify").unlink()
        return agent

    def kill_agents(self) -> None:
        """As a crash does; nothing is told to Placement."""
        for agent in self._agents:
            agent.kill()
            agent.wait()

    # What Placement says.

    def gpu_name(self, gpu: int) -> str:
        address = f"0000:{_FIRST_BUS + gpu:x}:00.0"
        return names.provider_name(self.name, address)

    def look(self) -> Look:
        """All that matters of this host's tree, read once."""
        tree = self._tree()
        root = tree.pop(self.name, None)
        units = {
            name: (provider.usages, provider.offered)
            for name, provider in tree.items()
        }
        return Look(
            root is not None and names.NODE_READY in root.traits,
            {
                name: offered[CLASS]
                for name, (_, offered) in units.items()
                if offered.get(CLASS)
            },
            {
                name: usages[CLASS]
                for name, (usages, _) in units.items()
                if usages.get(CLASS)
            },
        )

    def _tree(self) -> dict[str, clouds.Provider]:
        if not self._root:
            root = self.cloud.providers().get(self.name)
            self._root = root.uuid if root else ""
        # nova-compute makes it under the same uuid each time.
        return self.cloud.tree(self._root) if self._root else {}

    def used(self, gpu: int = 0) -> int:
        """VMs' units on a GPU."""
        return self.look().used.get(self.gpu_name(gpu), 0)

    def missing_behind(self, provider: str) -> int:
        """How many slices VMs hold on it that the GPU does not have."""
        for gpu in range(len(self.gpus.summary()["gpus"])):
            if self.gpu_name(gpu) == provider:
                return max(0, self.used(gpu) - self.instances(gpu))
        return 0

    def wait_until_offered(self, *units: int) -> None:
        """Until so many units are offered on the GPUs of those places."""
        wanted = {
            self.gpu_name(gpu): count
            for gpu, count in enumerate(units)
            if count
        }

        def offered() -> bool:
            seen = self.look()
            return seen.is_open and seen.offered == wanted

        eventually(offered)

    def wait_until_closed(self) -> None:
        """Until nothing is offered, on the root and on the GPUs."""

        def closed() -> bool:
            seen = self.look()
            return not seen.is_open and not seen.offered

        eventually(closed)
