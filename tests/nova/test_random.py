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
"""Whatever happens, Nova places VMs on fit and free slices, and on all."""

import os
import random

from tests.nova import base
from tests.nova import gpu_host
from tests.nova import view

_STEPS = int(os.environ.get("NOVA_STEPS", "67"))
_SEED = int(os.environ.get("NOVA_SEED", "4"))
_PER_GPU = 2
_WEIGHTS = {
    "boot": 10,
    "delete": 6,
    "destroy": 3,
    "mend": 3,
    "periodic": 1,
    "restart": 1,
    "reboot": 1,
}


class RandomTest(base.RealNovaTest):
    """Two nodes of two GPUs; what is to be is told from the hardware."""

    def setUp(self) -> None:
        super().setUp()
        self.random = random.Random(_SEED)
        self.scopes = {base.HOST: "node", base.OTHER: "gpu"}
        for name, scope in self.scopes.items():
            self.start_host(name, gpus=2, per_gpu=_PER_GPU, scope=scope)
        self.vms: list[base.Server] = []
        self.seen: dict[str, view.Look] = {}
        gpu_host.settles(self.is_settled)

    def fit_gpus(self, host: gpu_host.GpuHost) -> set[str]:
        """What may be offered, as the hardware has it."""
        fit = {
            host.gpu_name(gpu)
            for gpu in range(2)
            if host.instances(gpu) == _PER_GPU
        }
        whole = self.scopes[host.name] == "node"
        return set() if whole and len(fit) < 2 else fit

    def is_settled(self) -> bool:
        for name, host in self.hosts.items():
            fit = self.fit_gpus(host)
            seen = self.seen[name] = host.look()
            if seen.is_open != bool(fit) or not all(
                stock.offered == _free(fit, stock.used)
                for stock in (seen.slices, seen.devices)
            ):
                return False
        return True

    def settle(self) -> None:
        """Nova sees by its periodic which mdevs could be made."""
        if self.attach == "mdev":
            self.run_periodics()
        gpu_host.settles(self.is_settled)

    def test_vms_land_on_fit_and_free_slices_and_on_nothing_else(self) -> None:
        names = list(_WEIGHTS)
        steps = self.random.choices(
            names, weights=list(_WEIGHTS.values()), k=_STEPS
        )
        for number, name in enumerate(steps):
            try:
                getattr(self, f"step_{name}")(self.any_host())
                self.settle()
            except Exception as error:
                error.add_note(f"in step {number} ({name}) of seed {_SEED}")
                raise

    def any_host(self) -> gpu_host.GpuHost:
        return self.random.choice(list(self.hosts.values()))

    def step_boot(self, _: gpu_host.GpuHost) -> None:
        if not any(seen.free for seen in self.seen.values()):
            self.assert_no_valid_host()
            return
        fit = set().union(*map(self.fit_gpus, self.hosts.values()))
        server = self.boot()
        self.vms.append(server)
        self.assertIn(self.slice_of(server), fit)

    def step_delete(self, _: gpu_host.GpuHost) -> None:
        if self.vms:
            index = self.random.randrange(len(self.vms))
            self._delete_server(self.vms.pop(index))

    def step_destroy(self, host: gpu_host.GpuHost) -> None:
        gpu = self.random.randrange(2)
        if host.can_destroy(gpu):
            host.destroy_one(gpu, self.random.choice(host.starts(gpu)))

    def step_mend(self, host: gpu_host.GpuHost) -> None:
        for gpu in range(2):
            host.make_instances(gpu)

    def step_periodic(self, _: gpu_host.GpuHost) -> None:
        self.expire_nova_caches()
        self.run_periodics()

    def step_restart(self, host: gpu_host.GpuHost) -> None:
        if self.random.random() < 0.5:
            self.restart_nova_compute(host.name)
        else:
            host.kill_agents()
            host.start_agent_until_ready()

    def step_reboot(self, host: gpu_host.GpuHost) -> None:
        self.reboot_node(host.name)
        # nova-compute does not start without its mdevs.
        needed = self.hypervisors[host.name].has_mdevs()
        mends = needed or self.random.random() < 0.5
        if mends:
            self.step_mend(host)
        host.start_agent_until_ready()
        self.start_nova_compute(host.name)


def _free(fit: set[str], used: dict[str, int]) -> dict[str, int]:
    free = {name: _PER_GPU - used.get(name, 0) for name in fit}
    return {name: units for name, units in free.items() if units}
