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
"""Makes, uses and destroys instances, as who has no NVML would."""

import collections.abc

from mig_placement.simulator import actions
from mig_placement.simulator import codes
from mig_placement.simulator import node_base
from mig_placement.simulator import refs
from mig_placement.simulator import state as states


class Instances(node_base.Base):
    """The instances of a simulated node and the processes on them."""

    def create_instance(
        self,
        gpu: refs.GpuRef,
        profile: int | str,
        start: int | None = None,
        compute_instances: bool | collections.abc.Sequence[str] = True,
    ) -> int:
        """Create a GPU instance, and compute instances in it.

        :param profile: profile id or name.
        :param start: in placement units; default where the driver likes.
        :param compute_instances: True is one that fills it, False none,
            else their profile names, for example ``1c.3g.20gb``.
        :returns: the GPU instance's id.
        """
        with self._change() as state:
            where = refs.find_gpu(state, gpu)
            wanted = refs.find_profile(where, profile)
            at = None if start is None else (start, wanted.size)
            gi = actions.create_gi(state, where, wanted, at)
            names = compute_instances
            if isinstance(names, bool):
                names = [wanted.name] if names else []
            for name in names:
                actions.create_ci(
                    state, where, gi, refs.find_ci(where, gi, name)
                )
        return gi.gi_id

    def destroy_instance(
        self, gpu: refs.GpuRef, instance: refs.InstanceRef
    ) -> None:
        """Destroy a GPU instance with its compute instances."""
        with self._change() as state:
            where = refs.find_gpu(state, gpu)
            actions.destroy_whole(state, where, refs.find_gi(where, instance))

    def create_compute_instance(
        self,
        gpu: refs.GpuRef,
        instance: refs.InstanceRef,
        profile: int | str,
        start: int | None = None,
    ) -> int:
        """Create a compute instance; returns its id in the GPU instance."""
        with self._change() as state:
            where = refs.find_gpu(state, gpu)
            gi = refs.find_gi(where, instance)
            wanted = refs.find_ci(where, gi, profile)
            at = None if start is None else (start, wanted.slices)
            return actions.create_ci(state, where, gi, wanted, at).ci_id

    def destroy_compute_instance(
        self, gpu: refs.GpuRef, instance: refs.InstanceRef, ci_id: int
    ) -> None:
        """Destroy one compute instance and leave its GPU instance."""
        with self._change() as state:
            where = refs.find_gpu(state, gpu)
            gi = refs.find_gi(where, instance)
            for ci in gi.compute:
                if ci.ci_id == ci_id:
                    return actions.destroy_ci(state, where, gi, ci)
            raise codes.SimulatorError(f"no compute instance {ci_id}")

    def clear(self, gpu: refs.GpuRef) -> None:
        """Destroy all instances of a GPU."""
        with self._change() as state:
            actions.clear(state, refs.find_gpu(state, gpu))

    def add_process(
        self,
        gpu: refs.GpuRef,
        instance: refs.InstanceRef | None,
        pid: int,
        ci: int | None = None,
    ) -> None:
        """Run a process on a GPU instance, or on the whole GPU (None).

        :param ci: the compute instance; default the first, if any.
        """
        with self._change() as state:
            where = refs.find_gpu(state, gpu)
            process = states.Process(pid)
            if instance is not None:
                gi = refs.find_gi(where, instance)
                ids = sorted(item.ci_id for item in gi.compute)
                process.gi_id = gi.gi_id
                process.ci_id = ci if ci is not None else next(iter(ids), None)
            where.processes.append(process)
            node_base.settle(state)

    def remove_process(
        self, gpu: refs.GpuRef, instance: refs.InstanceRef | None, pid: int
    ) -> None:
        """End a process; SimulatorError where it does not run there."""
        with self._change() as state:
            where = refs.find_gpu(state, gpu)
            gi_id = (
                None
                if instance is None
                else refs.find_gi(where, instance).gi_id
            )
            for process in where.processes:
                if (process.pid, process.gi_id) == (pid, gi_id):
                    return where.processes.remove(process)
            raise codes.SimulatorError(f"no process {pid} there")
