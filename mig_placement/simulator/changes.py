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

"""Entry points that change the geometry or the MIG mode."""

from typing import Any

from mig_placement.simulator import actions
from mig_placement.simulator import codes
from mig_placement.simulator import driver as drivers
from mig_placement.simulator import index as indexes
from mig_placement.simulator import outputs
from mig_placement.simulator import rules
from mig_placement.simulator import state as states
from mig_placement.simulator.queries import Entry


class Changes:
    """Every mutating entry point; each call of one is counted."""

    def __init__(self, driver: drivers.Driver) -> None:
        self._driver = driver

    def entries(self) -> dict[str, Entry]:
        create_gi = "nvmlDeviceCreateGpuInstance"
        create_ci = "nvmlGpuInstanceCreateComputeInstance"
        return {
            "nvmlDeviceSetMigMode": self.set_mode,
            create_gi: self.create_gi,
            f"{create_gi}WithPlacement": self.create_gi_at,
            "nvmlGpuInstanceDestroy": self.destroy_gi,
            create_ci: self.create_ci,
            f"{create_ci}WithPlacement": self.create_ci_at,
            "nvmlComputeInstanceDestroy": self.destroy_ci,
        }

    def set_mode(self, handle: Any, mode: Any, status: Any) -> int:
        wanted = outputs.number(mode)

        def operation(state: states.State, gpu: states.Gpu) -> int:
            if wanted not in (0, 1):
                raise codes.Refused(codes.INVALID_ARGUMENT)
            return actions.set_mode(state, gpu, bool(wanted))

        card = self._driver.card(handle)
        outputs.put_number(status, self._driver.change(card, operation))
        return codes.SUCCESS

    def create_gi(self, handle: Any, profile_id: Any, reference: Any) -> int:
        return self._create_gi(handle, profile_id, None, reference)

    def create_gi_at(
        self, handle: Any, profile_id: Any, placement: Any, reference: Any
    ) -> int:
        wanted = outputs.placement(placement)
        return self._create_gi(handle, profile_id, wanted, reference)

    def _create_gi(
        self,
        handle: Any,
        profile_id: Any,
        placement: tuple[int, int] | None,
        reference: Any,
    ) -> int:
        card = self._driver.card(handle)
        profile = card.model.profile(outputs.number(profile_id))

        def operation(state: states.State, gpu: states.Gpu) -> int:
            if profile is None:
                raise codes.Refused(codes.INVALID_ARGUMENT)
            return actions.create_gi(state, gpu, profile, placement).serial

        serial = self._driver.change(card, operation)
        outputs.put(reference, indexes.gi_key(serial))
        return codes.SUCCESS

    def destroy_gi(self, handle: Any) -> int:
        instance = self._driver.instance(handle)

        def operation(state: states.State, gpu: states.Gpu) -> None:
            gi = _gi(gpu, instance)
            if state.stuck_destroys and not gi.compute:
                # Seen in the field after its compute instances went well.
                state.stuck_destroys -= 1
                raise codes.Refused(codes.IN_USE)
            actions.destroy_gi(state, gpu, gi)

        self._driver.change(instance.card, operation)
        return codes.SUCCESS

    def create_ci(self, handle: Any, profile_id: Any, reference: Any) -> int:
        return self._create_ci(handle, profile_id, None, reference)

    def create_ci_at(
        self, handle: Any, profile_id: Any, placement: Any, reference: Any
    ) -> int:
        wanted = outputs.placement(placement)
        return self._create_ci(handle, profile_id, wanted, reference)

    def _create_ci(
        self,
        handle: Any,
        profile_id: Any,
        placement: tuple[int, int] | None,
        reference: Any,
    ) -> int:
        instance = self._driver.instance(handle)
        profile = rules.compute_profile(
            instance.card.model,
            instance.packed.profile,
            outputs.number(profile_id),
        )

        def operation(state: states.State, gpu: states.Gpu) -> int:
            if profile is None:
                raise codes.Refused(codes.INVALID_ARGUMENT)
            gi = _gi(gpu, instance)
            return actions.create_ci(state, gpu, gi, profile, placement).serial

        serial = self._driver.change(instance.card, operation)
        outputs.put(reference, indexes.ci_key(serial))
        return codes.SUCCESS

    def destroy_ci(self, handle: Any) -> int:
        compute = self._driver.compute(handle)

        def operation(state: states.State, gpu: states.Gpu) -> None:
            gi = _gi(gpu, compute.instance)
            for ci in gi.compute:
                if ci.serial == compute.ci.serial:
                    return actions.destroy_ci(state, gpu, gi, ci)
            raise codes.Refused(codes.INVALID_ARGUMENT)

        self._driver.change(compute.instance.card, operation)
        return codes.SUCCESS


def _gi(gpu: states.Gpu, instance: indexes.Instance) -> states.GpuInstance:
    """The instance as it is now, which another process may have changed."""
    for gi in gpu.instances:
        if gi.serial == instance.gi.serial:
            return gi
    raise codes.Refused(codes.INVALID_ARGUMENT)
