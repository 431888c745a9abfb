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

"""What the simulator needs, and what it does without."""

import subprocess
import sys

import pytest

_PROGRAM = """
import sys
import {module}
print(*sorted(sys.modules))
"""


def loaded_by(module: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(module=module)],
        check=True,
        capture_output=True,
        text=True,
    )
    return run.stdout.split()


@pytest.mark.parametrize(
    "module", ["mig_placement.simulator", "mig_placement.simulator.library"]
)
def test_the_simulator_needs_nothing_else_of_ours(module: str) -> None:
    assert [
        name
        for name in loaded_by(module)
        if name.startswith("mig_placement.")
        and not name.startswith("mig_placement.simulator")
    ] == []


def test_a_node_is_made_without_loading_pynvml() -> None:
    loaded = loaded_by("mig_placement.simulator")
    assert {"pynvml", "ctypes", "jsonschema"}.isdisjoint(loaded)


@pytest.mark.parametrize("command", ["agent", "check", "discover", "sync"])
def test_a_node_with_gpus_starts_without_the_simulator(command: str) -> None:
    loaded = loaded_by(f"mig_placement.cmd.{command}")
    assert "mig_placement.hardware.session" in loaded
    assert "mig_placement.simulator" not in loaded
