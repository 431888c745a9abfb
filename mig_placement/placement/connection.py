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
"""A connection to Placement with the credentials in [placement]."""

from typing import Any
from typing import cast

from keystoneauth1 import loading
from keystoneauth1 import session as ks_session
from openstack import connection
from openstack import exceptions
from oslo_config import cfg

from mig_placement import exception
from mig_placement.conf import placement as options
from mig_placement.placement import client


def connect(conf: cfg.ConfigOpts) -> client.Client:
    """A client with the credentials in [placement]; sends nothing yet.

    :raises ConfigError: the credentials are not complete.
    """
    options.register(conf)
    with client.translated():
        auth = loading.load_auth_from_conf_options(conf, options.GROUP)
        session = loading.load_session_from_conf_options(
            conf, options.GROUP, auth=auth
        )
    return client.Client(_Late(session, conf))


class _Late:
    """The SDK's proxy, made at the first request.

    Making it asks the service for its versions, and an agent must start
    while Placement is down.
    """

    def __init__(
        self, session: ks_session.Session, conf: cfg.ConfigOpts
    ) -> None:
        self._session = session
        self._conf = conf
        self._proxy: client.Adapter | None = None

    def request(self, url: str, method: str, **kwargs: Any) -> client.Response:
        if self._proxy is None:
            self._proxy = self._made()
        return self._proxy.request(url, method, **kwargs)

    def _made(self) -> client.Adapter:
        try:
            sdk = connection.Connection(
                session=self._session,
                oslo_conf=self._conf,
                service_types=["placement"],
                app_name="mig-placement",
            )
            return cast(client.Adapter, sdk.placement)
        except exceptions.SDKException as error:
            raise exception.PlacementUnreachable(
                f"no usable answer ({error})",
                where="Placement or Keystone",
                mend="see whether both answer from this host",
            ) from error
