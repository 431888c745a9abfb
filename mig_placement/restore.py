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
"""Brings the layout back: gate closed and confirmed, change, look again."""

import collections.abc
import dataclasses
import logging
import time
from typing import Protocol

from mig_placement import conf
from mig_placement import exception
from mig_placement.geometry import apply
from mig_placement.geometry import functions
from mig_placement.geometry import gpu_plan
from mig_placement.geometry import layout
from mig_placement.geometry import plan
from mig_placement.geometry import target
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model
from mig_placement.hardware import usage
from mig_placement.placement import allocated
from mig_placement.placement import desired
from mig_placement.placement import model as placement
from mig_placement.service import command
from mig_placement.service import hands
from mig_placement.service import lock
from mig_placement.service import nvml
from mig_placement.service import systemd
from mig_placement.service import way

LOG = logging.getLogger(__name__)

# NVML takes about a second to destroy an instance.
_SLOWEST_RESTORE = 600.0
# A reset for MIG mode, SR-IOV, and then the instances.
_ROUNDS = 3
# Functions and their types come some seconds after SR-IOV (vgpu-mgr).
_FUNCTIONS_WAIT = 60.0
_FUNCTIONS_POLL = 0.2
_SLACK = 60.0

Allowed = frozenset[tuple[int, target.Located]]


class Teller(Protocol):
    """Tells Placement, and reads what it holds. Raises PlacementError."""

    def close(self, seen: desired.Picture) -> placement.Tree | None:
        """Tell, and the tree as read afterwards; None: nothing there."""


