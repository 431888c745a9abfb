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
"""The operations guide's commands do what it says, in its order."""

import pathlib

from mig_placement.demo import cloud
from mig_placement.demo import placement_server
from tests.functional import snippets

# What an installed node has; systemd's part is played by a function.
_NODE = """
layout() {
  echo "version: v1"
  echo "mig-configs: {it: [{devices: all, mig-enabled: true,"
  echo "  mig-devices: {$1}}]}"
}
layout '"3g.20gb": 1, "1g.5gb": 3' > layout.yaml
layout '"1g.5gb": 7' > new-layout.yaml
cat > node.conf <<END
[DEFAULT]
log_file = $PWD/agent.log
[agent]
host = gpu-node-1
hypervisor_hostname = gpu-node-1
run_dir = $PWD/run
state_dir = $PWD/state
[hardware]
simulate = $PWD/gpus.json
[layout]
file = $PWD/layout.yaml
apply = native
[placement]
auth_type = admin_token
endpoint = URL
token = admin
END
mig-placement simulate create gpus.json A100-40GB --mig
mig-placement() { command mig-placement --config-file node.conf "$@"; }
mig-placement-status() {
  command mig-placement-status --config-file node.conf "$@"
}
systemctl() {
  test "$1" = start || { kill $agent; wait $agent || true; }
  mig-placement-agent --config-file node.conf & agent=$!
}
trap 'kill $agent' EXIT
"""


def test_its_commands_do_what_it_says(tmp_path: pathlib.Path) -> None:
    blocks = snippets.bash_blocks("guide.rst")
    script = "".join(blocks).replace("/etc/mig-placement", ".")
    with placement_server.PlacementProcess() as server:
        cloud.Cloud(server.url, "gpu-node-1").create_root()
        done = snippets.run_as_a_user(
            _NODE.replace("URL", server.url) + script, tmp_path
        )
    assert done.returncode == 0, done.stdout + done.stderr
    first, _, later = done.stdout.partition("openstack flavor create")
    assert "INSTANCE_MISSING" in first
    assert "3g.20gb" in first
    # The new layout is there, and nothing is left to mend.
    assert later.count("| 6:1 ") >= 1
