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
"""The page for users of mig-parted shows commands that work."""

import pathlib

from mig_placement.demo import cloud
from mig_placement.demo import placement_server
from tests.functional import snippets

_FILE = "/etc/nvidia-mig-manager/config.yaml"
_THEIRS = snippets.ROOT / "tests" / "unit" / "data" / "mig-parted.yaml"
_NODE = f"""
cat > node.conf <<END
[hardware]
simulate = $PWD/gpus.json
[layout]
file = {_THEIRS}
config = all-1g.5gb
[agent]
hypervisor_hostname = gpu-node-1
[placement]
auth_type = admin_token
endpoint = {{url}}
token = admin
END
mig-placement simulate create gpus.json A100-40GB --mig
mig-placement() {{{{ command mig-placement --config-file node.conf "$@"; }}}}
"""


def test_its_commands_do_what_it_says(tmp_path: pathlib.Path) -> None:
    blocks = snippets.bash_blocks("migration.rst")
    script = "".join(blocks).replace(_FILE, str(_THEIRS))
    with placement_server.PlacementProcess() as server:
        cloud.Cloud(server.url, "gpu-node-1").create_root()
        done = snippets.run_as_a_user(
            _NODE.format(url=server.url) + script, tmp_path
        )
    assert done.returncode == 0, done.stderr
    assert "|   1 | 0000:42:00.0 | 7x 1g.5gb |" in done.stdout
    assert "INSTANCE_MISSING: 7 of 7 1g.5gb missing" in done.stdout
    assert "exit status 3" in done.stdout
    assert "create GPU instance 1g.5gb at 6:1" in done.stdout
