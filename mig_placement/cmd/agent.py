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
"""mig-placement-agent, the service."""

import logging
import os
import pathlib
import sys

from oslo_config import cfg
from oslo_log import log

from mig_placement import agent
from mig_placement import conf
from mig_placement import cycle
from mig_placement import exception
from mig_placement import picture
from mig_placement import retiring
from mig_placement import version
from mig_placement.conf import nova as nova_options
from mig_placement.conf import placement as placement_options
from mig_placement.conf import sources
from mig_placement.geometry import functions
from mig_placement.geometry import verdict as verdicts
from mig_placement.nova import compute_service
from mig_placement.nova import connection as nova_connection
from mig_placement.nova import guard
from mig_placement.placement import connection
from mig_placement.placement import desired
from mig_placement.placement import retire
from mig_placement.service import directories
from mig_placement.service import exporter
from mig_placement.service import files
from mig_placement.service import lock
from mig_placement.service import measures
from mig_placement.service import meditation
from mig_placement.service import retired
from mig_placement.service import wake
from mig_placement.service import way as ways

LOG = logging.getLogger(__name__)

_PROG = "mig-placement-agent"
# For whoever starts it without the unit: the log file is not for all eyes.
_UMASK = 0o027


def _parsed(arguments: list[str]) -> cfg.ConfigOpts:
    options = cfg.ConfigOpts()
    log.register_options(options)
    return conf.parse(arguments, prog=_PROG, conf=options)


def _set_up_log(options: cfg.ConfigOpts) -> None:
    """:raises ConfigError: a logging option cannot be used."""
    try:
        log.setup(options, "mig_placement")
    except (log.LogConfigError, cfg.Error, OSError, ValueError) as error:
        raise exception.ConfigError(
            f"logging cannot be set up ({error})",
            where="configuration",
            mend="correct the option, or let the agent's user write the file",
        ) from error


def _built(
    options: cfg.ConfigOpts, waker: wake.Waker, measured: measures.Measures
) -> agent.Agent:
    """:raises ConfigError: something configured cannot be used."""
    settings = conf.settings(options)
    _check_directories(options, settings)
    _check_packages(settings)
    way = ways.way(settings)
    synchronizer = cycle.synchronizer(
        options, settings.root_name, way.attach, measured.request
    )
    return agent.Agent(
        settings,
        synchronizer,
        waker,
        _guard(options, settings, waker),
        _gone_gpus(options, settings),
        measured,
    )


def _check_packages(settings: conf.Settings) -> None:
    """:raises ConfigError: what an option needs is not installed."""
    if settings.metrics_listen:
        exporter.check_package()


def _check_directories(
    options: cfg.ConfigOpts, settings: conf.Settings
) -> None:
    """:raises ConfigError: others may put files there, or we may not."""
    try:
        files.make_directory(settings.run_dir)
    except OSError as error:
        raise exception.ConfigError(
            f"cannot be made ({error.strerror})",
            where=f"[agent] run_dir: {settings.run_dir}",
            mend="let this user write there, or set [agent] run_dir",
        ) from error
    trusted = directories.trusted(conf.read_from(options))
    directories.check(settings.run_dir, "run_dir", trusted)
    directories.check(settings.state_dir, "state_dir", trusted)
    lock.check(settings.run_dir)


def _warn(options: cfg.ConfigOpts) -> None:
    """Say what is allowed, and dangerous."""
    for path in sources.told_to_all(conf.read_from(options)):
        LOG.warning(
            "%s has a password that every user of the host may read, and"
            " change Placement with; chmod 0640 it",
            path,
        )
    for group in (placement_options.GROUP, nova_options.GROUP):
        if "insecure" in options[group] and options[group].insecure:
            LOG.warning(
                "[%s] insecure: whoever answers is believed, and gets the"
                " password; set cafile in its place",
                group,
            )


