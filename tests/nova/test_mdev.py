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
"""VMs with mdevs, and the gate in front of them."""

import re

from nova.tests.fixtures import libvirt as fakelibvirt

from mig_placement.placement import names
from tests.nova import base
from tests.nova import test_gate
from tests.nova import test_reboot
from tests.nova import test_restart
from tests.nova import test_tree


class GateTest(test_gate.GateTest):
    attach = "mdev"


class RestartTest(test_restart.RestartTest):
    attach = "mdev"


class RebootTest(test_reboot.NodeRebootTest):
    attach = "mdev"


class TreeTest(test_tree.TreeTest):
    attach = "mdev"
    flaps = 3


class MdevTest(base.RealNovaTest):
    """What mdevs alone bring with them."""

    attach = "mdev"

    def test_marks_are_as_many_as_instances_not_as_vfs(self) -> None:
        host = self.make_host(per_gpu=2)
        # An operator who lists more than there are instances.
        vfs = ",".join(host.cards.vf_addresses(0))
        host.nova_conf = re.sub(
            "device_addresses = .*",
            f"device_addresses = {vfs}",
            host.nova_conf,
        )
        self.start_nova_compute()
        host.start_agent()
        host.wait_until_offered(2)
        marked = [
            name
            for name, provider in self.gpu_providers(host).items()
            if name in host.providers.gpus() and names.READY in provider.traits
        ]
        self.assertEqual(2, len(marked))

    def test_nova_compute_does_not_start_without_its_mdevs(self) -> None:
        host = self.start_host()
        server = self.boot()
        self.reboot_node()
        host.start_agent_until_ready()
        self.assertRaisesRegex(
            fakelibvirt.libvirtError,
            "Unable to start mediated device",
            self.start_nova_compute,
        )
        self.computes.pop(host.name, None)
        host.make_instances(0)
        self.start_nova_compute()
        host.wait_until_offered(1)
        self._reboot_server(server, hard=True)
        self.assert_right_device(server)
