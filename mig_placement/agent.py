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
"""The loop: waits, looks, tells Placement, and never dies of an error."""

import contextlib
import dataclasses
import logging
import signal
import time

from mig_placement import conf
from mig_placement import cycle
from mig_placement import exception
from mig_placement import forecast
from mig_placement import keeper
from mig_placement import last
from mig_placement import pace
from mig_placement import picture
from mig_placement import restore
from mig_placement import retiring
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model
from mig_placement.hardware import usage
from mig_placement.nova import guard as guards
from mig_placement.placement import desired
from mig_placement.placement import sync
from mig_placement.service import exporter
from mig_placement.service import files
from mig_placement.service import hold
from mig_placement.service import lock
from mig_placement.service import marks
from mig_placement.service import measures
from mig_placement.service import nvml
from mig_placement.service import readiness
from mig_placement.service import status
from mig_placement.service import systemd
from mig_placement.service import wake
from mig_placement.service import watch

LOG = logging.getLogger(__name__)

_STOP = frozenset({signal.SIGTERM, signal.SIGINT})
# nova-compute makes the root soon after it started; a look costs one GET.
_ROOT_RETRY = 10.0
# Seconds for which a Nova that does not answer may delay a shutdown.
_GOODBYE = 5.0


def _last_status(settings: conf.Settings) -> object:
    """What the agent before this one wrote: since when things are so."""
    try:
        value = status.read(settings.run_dir)
    except exception.ConfigError:
        return None
    parts = (value.get("gate"), value.get("placement"))
    return value if all(isinstance(each, dict) for each in parts) else None


def _party(error: exception.MigPlacementError) -> str:
    """Who did not do as asked."""
    if isinstance(error, exception.PlacementError):
        return "Placement"
    return "NVML" if isinstance(error, exception.HardwareError) else "the node"


def _log_gate(report: status.Report) -> None:
    if report.gate == "open":
        LOG.info("gate open%s", report.because())
    elif report.gate == "closed":
        LOG.warning(
            "gate closed%s; no new VM gets a slice of this node; see"
            " 'mig-placement status'",
            report.because(),
        )
    else:
        LOG.warning(
            "gate unknown%s; until Placement is told, it goes on offering"
            " what it was told last",
            report.because(),
        )


def _uses(node: model.Node | None) -> usage.Usage:
    """Who uses which instance, to be shown; nothing is decided by it."""
    with contextlib.suppress(exception.HardwareError):
        return usage.read(node) if node else {}
    return {}


def _exporter(
    settings: conf.Settings, measured: measures.Measures
) -> exporter.Exporter | None:
    listen = settings.metrics_listen
    return exporter.Exporter(listen, measured) if listen else None


