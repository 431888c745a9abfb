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
"""keystoneauth's session and adapter, with the credentials of a section.

keystoneauth's adapter, and not openstacksdk's proxy around it: of the SDK
nothing else would be used, its import delays the gate at boot by 0.2 s, and
making a proxy asks the service for its versions, when an agent must start
while Placement is down.
"""

import collections.abc
import contextlib
import importlib.metadata
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1 import loading
from oslo_config import cfg
from stevedore import extension

from mig_placement import remote
from mig_placement import transport
from mig_placement.conf import credentials

_PLUGINS = "keystoneauth1.plugin"
# Of keystoneauth's own plugins those that services have.
_COMMON = frozenset(
    {"admin_token", "password", "v3applicationcredential", "v3password"}
)


def session(conf: cfg.ConfigOpts, service: remote.Service) -> Any:
    """keystoneauth's session; sends nothing yet.

    :raises ConfigError: the credentials are not complete.
    """
    group = service.group
    with service.options_checked():
        section = credentials.plugin_group(conf, group)
        with _known_plugins(conf[section].auth_type):
            auth = loading.load_auth_from_conf_options(conf, group)
        made = loading.load_session_from_conf_options(conf, group, auth=auth)
        credentials.refuse_passwords_in_urls(conf, group)
        credentials.require_password(conf, group)
        transport.guard(made)
        return made


@contextlib.contextmanager
def _known_plugins(name: str | None) -> collections.abc.Iterator[None]:
    """Spare a common plugin the search for it in the metadata of every
    distribution, for which the gate would wait at boot (0.1 s)."""
    known = extension.ExtensionManager.ENTRY_POINT_CACHE
    if name not in _COMMON or _PLUGINS in known:
        yield
        return
    own = importlib.metadata.distribution("keystoneauth1").entry_points
    known[_PLUGINS] = list(own.select(group=_PLUGINS))
    try:
        yield
    finally:
        # Others are to find all that there are.
        del known[_PLUGINS]


def adapter(conf: cfg.ConfigOpts, service: remote.Service) -> Any:
    """keystoneauth's adapter to the service; sends nothing yet.

    :raises ConfigError: the credentials are not complete.
    """
    made = session(conf, service)
    with service.options_checked():
        return _Renewing(
            loading.load_adapter_from_conf_options(
                conf, service.group, session=made
            )
        )


class _Renewing:
    """An adapter that asks for a new catalog where the service is in none.

    keystoneauth keeps one for as long as its token lasts, hours perhaps,
    and an operator adds the endpoint meanwhile.
    """

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def request(self, url: str, method: str, **kwargs: Any) -> Any:
        try:
            return self._adapter.request(url, method, **kwargs)
        except (exceptions.EndpointNotFound, exceptions.EmptyCatalog):
            self._adapter.invalidate()
            raise
