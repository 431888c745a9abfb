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
"""The commands of ``openstack mig``: those of ours that only read a cloud.

With the user's own credentials, from clouds.yaml for instance, in place of
those in our configuration.
"""

import argparse
import collections.abc
import contextlib
import os
from typing import Any

from osc_lib.command import command
from oslo_config import cfg

from mig_placement import exception
from mig_placement import transport
from mig_placement.cmd import config_options
from mig_placement.cmd import flavors
from mig_placement.cmd import fleet
from mig_placement.nova import cloud as clouds
from mig_placement.placement import client as clients


class _Mixin:
    app: Any

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        session = self.app.client_manager.sdk_connection.session
        with _as_user(), _guarded(session):
            return super().take_action(parsed_args)  # type: ignore[misc]


class Fleet(_Mixin, fleet.Fleet, command.Lister):
    __doc__ = fleet.Fleet.__doc__

    def placement(self) -> clients.Client:
        found: clients.Client = self.app.client_manager.mig
        return found


class Flavors(_Mixin, flavors.Flavors, command.Lister):
    """Print the commands that make a flavor for each of some profiles.

    With --check look for flavors of the cloud that would go past the gate,
    or that no node can serve. Nothing is written in any case.

    Exit status 3: --check found something.
    """

    def add_actions(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="look for flavors of the cloud that ask for slices wrongly",
        )
        config_options.add(
            parser,
            "configuration {} of mig-placement, for the layout and the"
            " classes; default: none is read",
        )
        parser.set_defaults(create=False)

    def config_arguments(self, parsed_args: argparse.Namespace) -> list[str]:
        # Without one oslo.config would look for a node's.
        none = f"--config-file={os.devnull}"
        return config_options.given(parsed_args) or [none]

    def cloud(self, options: cfg.ConfigOpts) -> clouds.Cloud:
        return clouds.Cloud(options, self.app.client_manager.sdk_connection)


@contextlib.contextmanager
def _guarded(session: Any) -> collections.abc.Iterator[None]:
    """Only for our commands: an image that is saved has no such limit."""
    transport.guard(session)
    try:
        yield
    finally:
        transport.unguard(session)


@contextlib.contextmanager
def _as_user() -> collections.abc.Iterator[None]:
    """A mend that fits who has no [placement] section."""
    try:
        yield
    except exception.PlacementForbidden as error:
        raise exception.PlacementForbidden(
            error.what,
            where=error.where,
            mend="use an administrator's credentials, or those of a user"
            " with the service role",
        ) from error
