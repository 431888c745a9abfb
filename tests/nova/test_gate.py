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
# mypy: disable-error-code="misc"
"""The gate, as VMs of a real Nova meet it."""

from tests.nova import base


class GateTest(base.RealNovaTest):
    def test_a_vm_lands_on_the_gpu_and_its_deletion_releases_it(self) -> None:
        host = self.start_host()
        server = self.boot()
        self.assertEqual(host.gpu_name(0), self.slice_of(server))
        self.assertEqual(1, host.used())
        self._delete_server(server)
        self.assertEqual(0, host.used())
        host.wait_until_offered(2)
