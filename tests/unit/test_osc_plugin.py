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
"""The client imports our plugin with each of its commands."""

import subprocess
import sys


def test_the_plugin_imports_nothing_that_takes_time() -> None:
    heavy = "{'keystoneauth1', 'openstack', 'oslo_config', 'requests'}"
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys, mig_placement.osc.plugin;"
            f" print(sorted({heavy} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
