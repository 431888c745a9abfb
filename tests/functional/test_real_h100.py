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
"""What the tool printed on a real H100, printed again on a simulated one."""

import json
import pathlib
from typing import Any

import pytest

from mig_placement import exception
from tests.functional import gpu_node

_KEPT = pathlib.Path(__file__).parent / "data" / "h100_tool"
_LAYOUT = """\
version: v1
mig-configs:
  all-1g.10gb:
    - devices: all
      mig-enabled: true
      mig-devices: {"1g.10gb": 7}
  impossible:
    - devices: all
      mig-enabled: true
      mig-devices: {"3g.40gb": 2, "1g.10gb": 1}
"""


@pytest.fixture
def node(tmp_path: pathlib.Path) -> gpu_node.GpuNode:
    """A node like the real one; it needs no Placement."""
    made = gpu_node.GpuNode(tmp_path, {}, None)  # type: ignore[arg-type]
    made.gpus.create(["H100-80GB"], pci_addresses=["00000000:00:06.0"])
    made.layout.write_text(_LAYOUT)
    made.sections["layout"]["config"] = "all-1g.10gb"
    made.write_config()
    return made


def _rows(text: str) -> list[dict[str, Any]]:
    """Printed rows less the UUID, which every GPU has for itself."""
    rows: list[dict[str, Any]] = json.loads(text)
    return [
        {name: value for name, value in row.items() if name != "UUID"}
        for row in rows
    ]


@pytest.mark.parametrize("command", ["discover", "profiles", "check"])
def test_a_simulated_h100_prints_what_a_real_one_did(
    command: str, node: gpu_node.GpuNode
) -> None:
    kept = (_KEPT / f"{command}.json").read_text()
    assert _rows(node.tool(command, "-f", "json").stdout) == _rows(kept)


def test_with_mig_off_the_verdict_is_closed_for_that_reason(
    node: gpu_node.GpuNode,
) -> None:
    done = node.tool("check", "-f", "json")
    assert done.returncode == exception.EXIT_MISMATCH
    assert _rows(done.stdout)[0]["Why"].startswith("MIG_DISABLED")


def test_the_impossible_is_refused_in_the_same_words(
    node: gpu_node.GpuNode,
) -> None:
    done = node.tool("check", "--label", "impossible")
    kept = (_KEPT / "check_impossible.txt").read_text()
    assert done.returncode == exception.EXIT_USAGE
    assert done.stderr.partition("(label")[2] == kept.partition("(label")[2]
