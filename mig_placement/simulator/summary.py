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

"""The simulated node's state told in plain values."""

from typing import Any

from mig_placement.simulator import rules
from mig_placement.simulator import state as states
from mig_placement.simulator import vgpu


def summary(state: states.State) -> dict[str, Any]:
    """The node: host, faults, and each GPU with what is on it."""
    return {
        "boot_id": state.boot_id,
        "driver": state.driver,
        "vgpu": state.vgpu,
        "driver_present": state.driver_present,
        "privileged": state.privileged,
        "delay_ms": state.delay_ms,
        "mutations": state.mutations,
        "stuck_destroys": state.stuck_destroys,
        "faults": [
            {"at": item.at, "action": item.action, "code": item.code}
            for item in state.faults
        ],
        "gpus": [
            {"index": index, **_gpu(state, gpu)}
            for index, gpu in enumerate(state.gpus)
        ],
    }


def _gpu(state: states.State, gpu: states.Gpu) -> dict[str, Any]:
    return {
        "model": gpu.model,
        "uuid": gpu.uuid,
        "pci_address": gpu.pci,
        "mig": gpu.mode,
        "mig_pending": gpu.pending,
        "lost": gpu.lost,
        "instances": [
            _instance(state, gpu, gi)
            for gi in sorted(gpu.instances, key=lambda gi: gi.start)
        ],
        "processes": [
            {"pid": item.pid, "gi_id": item.gi_id, "ci_id": item.ci_id}
            for item in gpu.processes
        ],
        "functions": [
            _function(gpu, number, function)
            for number, function in enumerate(gpu.functions)
        ],
    }


def _function(
    gpu: states.Gpu, number: int, function: states.Function
) -> dict[str, Any]:
    ids = {gi.serial: gi.gi_id for gi in gpu.instances}
    return {
        "pci_address": vgpu.address(gpu, number),
        "type_id": function.type_id,
        "gi_id": ids.get(function.gi),
        "mdev": function.uuid,
        "vm": function.vm,
    }


def _instance(
    state: states.State, gpu: states.Gpu, gi: states.GpuInstance
) -> dict[str, Any]:
    profile = rules.profile_of(gpu, gi)
    return {
        "gi_id": gi.gi_id,
        "profile": profile.name,
        "start": gi.start,
        "size": profile.size,
        "compute_instances": [
            _compute(state, gpu, gi, ci)
            for ci in sorted(gi.compute, key=lambda ci: ci.ci_id)
        ],
    }


def _compute(
    state: states.State,
    gpu: states.Gpu,
    gi: states.GpuInstance,
    ci: states.ComputeInstance,
) -> dict[str, Any]:
    profile = rules.compute_profile(
        gpu.kind(), rules.profile_of(gpu, gi), ci.profile_id
    )
    return {
        "ci_id": ci.ci_id,
        "profile": profile.name if profile else "",
        "start": ci.start,
        "mig_uuid": state.mig_uuid(ci),
    }
