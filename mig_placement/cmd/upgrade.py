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
"""mig-placement-status: whether this node is ready for (another) release.

Exit status, as of every OpenStack service's: 0 all is well; 1 a warning; 2
a failure; 255 unexpected.
"""

import collections.abc
import functools
import pathlib
import sys

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from mig_placement import conf as configuration
from mig_placement import cycle
from mig_placement import exception
from mig_placement.cmd import base
from mig_placement.conf import sources
from mig_placement.geometry import layout
from mig_placement.geometry import layout_file
from mig_placement.hardware import model
from mig_placement.nova import check as nova_check
from mig_placement.nova import config_files
from mig_placement.nova import difference
from mig_placement.nova import needed
from mig_placement.placement import client as clients
from mig_placement.placement import connection
from mig_placement.placement import names
from mig_placement.placement import plan
from mig_placement.placement import refusals
from mig_placement.service import directories
from mig_placement.service import way as ways

_PROG = "mig-placement-status"
_NOVA_CONF = "/etc/nova/nova.conf"
_OPTION = cfg.MultiStrOpt(
    "nova-conf",
    metavar="FILE",
    default=[],
    help="a configuration file or directory of this host's nova-compute, in"
    " the order that Nova is given them; may be given more than once."
    f" Default: {_NOVA_CONF}, if it is there",
)

Result = upgradecheck.Result
_Check = collections.abc.Callable[["Checks"], Result]


def _success(details: str = "") -> Result:
    return Result(upgradecheck.Code.SUCCESS, _shown(details) or None)


def _warning(details: str) -> Result:
    return Result(upgradecheck.Code.WARNING, _shown(details))


def _failure(details: str) -> Result:
    return Result(upgradecheck.Code.FAILURE, _shown(details))


def _shown(details: str) -> str:
    """Files and NVML may bring what a terminal takes for a command."""
    return exception.one_line(details)


class Checks(upgradecheck.UpgradeCommands):
    """What ``mig-placement-status upgrade check`` looks at, read once."""

    def __init__(self, options: cfg.ConfigOpts) -> None:
        self.options = options
        self._upgrade_checks = _CHECKS

    @functools.cached_property
    def settings(self) -> configuration.Settings:
        """:raises ConfigError: an option cannot be used."""
        return configuration.settings(self.options)

    @property
    def files(self) -> list[pathlib.Path]:
        """The configuration files that were read."""
        return configuration.read_from(self.options)

    @functools.cached_property
    def client(self) -> clients.Client:
        """:raises ConfigError: the credentials are not complete."""
        return connection.connect(self.options)

    @functools.cached_property
    def node(self) -> model.Node:
        """:raises HardwareError: NVML gives no usable answer."""
        return base.observe(self.settings)

    @functools.cached_property
    def wanted(self) -> layout.NodeLayout:
        """:raises LayoutError: it cannot be read, or the node cannot have it.
        :raises HardwareError: NVML gives no usable answer.
        """
        settings = self.settings
        # Before the node: what is wrong in itself is told in any case.
        declared = layout_file.load(settings.layout_file)
        return layout.resolve(
            declared, settings.host, settings.label, self.node
        )

    @property
    def nova_files(self) -> list[str]:
        """What is known of Nova's configuration; empty where nothing."""
        named: list[str] = self.options.nova_conf
        path = pathlib.Path(_NOVA_CONF)
        there = [_NOVA_CONF] if sources.may_be_there(path) else []
        return named or there


def _failing(check: _Check) -> _Check:
    """An error of ours is a failure: its line says the mend."""

    @functools.wraps(check)
    def failing(checks: Checks) -> Result:
        try:
            return check(checks)
        except exception.MigPlacementError as error:
            return _failure(str(error))

    return failing


@_failing
def _configuration(checks: Checks) -> Result:
    """Besides the options: who else may write or read what counts."""
    settings = checks.settings
    cycle.rules(settings)
    trusted = directories.trusted(checks.files)
    directories.check(settings.run_dir, "run_dir", trusted)
    directories.check(settings.state_dir, "state_dir", trusted)
    misspelt = configuration.misspelt(checks.options)
    if misspelt:
        return _warning("; ".join(misspelt))
    told = ", ".join(map(str, sources.told_to_all(checks.files)))
    if told:
        return _warning(
            f"{told}: every user of the host may read the password; chmod 0640"
            " it"
        )
    return _success()


