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

"""flavors: print, make or check the flavors that ask for slices."""

import argparse
import collections.abc
from typing import Any
from typing import TYPE_CHECKING

from oslo_config import cfg

from mig_placement import conf
from mig_placement import exception
from mig_placement.cmd import check
from mig_placement.cmd import hypothetical
from mig_placement.cmd import lister
from mig_placement.geometry import layout
from mig_placement.nova import flavor_check
from mig_placement.nova import flavors
from mig_placement.placement import offers
from mig_placement.placement import plan

if TYPE_CHECKING:
    from mig_placement.nova import cloud

_PRINTED = ("Command",)
_CHANGED = ("Flavor", "Done", "Remarks")
_CHECKED = ("Flavor", "Problem", "Mend")

_Rows = list[tuple[str, ...]]
_Table = tuple[tuple[str, ...], _Rows]


class Flavors(lister.Lister):
    """Print the commands that make a flavor for each of the layout's profiles.

    With --create make them, with --check look for flavors of the cloud
    that would go past the gate, or that no node can serve.

    Exit status 3: --check found something, or --create found a flavor
    that differs in what it does not change.
    """

    if_empty = "no flavor has anything wrong"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        self.add_actions(parser)
        _add_attach(parser)
        _add_profiles(parser)
        _add_size(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> _Table:
        options = conf.parse(self.config_arguments(parsed_args))
        settings = conf.settings(options)
        attach = parsed_args.attach or settings.attach
        self._prints = not (parsed_args.check or parsed_args.create)
        if parsed_args.check:
            return self._checked(options, attach, settings.classes)
        wanted = flavors.flavors(
            parsed_args.profile or _profiles(settings, parsed_args, attach),
            attach,
            settings.classes,
            _size(parsed_args),
            parsed_args.prefix,
        )
        if parsed_args.create:
            return self._created(options, attach, wanted)
        return _PRINTED, [(e,) for e in flavors.commands(wanted, attach)]

    def add_actions(self, parser: argparse.ArgumentParser) -> None:
        """The options that say what to do instead of printing."""
        actions = parser.add_mutually_exclusive_group()
        actions.add_argument(
            "--create",
            action="store_true",
            help="make the flavors, or give those that exist their keys; with"
            " the credentials in [nova], or those of clouds.yaml",
        )
        actions.add_argument(
            "--check",
            action="store_true",
            help="look for flavors of the cloud that ask for slices wrongly",
        )

    def config_arguments(self, parsed_args: argparse.Namespace) -> list[str]:
        """What oslo.config is to parse."""
        found: list[str] = self.app.config_arguments()
        return found

    def cloud(self, options: cfg.ConfigOpts) -> "cloud.Cloud":
        """:raises ConfigError: there are no credentials."""
        # The SDK takes 0.4 s to import, and printing does not need it.
        from mig_placement.nova import cloud

        return cloud.Cloud(options)

    def produce_output(
        self,
        parsed_args: argparse.Namespace,
        column_names: collections.abc.Sequence[str],
        data: collections.abc.Iterable[collections.abc.Sequence[Any]],
    ) -> int:
        """Commands come as lines for a shell, unless otherwise asked for."""
        if self._prints and parsed_args.formatter == "table":
            for (line,) in data:
                self.app.stdout.write(f"{line}\n")
            return exception.EXIT_OK
        status: int = super().produce_output(parsed_args, column_names, data)
        return status

    def _created(
        self,
        options: cfg.ConfigOpts,
        attach: str,
        wanted: tuple[flavors.Flavor, ...],
    ) -> _Table:
        made = self.cloud(options)
        placement = made.placement()
        for trait in flavors.traits(attach):
            placement.do(plan.CreateTrait(trait))
        found = {each.name: each for each in made.list_flavors()}
        changes = [flavors.change(e, found.get(e.name)) for e in wanted]
        for change in changes:
            made.apply(change)
        if any(change.remarks for change in changes):
            self.exit_status = exception.EXIT_MISMATCH
        return _CHANGED, [_changed(change) for change in changes]

    def _checked(
        self,
        options: cfg.ConfigOpts,
        attach: str,
        classes: collections.abc.Mapping[str, str],
    ) -> _Table:
        seen = self.cloud(options)
        found = seen.list_flavors()
        asked = [flavor_check.asked(e.extra_specs, classes) for e in found]
        placement = seen.placement()
        known = flavor_check.Known(
            attach,
            classes,
            offers.offered(placement, _all(e.classes for e in asked)),
            placement.known_traits(_all(e.traits for e in asked)),
        )
        findings = [
            finding
            for each in found
            for finding in flavor_check.check(
                each.name, each.extra_specs, known
            )
        ]
        if findings:
            self.exit_status = exception.EXIT_MISMATCH
        return _CHECKED, [(f.flavor, f.problem, f.mend) for f in findings]


def _all(
    sets: collections.abc.Iterable[frozenset[str]],
) -> frozenset[str]:
    return frozenset().union(*sets)


def _changed(change: flavors.Change) -> tuple[str, ...]:
    keys = ", ".join(sorted(change.extra_specs))
    done = "created" if change.create else f"set {keys}" if keys else "nothing"
    return change.flavor.name, done, "; ".join(change.remarks)


def _profiles(
    settings: conf.Settings, parsed_args: argparse.Namespace, attach: str
) -> set[str]:
    """:raises MigPlacementError: there is no layout, or no GPU to see."""
    _, wanted = check.resolve(settings, parsed_args)
    return {
        profile
        for gpu in wanted.gpus.values()
        for instance in gpu.instances
        for profile in _units(instance, attach)
    }


def _units(instance: layout.DeclaredInstance, attach: str) -> tuple[str, ...]:
    """A vGPU has a GPU instance; without one, compute instances count."""
    if attach != "none" or instance.compute_instances is None:
        return (instance.profile,)
    return instance.compute_instances


def _size(parsed_args: argparse.Namespace) -> flavors.Size:
    return flavors.Size(
        parsed_args.vcpus,
        parsed_args.ram,
        parsed_args.disk,
        not parsed_args.private,
    )


def _add_attach(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attach",
        choices=("none", "mdev", "vfio"),
        help="how VMs get their slices; default: [nova] attach",
    )


def _add_profiles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        action="append",
        metavar="NAME",
        help="a profile, for example 1g.5gb; may be given more than once;"
        " default: those of the layout",
    )
    parser.add_argument("--label", help="label under mig-configs")
    parser.set_defaults(file=None)
    hypothetical.add_model(parser)


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vcpus", type=_count, default=4)
    parser.add_argument(
        "--ram", type=_count, default=8192, help="MiB; default: 8192"
    )
    parser.add_argument(
        "--disk", type=_amount, default=20, help="GB; default: 20"
    )
    parser.add_argument(
        "--prefix",
        default="mig.",
        help="of the flavors' names; default: mig., as in mig.1g.5gb",
    )
    parser.add_argument(
        "--private", action="store_true", help="only for whom access is given"
    )


def _count(text: str) -> int:
    number = _amount(text)
    if number < 1:
        raise argparse.ArgumentTypeError("is to be 1 or more")
    return number


def _amount(text: str) -> int:
    # As much as Nova's database takes.
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError("is to be 0 to 999999999")
    return int(text)
