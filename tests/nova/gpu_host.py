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

import contextlib
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from tests.functional import gpu_node
from tests.functional import placement_app
from tests.nova import cards as gpu_cards
from tests.nova import tables
from tests.nova import view

PROFILE = "1g.5gb"
TYPE = 463
# A look takes Nova some 50 ms of what it needs to get there.
_PAUSE = 0.2
# With letters: Nova has them in capitals, and the kernel has not.
_BUSES = ("4B", "C2", "1A", "2B", "3C", "5D", "6E", "7F")
# Fragments that were generated, by attach, GPUs and instances of each.
_fragments: dict[tuple[str, int, int], str] = {}


def eventually(condition: Callable[[], object], pause: float = _PAUSE) -> Any:
    """As gpu_node.within, for conditions that are dear to look at.

    :param pause: seconds between two looks.
    """
    return gpu_node.within(condition, pauses=(pause, pause))


def settles(condition: Callable[[], object]) -> Any:
    """For conditions that only Placement's tables are looked at for."""
    return eventually(condition, pause=0.05)


class GpuHost(gpu_node.GpuNode):
    """One host's GPUs and agent; its nova-compute is the test's.

    :param name: of the host, the hypervisor and the root provider.
    :param per_gpu: instances that a GPU is to have.
    :param attach: as in [nova].
    """

    def __init__(
        self,
        folder: pathlib.Path,
        placement: placement_app.TcpPlacement,
        name: str,
        *,
        per_gpu: int,
        attach: str = "none",
    ) -> None:
        super().__init__(folder, placement.options(), placement.cloud)
        self.name = name
        self.attach = attach
        self.cards = gpu_cards.Cards(self.gpus, vfs=max(3, per_gpu))
        # Set once Nova's libvirt is there.
        self.held_vfs: Callable[[], set[str]] = set
        self.remove_mdev: Callable[[str], None] = self.cards.remove_mdev
        self._per_gpu = per_gpu
        self._database = placement.process.database
        self._nova_conf = ""
        self.sections["agent"].update(host=name, hypervisor_hostname=name)
        if attach != "mdev":
            # What VMs wait for, NVML tells; what Nova makes anew, nobody.
            self.sections["agent"]["interval"] = "1"
        self.sections["nova"] = {"attach": attach}
        self.sections["layout"]["sriov_command"] = (
            f"{sys.executable} -m mig_placement.cmd.tool"
            f" simulate sriov {self.gpus.path} {{index}} on"
        )
        self.layout.write_text(
            gpu_node.LAYOUT.replace(": 7}", f": {per_gpu}}}")
        )
        self.write_config()

    def create_gpus(self, count: int = 1, *, instances: int = 7) -> None:
        """As the base's, with SR-IOV on and what it takes to attach."""
        vgpu = "" if self.attach == "none" else self.attach
        models = ["A100-40GB"] * count
        self.gpus.create(
            models,
            pci_addresses=[f"00000000:{bus}:00.0" for bus in _BUSES[:count]],
            mig=True,
            vgpu=vgpu,
            overwrite=True,
        )
        addresses = [card.address for card in self.cards.now()]
        self.providers = view.Providers(
            self.name,
            self.attach,
            {
                address: self.cards.vf_addresses(gpu)
                for gpu, address in enumerate(addresses)
            },
        )
        for gpu in range(count):
            self.make_instances(gpu)

    @property
    def nova_conf(self) -> str:
        """The fragment that is generated for its nova-compute."""
        if self._nova_conf:
            return self._nova_conf
        key = self.attach, len(self.providers.vfs), self._per_gpu
        if key not in _fragments:
            done = self.tool("nova-config")
            assert done.returncode == 0, done.stderr
            _fragments[key] = done.stdout
        return _fragments[key]

    @nova_conf.setter
    def nova_conf(self, text: str) -> None:
        self._nova_conf = text

    def configure(self, section: str, **options: str) -> None:
        """Set options; the next agent that is started has them."""
        self.sections.setdefault(section, {}).update(options)
        self.write_config()

    # The hardware.

    def make_instances(self, gpu: int) -> None:
        """Make the GPU's missing instances, as nvidia-mig-parted would.

        What comes before and after them is made too, as an operator does.
        """
        if self.attach != "none":
            self.cards.enable_sriov()
        for start in set(range(self._per_gpu)) - set(self.starts(gpu)):
            self.gpus.create_instance(gpu, PROFILE, start)
        self.make_types(gpu)

    def make_types(self, gpu: int) -> None:
        """Give the VFs that Nova knows of their vGPU type."""
        if self.attach == "vfio":
            for vf in self.cards.now()[gpu].vfs[: self._per_gpu]:
                if not vf.current:
                    self.cards.set_type(vf.address, TYPE)

    def destroy_one(self, gpu: int, start: int = 0) -> None:
        """Destroy one instance behind the agent's back, or another one.

        Where that one carries a vGPU it is one without; what was made of
        it goes first, and what a VM has stays.
        """
        spare = self._spare_starts(gpu)
        if not spare:
            self._spare_one(gpu)
            spare = self._spare_starts(gpu)
        chosen = start if start in spare else spare[0]
        self.gpus.destroy_instance(gpu, (chosen, 1))

    def _spare_starts(self, gpu: int) -> list[int]:
        """Where instances without a vGPU are, which can be destroyed."""
        held = {vf.gi_id for vf in self.cards.now()[gpu].vfs}
        found = self.gpus.summary()["gpus"][gpu]["instances"]
        return [item["start"] for item in found if item["gi_id"] not in held]

    def _spare_one(self, gpu: int) -> None:
        held = self.held_vfs()
        vfs = [
            vf
            for vf in reversed(self.cards.now()[gpu].vfs)
            if vf.current and vf.address not in held
        ]
        assert vfs, "VMs hold them all"
        if self.attach == "vfio":
            return self.cards.set_type(vfs[0].address, 0)
        (uuid,) = [
            mdev.uuid
            for mdev in self.cards.mdevs()
            if mdev.vf == vfs[0].address
        ]
        return self.remove_mdev(uuid)

    def can_destroy(self, gpu: int) -> bool:
        """Whether there is an instance that the driver would give up."""
        if self.attach == "none":
            return bool(self.starts(gpu))
        return self.instances(gpu) > self.used(gpu)

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

    @contextlib.contextmanager
    def paused_agents(self) -> Iterator[None]:
        for agent in self._agents:
            agent.send_signal(signal.SIGSTOP)
        yield
        for agent in self._agents:
            agent.send_signal(signal.SIGCONT)

    def kill_agents(self) -> None:
        """As a crash does; nothing is told to Placement."""
        for agent in self._agents:
            agent.kill()
            agent.wait()

    # What Placement says.

    def gpu_name(self, gpu: int) -> str:
        return self.providers.own(list(self.providers.vfs)[gpu])

    def gpu_of(self, vf: str) -> str:
        """The GPU of a VF, by the name of our provider."""
        (found,) = [
            self.providers.own(address)
            for address, vfs in self.providers.vfs.items()
            if vf in vfs
        ]
        return found

    def look(self) -> view.Look:
        """All that matters of this host's tree, read once."""
        return self.providers.look(tables.tree(self._database, self.name))

    def used(self, gpu: int = 0) -> int:
        """VMs' devices on a GPU."""
        return self.look().devices.used.get(self.gpu_name(gpu), 0)

    def missing_behind(self, provider: str) -> int:
        """How many slices VMs hold there that the GPU does not have."""
        name = self.providers.gpus().get(provider)
        for gpu in range(len(self.providers.vfs)):
            if self.gpu_name(gpu) == name:
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
            return (
                seen.is_open
                and seen.slices.offered == wanted
                and seen.devices.offered == wanted
            )

        settles(offered)

    def wait_until_closed(self) -> None:
        """Until nothing is offered, on the root and on the GPUs."""

        def closed() -> bool:
            seen = self.look()
            return not seen.is_open and not seen.slices.offered

        settles(closed)