class NoPlacement:
    """For a node that has no Placement to be told."""

    def close(self, seen: desired.Picture) -> placement.Tree | None:
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What a restore came to.

    :ivar plans: what was to be done, decided with the gate closed.
    """

    plans: tuple[gpu_plan.GpuPlan, ...] = ()
    outcomes: tuple[apply.Outcome, ...] = ()

    @property
    def failed(self) -> bool:
        return any(each.failed for each in self.outcomes)

    def lines(self) -> tuple[str, ...]:
        """For the log and ``status``."""
        return (
            *(str(each) for each in self.outcomes),
            *(line for each in self.plans for line in waiting_lines(each)),
        )


def waiting_lines(one: gpu_plan.GpuPlan) -> list[str]:
    """What of the layout waits for which instance in use."""
    return [f"GPU {one.gpu.index}: {line}" for line in _waiting(one)]


def _waiting(one: gpu_plan.GpuPlan) -> list[str]:
    missing = ", ".join(one.missing)
    wants = f" before {missing} can be made" if missing else ""
    return [
        *filter(None, [one.blocked]),
        *(f"waiting for {e.slot} ({e.why}){wants}" for e in one.waiting),
    ]


def _all(node: model.Node, why: str) -> tuple[gpu_plan.InUse, ...]:
    return tuple(
        gpu_plan.InUse(gpu.index, target.located(instance), why)
        for gpu in node.gpus
        for instance in gpu.instances
    )


def restoring(seen: desired.Picture) -> desired.Picture:
    """The picture with every declared GPU closed while some are changed.

    Also with [gate] scope = gpu: meanwhile nobody watches the others.
    """
    finding = verdicts.Finding(
        verdicts.Reason.RESTORING, "the layout is being brought back"
    )
    gpus = tuple(
        dataclasses.replace(each, findings=(*each.findings, finding))
        if each.declared
        else each
        for each in seen.verdict.gpus
    )
    verdict = dataclasses.replace(seen.verdict, gpus=gpus)
    return dataclasses.replace(seen, verdict=verdict)


class Restorer:
    """Changes the geometry of a node to a layout.

    :param classes: the operator's class overrides.
    """

    def __init__(
        self,
        settings: conf.Settings,
        library: nvml.Nvml,
        teller: Teller,
        classes: collections.abc.Mapping[str, str],
        progress: apply.Progress = lambda index, step: None,
    ) -> None:
        self._settings = settings
        self._nvml = library
        self._teller = teller
        self._classes = classes
        self._progress = progress
        self._way = way.way(settings)

    def plans(
        self,
        node: model.Node,
        wanted: layout.NodeLayout,
        tree: placement.Tree | None,
        allowed: Allowed = frozenset(),
    ) -> tuple[gpu_plan.GpuPlan, ...]:
        """What is to be done, given what is in use.

        :raises HardwareError: NVML does not answer.
        """
        return plan.plan(
            node, wanted, self._in_use(node, tree), allowed, self._way
        )

    def _in_use(
        self, node: model.Node, tree: placement.Tree | None
    ) -> tuple[gpu_plan.InUse, ...]:
        if tree is None and not isinstance(self._teller, NoPlacement):
            # Nobody knows what is allocated: it may be anything.
            return _all(node, "Placement does not know this node")
        return hands.in_use(node, self._allocated(node, tree))

    def _allocated(
        self, node: model.Node, tree: placement.Tree | None
    ) -> dict[tuple[int, str], tuple[int, str]]:
        if tree is None:
            return {}
        return allocated.by_profile(tree, node, self._classes)

    def run(
        self,
        seen: desired.Picture,
        wanted: layout.NodeLayout,
        indices: frozenset[int],
        allowed: Allowed = frozenset(),
    ) -> Result:
        """Close, confirm, plan again with what is allocated now, change.

        :param indices: GPUs that may be changed.
        :raises PlacementError: the gate is not known to be closed; nothing
            was changed.
        :raises HardwareError: NVML does not answer; nothing was changed.
        :raises ConfigError: another process changes the geometry.
        """
        with (
            lock.apply(self._settings.run_dir),
            systemd.busy(_SLOWEST_RESTORE),
        ):
            tree = self._closed(seen)
            result = self._round(wanted, indices, tree, allowed)
            for _ in range(_ROUNDS - 1):
                if not self._prepared(result.outcomes):
                    break
                again = self._round(wanted, indices, tree, allowed)
                result = _joined(result, again)
        _log(result)
        return result

    def may_pass(self, result: Result) -> bool:
        """Whether it failed for what nobody here sees: a session that
        another program has with NVML, or a driver that is not ready yet."""
        return any(
            each.needs_sriov
            or each.kept
            or (each.needs_reset and self._settings.allow_gpu_reset)
            for each in result.outcomes
        )

    def run_command(self, seen: desired.Picture) -> None:
        """Close, confirm, and let the operator's command change GPUs.

        :raises MigPlacementError: as ``run``; the command was not run.
        """
        with (
            lock.apply(self._settings.run_dir),
            systemd.busy(self._settings.apply_timeout + _SLACK),
        ):
            self._closed(seen)
            # It may reset GPUs, which an open session would refuse it.
            self._nvml.let_go()
            command.run(
                self._settings.apply_command, self._settings.apply_timeout
            )

    def _closed(self, seen: desired.Picture) -> placement.Tree | None:
        tree = self._teller.close(restoring(seen))
        if tree is not None and not allocated.is_closed(tree):
            raise exception.PlacementConflict(
                "the gate was closed and is open when read back; no GPU was"
                " changed",
                where=f"Placement, {tree.root.name}",
                mend="see who else writes to the providers of this node",
            )
        return tree

    def _round(
        self,
        wanted: layout.NodeLayout,
        indices: frozenset[int],
        tree: placement.Tree | None,
        allowed: Allowed,
    ) -> Result:
        node = self._nvml.observe()
        todo = tuple(
            each
            for each in self.plans(node, wanted, tree, allowed)
            if each.gpu.index in indices
        )
        doing = hands.NvmlHands(
            self._allocated(node, tree),
            allowed,
            nvml.functions(self._settings),
        )
        return Result(todo, apply.apply(todo, doing, self._progress))

    def _prepared(
        self, outcomes: collections.abc.Collection[apply.Outcome]
    ) -> bool:
        """What no NVML call does: resets, SR-IOV. Whether any was done."""
        return any([self._reset(outcomes), self._enable_sriov(outcomes)])

    def _enable_sriov(
        self, outcomes: collections.abc.Iterable[apply.Outcome]
    ) -> bool:
        waiting = [each.index for each in outcomes if each.needs_sriov]
        return any(list(map(self._enable_sriov_of, waiting)))

    def _enable_sriov_of(self, index: int) -> bool:
        gpu = self._nvml.observe().gpus[index]
        try:
            done = self._run_alone(gpu, self._settings.sriov_command)
        finally:
            # Also where a signal ends us, and the command with us.
            self._bind_again(gpu)
        return done and self._has_functions(gpu)

    def _run_alone(self, gpu: model.Gpu, template: str) -> bool:
        """Run a command for a GPU that nobody uses, with NVML let go.

        While anybody has a session a reset is refused, and sriov-manage
        says "Cannot obtain unbindLock".
        """
        if gpu.instances or usage.processes_on(gpu.index):
            LOG.warning(
                "%s is in use, stays closed and keeps its VMs: a command that"
                " it waits for is not run; stop what uses it: %s",
                gpu,
                template,
            )
            return False
        self._nvml.let_go()
        text = template.format(pci_address=gpu.pci_address, index=gpu.index)
        return command.run(text, self._settings.apply_timeout)

    def _bind_again(self, gpu: model.Gpu) -> None:
        """sriov-manage leaves the GPU without its driver if it dies."""
        there = nvml.functions(self._settings)
        if there is not None and not there.is_bound(gpu.pci_address):
            LOG.error(
                "%s was left without its driver by [layout] sriov_command; it"
                " stays closed while the agent binds it again",
                gpu,
            )
            there.bind(gpu.pci_address)

    def _has_functions(self, gpu: model.Gpu) -> bool:
        """Wait until they are usable: some appear only after a while."""
        there = nvml.functions(self._settings)
        until = time.monotonic() + _FUNCTIONS_WAIT
        while there is not None:
            if functions.are_usable(there.sriov(gpu.pci_address), self._way):
                return True
            if time.monotonic() > until:
                LOG.error(
                    "%s shows no usable virtual function %g s after SR-IOV was"
                    " switched on, and stays closed; see dmesg and"
                    " 'systemctl status nvidia-vgpu-mgr'",
                    gpu,
                    _FUNCTIONS_WAIT,
                )
                break
            time.sleep(_FUNCTIONS_POLL)
        return False

    def _reset(
        self, outcomes: collections.abc.Iterable[apply.Outcome]
    ) -> bool:
        """Reset the GPUs that wait for it, where that is allowed."""
        waiting = [each.index for each in outcomes if each.needs_reset]
        if not waiting or not self._settings.allow_gpu_reset:
            return False
        # All of them, also after the first that was.
        return any(list(map(self._reset_one, waiting)))

    def _reset_one(self, index: int) -> bool:
        gpu = self._nvml.observe().gpus[index]
        return self._run_alone(gpu, self._settings.reset_command)


def _log(result: Result) -> None:
    for each in result.outcomes:
        if each.failed:
            LOG.error(
                "the layout of %s was not brought back, and it stays closed;"
                " running VMs keep their slices: %s",
                each.gpu,
                each.text(),
            )
        else:
            LOG.info("layout of %s: %s", each.gpu, each.text())
    for one in result.plans:
        for line in _waiting(one):
            LOG.info("layout of %s: %s", one.gpu, line)


def _joined(first: Result, second: Result) -> Result:
    """Of each GPU the later outcome."""
    later = {each.index for each in second.outcomes}
    kept = tuple(each for each in first.outcomes if each.index not in later)
    return Result(second.plans, kept + second.outcomes)
