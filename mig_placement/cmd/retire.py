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
"""retire: a host leaves service, and with it what Placement has of it."""

import argparse
import collections.abc
import functools
import time

from oslo_config import cfg

from mig_placement import conf
from mig_placement import cycle
from mig_placement import exception
from mig_placement import picture
from mig_placement import retiring
from mig_placement.cmd import lister
from mig_placement.geometry import verdict as verdicts
from mig_placement.placement import desired
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import retire
from mig_placement.service import lock
from mig_placement.service import retired
from mig_placement.service import way as ways

_STATES: dict[type[retire.Left], str] = {
    retire.Keep: "kept",
    retire.Wait: "waits",
    retire.Back: "put back",
}
_Left = dict[str, retire.Left | None]


class Retire(lister.Lister):
    """Take a host's GPUs out of Placement for good.

    The gate is closed, every provider emptied and taken from under the
    compute root, and deleted when Nova has forgotten it. Nothing but the
    gate is touched while VMs have allocations. May be run again at any
    time. Exit status 0: nothing is left; 3: VMs have allocations, or a
    provider waits.
    """

    if_empty = "Placement has no GPU provider of that host"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--host",
            metavar="NAME",
            help="the compute root's name that this host had before it was"
            " renamed, or that of a host that is no more; default: [agent]"
            " hypervisor_hostname",
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--wait",
            action="store_true",
            help="wait until Nova has forgotten the providers, and delete"
            " them",
        )
        how.add_argument(
            "--nova-stopped",
            action="store_true",
            help="nova-compute of the host does not run, and so has nothing"
            " cached: delete them at once",
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[str, str, str]]]:
        options = conf.parse(self.app.config_arguments())
        settings = conf.settings(options)
        _check(settings, parsed_args)
        host = parsed_args.host or settings.root_name
        with _lock(settings, host):
            left = _Leaving(
                options, settings, host, stopped=parsed_args.nova_stopped
            ).leave(wait=parsed_args.wait)
        if any(left.values()):
            self.exit_status = exception.EXIT_MISMATCH
        return ("Provider", "State", "Left to do"), [
            (name, _state(step), str(step or ""))
            for name, step in left.items()
        ]


def _check(settings: conf.Settings, parsed_args: argparse.Namespace) -> None:
    if parsed_args.wait and not settings.nova_refresh:
        raise exception.ConfigError(
            "Nova never forgets a provider, and --wait would never end",
            where="[agent] nova_refresh = 0",
            mend="stop nova-compute and give --nova-stopped in its place",
        )


def _lock(settings: conf.Settings, host: str) -> lock.Lock:
    if host == settings.root_name:
        return lock.retire(settings.run_dir)
    return lock.retire_other(settings.run_dir)


def _state(step: retire.Left | None) -> str:
    return "deleted" if step is None else _STATES[type(step)]


class _Leaving:
    """One host on its way out of Placement."""

    def __init__(
        self,
        options: cfg.ConfigOpts,
        settings: conf.Settings,
        host: str,
        *,
        stopped: bool,
    ) -> None:
        # Imported here: keystoneauth takes long, and errors come first.
        from mig_placement.placement import connection

        self._settings = settings
        self._host = host
        self._rules = cycle.rules(settings)
        self._synchronizer = cycle.synchronizer(
            options, host, ways.way(settings).attach
        )
        own = host == settings.root_name
        self._retirer = retiring.Retirer(
            connection.connect(options),
            retired.path(settings.state_dir, "" if own else host),
            0.0 if stopped else retire.wait(settings.nova_refresh),
            reboot_counts=own,
        )

    def leave(self, *, wait: bool) -> _Left:
        """What is left to do, by the provider's name.

        :raises InUse: VMs have allocations; the gate is closed.
        """
        tree = self._close()
        found = self._retirer.of_host(self._host)
        self._refuse_in_use(tree, found)
        left = self._round(found)
        while wait and (seconds := _shortest(left)) is not None:
            time.sleep(seconds)
            waiting = [
                each.provider
                for each in left.values()
                if isinstance(each, retire.Wait)
            ]
            left |= self._round(waiting, orphan=True)
        return left

    def _close(self) -> model.Tree | None:
        """Close the gate; None where Placement knows no such root."""
        seen = picture.closed(
            verdicts.Reason.RETIRED, "the host leaves service"
        )
        decide = functools.partial(
            desired.desired, picture=seen, rules=self._rules
        )
        try:
            self._synchronizer.sync(decide)
            return self._synchronizer.reread()
        except exception.RootNotFound:
            return None

    def _refuse_in_use(
        self,
        tree: model.Tree | None,
        found: collections.abc.Iterable[model.Provider],
    ) -> None:
        ours = [self._retirer.read(each.uuid) for each in found]
        providers = [each for each in ours if each]
        providers += map(self._of_ours, tree.nova if tree else ())
        in_use = [each for each in providers if retire.held(each)]
        if not in_use:
            return
        for each in in_use:
            if names.is_gpu_provider(each.name, self._host):
                # Where there is no root, nothing else has closed it.
                self._retirer.close(each.uuid)
        raise exception.InUse(
            "; ".join(f"VMs hold {retire.held(p)} on {p.name}" for p in in_use)
            + "; the gate is closed, and nothing else was changed",
            where=self._host,
            mend="move or delete those VMs, and run it again",
        )

    def _of_ours(self, provider: model.Provider) -> model.Provider:
        """Nova's provider, with what VMs hold of our slices alone."""
        used = {
            name: units
            for name, units in provider.used.items()
            if names.is_own_class(name, self._rules.classes)
        }
        return model.Provider(provider.uuid, provider.name, 0, used=used)

    def _round(
        self,
        providers: collections.abc.Iterable[model.Provider],
        *,
        orphan: bool = False,
    ) -> _Left:
        return {
            each.name: self._retirer.advance(each.uuid, orphan=orphan)
            for each in providers
        }


def _shortest(left: _Left) -> float | None:
    waits = [s.seconds for s in left.values() if isinstance(s, retire.Wait)]
    return min(waits, default=None)
