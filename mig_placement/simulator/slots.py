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
"""New GPUs, and the PCI addresses at which they are plugged in."""

from mig_placement.simulator import catalog
from mig_placement.simulator import codes
from mig_placement.simulator import state as states

_FIRST_BUS = 0x41


def addresses(count: int) -> list[str]:
    return [
        f"00000000:{_FIRST_BUS + index:02X}:00.0" for index in range(count)
    ]


def new_gpu(state: states.State, model: str, address: str) -> states.Gpu:
    if model not in catalog.models():
        known = ", ".join(catalog.models())
        raise codes.SimulatorError(f"no model {model!r}, there are {known}")
    serial = state.new_serial()
    uuid = "GPU-" + state.derived_uuid("gpu", serial)
    return states.Gpu(serial, model, uuid, address.upper())
