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

"""A simulated NVML under the real pynvml, its state shared in a file.

``install()`` puts it in the place of the loaded library; ``SimulatedNode``
makes the node and disturbs it, also while other processes use it.
"""

from mig_placement.simulator.catalog import Model
from mig_placement.simulator.catalog import models
from mig_placement.simulator.catalog import Profile
from mig_placement.simulator.codes import SimulatorError
from mig_placement.simulator.node import SimulatedNode

__all__ = [
    "Model",
    "Profile",
    "SimulatedNode",
    "SimulatorError",
    "install",
    "models",
    "uninstall",
]


def install(path: str) -> None:
    """Make pynvml talk to the simulated node of a state file.

    The file is looked at when NVML is used, not now: without it there is
    no driver. What was installed before gives way.
    """
    # pynvml is not needed to make a node or to list the models.
    from mig_placement.simulator import library

    library.install(path)


def uninstall() -> None:
    """Give pynvml back the library that it had; harmless without one."""
    from mig_placement.simulator import library

    library.uninstall()