@_failing
def _version(checks: Checks) -> Result:
    return judged_version(checks.client.max_version())


def judged_version(found: tuple[int, int]) -> Result:
    """Whether a Placement is new enough for us; pure."""
    major, minor = map(int, refusals.SERVICE.microversion.split("."))
    if found >= (major, minor):
        return _success()
    return _failure(
        f"Placement speaks microversions up to {found[0]}.{found[1]}, and"
        f" {refusals.SERVICE.microversion} is needed; upgrade Placement first"
    )


@_failing
def _credentials(checks: Checks) -> Result:
    """The trait is one that every agent makes: making it says whether
    writing is allowed, and changes nothing."""
    checks.client.known_traits({names.NODE_READY})
    try:
        checks.client.do(plan.CreateTrait(names.NODE_READY))
    except exception.PlacementForbidden as error:
        return _failure(f"reading is allowed, and writing is not: {error}")
    return _success("reading and writing are allowed")


@_failing
def _hardware(checks: Checks) -> Result:
    return judged_hardware(checks.node)


def judged_hardware(node: model.Node) -> Result:
    """Whether there is something to look after; pure."""
    faulty = [f"{gpu}: {gpu.fault}" for gpu in node.gpus if gpu.fault]
    if faulty:
        return _warning(f"{'; '.join(faulty)}; reset or replace it")
    if not any(gpu.mig_capable for gpu in node.gpus):
        return _warning(
            "no GPU of this node can do MIG; the agent has nothing to report"
            " here"
        )
    return _success()


@_failing
def _layout(checks: Checks) -> Result:
    try:
        return _success(f"this node is to have {checks.wanted.label}")
    except exception.HardwareError as error:
        return _warning(f"whether this node can have it is not known: {error}")


@_failing
def _nova(checks: Checks) -> Result:
    files = checks.nova_files
    if not files:
        return _warning(
            f"there is no {_NOVA_CONF}; name nova-compute's files with"
            " --nova-conf"
        )
    try:
        found = config_files.read(files)
    except exception.ConfigError as error:
        if checks.options.nova_conf:
            raise
        # It is seldom for the agent's user to read.
        return _warning(f"which classes Nova has is not known: {error}")
    settings = checks.settings
    try:
        rules = needed.Rules(ways.way(settings), settings.classes)
        config = needed.needed(checks.node, checks.wanted, rules)
    except (exception.HardwareError, exception.LayoutError) as error:
        return _warning(f"which classes the node has is not known: {error}")
    parts = frozenset({needed.Part.COMPUTE})
    return judged_nova(nova_check.check(config, found, parts), files)


def judged_nova(
    differences: collections.abc.Sequence[difference.Difference],
    files: collections.abc.Sequence[str],
) -> Result:
    """Whether Nova and we keep out of each other's classes; pure."""
    mend = f"see 'mig-placement nova-config --check {' '.join(files)}'"
    shared = [each for each in differences if each.why == difference.SHARED]
    if shared:
        named = ", ".join(
            f"[{each.section}] {each.option} = {each.have}" for each in shared
        )
        return _failure(f"{named}: {difference.SHARED}; {mend}")
    if differences:
        return _warning(
            f"{len(differences)} options are not as the layout needs them;"
            f" {mend}"
        )
    return _success()


_CHECKS: tuple[tuple[str, _Check], ...] = (
    ("Configuration", _configuration),
    ("Placement API version", _version),
    ("Placement credentials and role", _credentials),
    ("Hardware access", _hardware),
    ("Layout", _layout),
    ("Resource classes in nova.conf", _nova),
)


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    options = cfg.ConfigOpts()
    options.register_cli_opt(_OPTION)
    upgradecheck.register_cli_options(options, Checks(options))
    try:
        configuration.parse(arguments, conf=options)
    except exception.ConfigError as error:
        print(f"{_PROG}: {error}", file=sys.stderr)
        return error.exit_status
    # upgradecheck.main would read the files as they come, and quote them.
    upgradecheck.CONF = options
    return int(upgradecheck.run(options))


if __name__ == "__main__":
    sys.exit(main())
