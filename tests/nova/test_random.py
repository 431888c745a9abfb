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

_STEPS = int(os.environ.get("NOVA_STEPS", "100"))
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
        self.seen: dict[str, gpu_host.Look] = {}
        gpu_host.eventually(self.is_settled)

    def offerable(
        self, host: gpu_host.GpuHost, used: dict[str, int]
    ) -> gpu_host.Look:
        """What Placement is to say, from what the hardware says."""
        fit = [gpu for gpu in range(2) if host.instances(gpu) == _PER_GPU]
        whole = self.scopes[host.name] == "node"
        if not fit or (whole and len(fit) < 2):
            return gpu_host.Look(False, {}, used)
        names = [host.gpu_name(gpu) for gpu in fit]
        free = {name: _PER_GPU - used.get(name, 0) for name in names}
        return gpu_host.Look(
            True, {name: units for name, units in free.items() if units}, used
        )

    def is_settled(self) -> bool:
        for name, host in self.hosts.items():
            self.seen[name] = host.look()
            wanted = self.offerable(host, self.seen[name].used)
            if self.seen[name] != wanted:
                return False
        return True

    def test_vms_land_on_fit_and_free_slices_and_on_nothing_else(self) -> None:
        names = list(_WEIGHTS)
        steps = self.random.choices(
            names, weights=list(_WEIGHTS.values()), k=_STEPS
        )
        for number, name in enumerate(steps):
            try:
                getattr(self, f"step_{name}")(self.any_host())
                gpu_host.eventually(self.is_settled)
            except Exception as error:
                error.add_note(f"in step {number} ({name}) of seed {_SEED}")
                raise

    def any_host(self) -> gpu_host.GpuHost:
        return self.random.choice(list(self.hosts.values()))

    def step_boot(self, _: gpu_host.GpuHost) -> None:
        free: dict[str, int] = {}
        for seen in self.seen.values():
            free |= seen.offered
        if not free:
            self.assert_no_valid_host()
            return
        server = self.boot()
        self.vms.append(server)
        self.assertIn(self.slice_of(server), free)

    def step_delete(self, _: gpu_host.GpuHost) -> None:
        if self.vms:
            index = self.random.randrange(len(self.vms))
            self._delete_server(self.vms.pop(index))

    def step_destroy(self, host: gpu_host.GpuHost) -> None:
        gpu = self.random.randrange(2)
        starts = host.starts(gpu)
        if starts:
            host.destroy_one(gpu, self.random.choice(starts))

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
        host.kill_agents()
        self.stop_nova_compute(host.name)
        host.gpus.reboot()
        host.start_agent_until_ready()
        self.start_nova_compute(host.name)
        if self.random.random() < 0.5:
            self.step_mend(host)
