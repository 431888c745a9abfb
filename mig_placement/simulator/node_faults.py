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
"""Failures, kills and delays that NVML's callers meet, and nobody else."""

from mig_placement.simulator import codes
from mig_placement.simulator import node_base
from mig_placement.simulator import state as states


class Faults(node_base.Base):
    """What the mutating NVML calls of a simulated node meet next."""

    def set_delay(self, milliseconds: int) -> None:
        """How long every mutating NVML call takes from now on."""
        with self._change() as state:
            state.delay_ms = milliseconds
            node_base.settle(state)

    def fail_next(self, k: int = 1, code: int = codes.UNKNOWN) -> None:
        """The k-th next mutating NVML call (1 is the next) fails once.

        :param code: the NVML return code that it gives.
        """
        self._add_fault(k, "fail", code)

    def kill_next(self, k: int = 1, *, after: bool = False) -> None:
        """The k-th next mutating NVML call kills its process (SIGKILL).

        :param after: once the change was made, else before it is.
        """
        self._add_fault(k, "kill_after" if after else "kill_before")

    def _add_fault(
        self, k: int, action: str, code: int = codes.UNKNOWN
    ) -> None:
        with self._change() as state:
            at = state.mutations + k
            state.faults.append(states.Fault(at, action, code))
            node_base.settle(state)

    def refuse_gi_destroy(self, times: int = 1) -> None:
        """So many GPU instance destroys say IN_USE, though all compute
        instances are gone."""
        with self._change() as state:
            state.stuck_destroys = times
            node_base.settle(state)

    def clear_faults(self) -> None:
        """No more failures, kills, refusals or delay."""
        with self._change() as state:
            state.faults.clear()
            state.stuck_destroys = state.delay_ms = 0
