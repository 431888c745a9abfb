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
"""VMs with VFs of a variant driver, and the gates in front of them."""

from tests.nova import base
from tests.nova import gpu_host
from tests.nova import test_gate
from tests.nova import test_reboot
from tests.nova import test_restart
from tests.nova import test_tree


class GateTest(test_gate.GateTest):
    attach = "vfio"


class RestartTest(test_restart.RestartTest):
    attach = "vfio"


class RebootTest(test_reboot.NodeRebootTest):
    attach = "vfio"


class TreeTest(test_tree.TreeTest):
    attach = "vfio"
    flaps = 3


class VfioTest(base.RealNovaTest):
    """What PCI devices alone bring with them."""

    attach = "vfio"

    def test_vfs_that_come_late_need_a_restart_of_nova_compute(self) -> None:
        host = self.make_host()
        host.gpus.reboot()
        self.start_nova_compute()
        host.start_agent()
        host.make_instances(0)
        gpu_host.settles(lambda: host.look().is_open)
        for _ in range(2):
            self.run_periodics()
        self.assertEqual({}, host.look().devices.offered)
        self.assert_no_valid_host()
        self.restart_nova_compute()
        host.wait_until_offered(2)
        self.boot()

    def test_no_vm_gets_a_device_of_a_blocked_gpu(self) -> None:
        host = self.start_host(gpus=2, per_gpu=2, scope="gpu")
        host.destroy_one(1)
        host.wait_until_offered(2)
        for _ in range(2):
            self.assertEqual(host.gpu_name(0), self.slice_of(self.boot()))
        self.assert_no_valid_host()
