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
"""What the README shows to run is run."""

import pathlib
import textwrap

from tests.functional import snippets

_BEGIN = "   for way in none mdev vfio; do"


def _example() -> str:
    text = (snippets.ROOT / "README.rst").read_text()
    start = text.index(_BEGIN)
    end = text.index("   done\n", start) + len("   done\n")
    return textwrap.dedent(text[start:end])


def test_a_node_in_each_way_has_a_fragment_and_a_flavor(
    tmp_path: pathlib.Path,
) -> None:
    done = snippets.run_as_a_user(_example(), tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "enabled_mdev_types = nvidia-463" in said
    assert said.count('device_spec = {"address"') == 7
    assert said.count("trait:CUSTOM_MIG_NODE_READY=required") == 3
    assert said.count("trait_MIG:CUSTOM_MIG_READY=required") == 1
    assert said.count("pci_passthrough:alias=mig-1g-5gb:1") == 1