def _gone_gpus(
    options: cfg.ConfigOpts, settings: conf.Settings
) -> retiring.GoneGpus | None:
    """:raises ConfigError: the credentials are not complete."""
    if not settings.retire_after:
        return None
    retirer = retiring.Retirer(
        connection.connect(options),
        retired.path(settings.state_dir),
        retire.wait(settings.nova_refresh),
        reboot_counts=True,
    )
    return retiring.GoneGpus(retirer, settings.retire_after)


def _guard(
    options: cfg.ConfigOpts, settings: conf.Settings, waker: wake.Waker
) -> guard.Guard | None:
    """:raises ConfigError: the credentials in [nova] are not complete."""
    if not settings.compute_service:
        return None
    gate = compute_service.HostGate(
        nova_connection.adapter(options), settings.host
    )
    return guard.Guard(gate, settings.interval, waker.wake)


def _close(options: cfg.ConfigOpts, error: exception.ConfigError) -> None:
    """Close the gate of a node whose configuration is of no use.

    With what of it is good; Placement may still hold what was true before
    a reboot.
    """
    seen = picture.closed(verdicts.Reason.CONFIG_INVALID, str(error))
    try:
        way = functions.Way(_attach(options))
        synchronizer = cycle.synchronizer(
            options, conf.root_name(options), way.attach
        )
        rules = desired.Rules(way=way)
        synchronizer.sync(lambda tree: desired.desired(tree, seen, rules))
    except Exception as trouble:
        # Whatever it is: the configuration's error is what is to be told.
        LOG.error(
            "the configuration cannot be used, and the gate could not be"
            " closed: Placement goes on offering what it was told last; %s",
            trouble,
        )


def _another_runs(options: cfg.ConfigOpts) -> bool:
    """Whether the gate is in another agent's care."""
    try:
        return lock.agent_runs(pathlib.Path(options.agent.run_dir))
    except (cfg.Error, ValueError):
        return False


def _attach(options: cfg.ConfigOpts) -> functions.Attach:
    try:
        return functions.Attach(options.nova.attach)
    except (cfg.Error, ValueError):
        return functions.Attach.NONE


def _serve(arguments: list[str]) -> None:
    options = _parsed(arguments)
    waker = wake.Waker()
    with waker.listening():
        try:
            _set_up_log(options)
            settings = conf.settings(options)
            cycle.rules(settings)
            _check_directories(options, settings)
            _check_packages(settings)
            _guard(options, settings, waker)
        except exception.ConfigError as error:
            if not _another_runs(options):
                _close(options, error)
            raise
        with lock.agent(settings.run_dir):
            LOG.info(
                "mig-placement-agent %s starts on %s",
                version.version(),
                settings.root_name,
            )
            _run(arguments, options, waker)


def _run(
    arguments: list[str], options: cfg.ConfigOpts, waker: wake.Waker
) -> None:
    measured = measures.Measures()
    running = _built(options, waker, measured)
    _warn(options)
    reporter = meditation.Reporter(options, measured)
    with reporter.listening():
        while running.run():
            options, running = _renewed(arguments, options, waker, measured)
            reporter.options = options


def _renewed(
    arguments: list[str],
    options: cfg.ConfigOpts,
    waker: wake.Waker,
    measured: measures.Measures,
) -> tuple[cfg.ConfigOpts, agent.Agent]:
    """The configuration read again, or as it was where it is of no use."""
    try:
        fresh = _parsed(arguments)
        running = _built(fresh, waker, measured)
        log.setup(fresh, "mig_placement")
    except Exception as error:
        # A typo must not take the agent away from a running node.
        LOG.error(
            "the configuration stays as it was, and so do the gate and VMs:"
            " what was read anew cannot be used; %s",
            error,
        )
        return options, _built(options, waker, measured)
    LOG.info("configuration read again")
    return fresh, running


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    os.umask(_UMASK)
    try:
        _serve(arguments)
    except exception.MigPlacementError as error:
        print(f"{_PROG}: {error}", file=sys.stderr)
        return error.exit_status
    return exception.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
