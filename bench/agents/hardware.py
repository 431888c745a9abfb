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
"""The hardware of many nodes, from two observations of a simulated one."""

import dataclasses
import pathlib

from mig_placement import conf
from mig_placement import simulator
from mig_placement.hardware import model
from mig_placement.service import nvml

INSTANCES = 7
_MODEL = "A100-40GB"
_PROFILE = "1g.5gb"
_LAYOUT = f"""\
version: v1
mig-configs:
  bench:
    - devices: all
      mig-enabled: true
      mig-devices: {{"{_PROFILE}": {INSTANCES}}}
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What the real observer saw of the node that all are like.

    :ivar settings: of an agent on it.
    :ivar empty: after a power cut: MIG mode, and no instances.
    :ivar full: as the layout says.
    """

    settings: conf.Settings
    empty: model.Node
    full: model.Node


def seen(folder: pathlib.Path, gpus: int) -> Seen:
    """Observe both. The session stays open: the agents ask the same NVML,
    one for a process, who uses the instances; nobody does."""
    node = simulator.SimulatedNode(folder / "gpus.json")
    settings = _settings(folder, node.path)
    library = nvml.Nvml(settings)
    node.create([_MODEL] * gpus, mig=True)
    empty = library.observe()
    for gpu in range(gpus):
        for _ in range(INSTANCES):
            node.create_instance(gpu, _PROFILE)
    return Seen(settings, empty, library.observe())


def _settings(folder: pathlib.Path, simulated: str) -> conf.Settings:
    layout = folder / "layout.yaml"
    layout.write_text(_LAYOUT)
    config = folder / "agent.conf"
    config.write_text(
        f"[hardware]\nsimulate = {simulated}\n[layout]\nfile = {layout}\n"
    )
    return conf.settings(conf.parse([f"--config-file={config}"]))


class Hardware(nvml.Nvml):
    """One node's NVML.

    :param made: is there once the operator's command has made the
        instances.
    """

    def __init__(
        self, settings: conf.Settings, both: Seen, made: pathlib.Path
    ) -> None:
        super().__init__(settings)
        self._seen = both
        self._made = made

    def observe(self) -> model.Node:
        return self._seen.full if self._made.exists() else self._seen.empty

    def let_go(self) -> None:
        """Nothing is held."""

    def wait(self, timeout: float) -> tuple[model.Event, ...] | None:
        """No events: whoever waits does so by itself."""
        return None


def command(made: pathlib.Path, seconds: float) -> str:
    """[layout] apply_command: makes the instances, and takes its time."""
    return f"sh -c 'sleep {seconds}; : > {made}'"
