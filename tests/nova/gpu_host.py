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

import collections
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any

from mig_placement.placement import names
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
        self.sections["agent"].update(host=name, hypervisor_hostname=name)
        self.layout.write_text(
            gpu_node.LAYOUT.replace(": 7}", f": {per_gpu}}}")
        )
        self.write_config()

    def configure(self, section: str, **options: str) -> None:
        """Set options; the next agent that is started has them."""
        self.sections[section].update(options)
        self.write_config()

    # The hardware.

    def make_instances(self, gpu: int) -> None:
        """Make the GPU's missing instances, as nvidia-mig-parted would."""
        there = {item["start"] for item in self._instances(gpu)}
        for start in set(range(self._per_gpu)) - there:
            self.gpus.create_instance(gpu, _PROFILE, start)

    def destroy_one(self, gpu: int, start: int = 0) -> None:
        """Destroy one instance behind the agent's back."""
        self.gpus.destroy_instance(gpu, (start, 1))

    def _instances(self, gpu: int) -> list[dict[str, int]]:
        found: list[dict[str, int]] = self.gpus.summary()["gpus"][gpu][
            "instances"
        ]
        return found

    def missing_slices(self) -> int:
        """How many slices VMs were promised that the node does not have."""
        used = self._used_by_gpu()
        return sum(
            max(0, used[index] - len(self._instances(index)))
            for index in range(len(self.gpus.summary()["gpus"]))
        )

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

    def used(self, gpu: int = 0) -> int:
        """VMs' units on a GPU."""
        return self._used_by_gpu()[gpu]

    def _used_by_gpu(self) -> collections.Counter[int]:
        providers = self.cloud.providers()
        used: collections.Counter[int] = collections.Counter()
        for gpu in range(len(self.gpus.summary()["gpus"])):
            provider = providers.get(self.gpu_name(gpu))
            if provider:
                used[gpu] = provider.usages.get(CLASS, 0)
        return used

    def offered(self) -> collections.Counter[str]:
        """Units that Placement would still hand out, by provider."""
        return collections.Counter(
            {
                name: provider.offered.get(CLASS, 0)
                for name, provider in self.cloud.providers().items()
                if names.is_gpu_provider(name, self.name)
                and provider.offered.get(CLASS, 0)
            }
        )

    def is_open(self) -> bool:
        """Whether the node as a whole is offered."""
        root = self.cloud.providers().get(self.name)
        return root is not None and names.NODE_READY in root.traits

    def wait_until_offered(self, *units: int) -> None:
        """Until so many units are offered on the GPUs of those places."""
        wanted = {
            self.gpu_name(gpu): count
            for gpu, count in enumerate(units)
            if count
        }
        eventually(lambda: self.is_open() and dict(self.offered()) == wanted)

    def wait_until_closed(self) -> None:
        """Until nothing is offered, on the root and on the GPUs."""
        eventually(lambda: not self.is_open() and not self.offered())