class Agent:
    """Keeps one node's part of Placement true until it is stopped.

    :param library: the node's NVML; that of the settings by default.
    """

    def __init__(
        self,
        settings: conf.Settings,
        synchronizer: sync.Synchronizer,
        waker: wake.Waker,
        guard: guards.Guard | None = None,
        gone_gpus: retiring.GoneGpus | None = None,
        measured: measures.Measures | None = None,
        library: nvml.Nvml | None = None,
    ) -> None:
        self._measured = measured or measures.Measures()
        self._exporter = _exporter(settings, self._measured)
        self._settings = settings
        self._guard = guard
        self._gone_gpus = gone_gpus
        self._waker = waker
        self._nvml = library or nvml.Nvml(settings)
        self._cycle = cycle.Cycle(
            settings, self._nvml, synchronizer, keeps_marks=True
        )
        self._keeper = keeper.Keeper(
            settings, self._cycle, self._nvml, self._measured
        )
        watched = (
            settings.layout_file,
            hold.path(settings.state_dir),
            marks.path(settings.run_dir),
            lock.apply_path(settings.run_dir),
        )
        with self._cycle.undisturbed():
            # So that the lock is there, and does not come as a change.
            self._watcher = watch.Watcher(self._nvml, watched, waker.wake)
        self._retry = pace.Retry(settings.interval, self._measured.will_retry)
        self._delay = settings.interval
        self._readiness = readiness.Readiness(settings.boot_fence_timeout)
        self._said = ""
        # Whether Placement knows nothing by the name that was guessed.
        self._nameless = False
        self._left_over: set[str] = set()
        self._status: object = _last_status(settings)
        self._gpus = last.Last(status.gpus)

    def run(self) -> bool:
        """Until a signal; whether it asks for a new start (SIGHUP)."""
        self._readiness.start()
        if self._guard:
            self._guard.start()
        try:
            return self._loop()
        finally:
            self._readiness.stop()
            if self._guard:
                self._guard.stop()
            self._watcher.stop()
            if self._exporter:
                self._exporter.stop()
            with contextlib.suppress(Exception):
                # Who comes after us is not told them again.
                self._cycle.remember(self._watcher.take())
            self.let_go()

    def hear(self, seconds: float) -> None:
        """Wait for NVML's events in this thread, where ``run`` does not."""
        self._watcher.listen(seconds)

    def let_go(self) -> None:
        """Let NVML go; the next tick takes it again."""
        self._nvml.let_go()

    def _loop(self) -> bool:
        while True:
            with self._measured.cycle():
                self.tick()
            # The first has opened NVML, which it waits on.
            self._watcher.ensure()
            if self._exporter:
                # After the first tick: the gate goes first.
                self._exporter.ensure()
            received = self._sleep(self._delay)
            if received & _STOP:
                self._say_goodbye()
                return False
            if signal.SIGHUP in received or self._is_renamed():
                return True

    def _is_renamed(self) -> bool:
        """Whether the resolver says another name than at the start, when
        it may not have answered; Placement may know the node by that."""
        before = self._settings.root_name
        name = conf.guessed_root_name() if self._nameless else before
        if name == before:
            return False
        LOG.warning(
            "the host's name is %s now and was %s, which Placement does not"
            " know: the agent starts anew, VMs are not touched; set [agent]"
            " hypervisor_hostname",
            name,
            before,
        )
        return True

    def tick(self) -> None:
        """Look once and tell Placement; never raises."""
        try:
            report = self._passed()
        except Exception as error:
            # Whatever it is, the next tick may do better; without a loop
            # nobody closes the gate.
            report = self._unexpected(error)
        self._delay = self._retry.delay()
        self._show(report)

    def _show(self, report: status.Report) -> None:
        """In the log, the status and the metrics; never raises."""
        try:
            self._announce(report)
            self._keep(report)
        except Exception as error:
            # What cannot be drawn must not end what is kept true.
            LOG.error(
                "unexpected error (%r): 'mig-placement status' and the metrics"
                " show an older cycle, the gate and VMs are not touched;"
                " report it with the traceback",
                error,
                exc_info=error,
            )

    def _unexpected(self, error: Exception) -> status.Report:
        text = f"unexpected error ({error!r})"
        if text not in self._said:
            LOG.error(
                "unexpected error (%r): the gate is closed where Placement"
                " answers, running VMs keep their slices, and the agent tries"
                " again; report it with the traceback",
                error,
                exc_info=error,
            )
        self._retry.failed()
        seen = picture.closed(verdicts.Reason.STARTING, "see the trouble")
        with contextlib.suppress(Exception):
            # Nothing is known of the node: that is a doubt.
            self._cycle.tell(seen)
        with contextlib.suppress(Exception):
            self._follow(seen, told=False)
        return self._report(seen, text, "the node")

    def _follow(self, seen: desired.Picture, *, told: bool) -> None:
        """Let the host gate follow; it does not hold this thread up."""
        if self._guard:
            report = self._report(seen)
            reasons = "; ".join(map(str, report.reasons()))
            self._guard.follow(any(report.open_gpus()), reasons, told=told)

    def _passed(self) -> status.Report:
        with contextlib.ExitStack() as undisturbed:
            undisturbed.enter_context(self._cycle.undisturbed())
            seen = self._cycle.look(self._watcher.take())
            try:
                # Closing is urgent, and does not wait for what comes of it.
                expected = self._keeper.expects(seen)
                report = self._tell(
                    restore.restoring(seen) if expected else seen
                )
                undisturbed.close()
                if self._is_kept(seen, report, expected=expected):
                    undisturbed.enter_context(self._cycle.undisturbed())
                    seen = self._cycle.look(self._watcher.take())
                    report = self._tell(seen)
            except exception.MigPlacementError as error:
                self._retry.failed(pace.patience(seen, error))
                return self._report(seen, str(error), _party(error))
        self._pass_on(report)
        return dataclasses.replace(report, restore=self._keeper.lines)

    def _pass_on(self, report: status.Report) -> None:
        """What follows from a pass that nothing stood in the way of."""
        self._nameless = report.root_missing and self._settings.root_guessed
        if not self._nameless or "." in self._settings.root_name:
            self._readiness.send()
        if self._gone_gpus and report.told:
            self._gone_gpus.follow(self._cycle.tree, report.picture.node)
        if not report.root_missing:
            # Not before: who is told, and fails at what comes after it,
            # fails again and again.
            self._retry.succeeded()

    def _is_kept(
        self, seen: desired.Picture, report: status.Report, *, expected: bool
    ) -> bool:
        """Bring the layout back where that is due; whether to look again."""
        if expected:
            # It may take minutes, and who asks meanwhile is to know.
            self._show(dataclasses.replace(report, restoring=True))
        with self._readiness.paused():
            touched = self._keeper.keep(seen)
        return touched or expected

    def _tell(self, seen: desired.Picture) -> status.Report:
        """Tell Placement; with what the allocations say against it.

        :raises PlacementError: it was not told.
        """
        told = False
        try:
            outcome = self._cycle.tell(seen)
            seen = desired.weighed(outcome.tree, seen, self._cycle.rules)
            told = True
        except exception.RootNotFound as error:
            # Nothing is offered on a node that Placement does not know.
            self._retry.failed(_ROOT_RETRY)
            report = self._report(seen, str(error), _party(error))
            return dataclasses.replace(report, root_missing=True)
        finally:
            self._follow(seen, told=told)
            if seen.is_held:
                # Not before: to close does not wait for who waits on NVML.
                # So that GPUs can be reset and SR-IOV set up meanwhile.
                self.let_go()
        return self._report(seen)

    def _report(
        self, seen: desired.Picture, trouble: str = "", failed: str = ""
    ) -> status.Report:
        return status.Report(
            seen,
            self._cycle.rules.scope,
            told=not trouble,
            trouble=trouble,
            failed=failed,
            restore=self._keeper.lines,
            compute_service=self._guard.line if self._guard else "",
        )

    def _announce(self, report: status.Report) -> None:
        left_over = report.picture.left_over
        for line in set(left_over) - self._left_over:
            LOG.warning("Nova's, and nothing to do: %s", line)
        self._left_over = set(left_over)
        line = report.line()
        if line == self._said:
            return
        self._said = line
        _log_gate(report)
        systemd.notify(f"STATUS={line}")

    def _keep(self, report: status.Report) -> None:
        seen = report.picture
        gpus = self._gpus(seen, report.scope, _uses(seen.node))
        report = dataclasses.replace(report, coming=self._coming(report))
        described = status.describe(report, self._settings, self._status, gpus)
        self._status = self._measured.status = described
        try:
            files.write_json(
                status.path(self._settings.run_dir),
                self._status,
                durable=False,
            )
        except exception.ConfigError as error:
            LOG.error(
                "'mig-placement status' shows an older cycle, the gate and VMs"
                " are not touched: %s",
                error,
            )

    def _coming(self, report: status.Report) -> str:
        if report.restoring:
            return "wait: the layout is being brought back"
        return forecast.sentence(
            report.picture, self._keeper.outlook, report.failed, self._delay
        )

    def _sleep(self, seconds: float) -> frozenset[int]:
        """Sleep, telling systemd's watchdog that the loop is alive."""
        period = systemd.watchdog_period()
        until = time.monotonic() + seconds
        while True:
            systemd.notify("WATCHDOG=1")
            left = until - time.monotonic()
            nap = min(left, period / 3) if period else left
            received = self._waker.sleep(nap)
            if received or time.monotonic() >= until:
                return received

    def _say_goodbye(self) -> None:
        systemd.notify("STOPPING=1")
        if not systemd.host_is_stopping():
            # A restart or an upgrade: what is true of the node stays true.
            LOG.info("stopped; the gate and VMs stay as they are")
            return
        seen = picture.closed(
            verdicts.Reason.SHUTDOWN, "the host is shutting down"
        )
        try:
            self._cycle.tell(seen)
        except Exception as error:
            # Whatever it is, the host gate is to follow.
            LOG.error(
                "the host shuts down, and the gate could not be closed:"
                " Placement goes on offering its slices until the agent"
                " starts again; %s",
                error,
            )
        else:
            LOG.info("stopped; the gate is closed, the host shuts down")
        self._follow(seen, told=True)
        if self._guard:
            self._guard.stop(_GOODBYE)
