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

from typing import cast

from keystoneauth1 import loading
from openstack import connection
from oslo_config import cfg

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
        sdk = connection.Connection(
            session=session,
            oslo_conf=conf,
            service_types=["placement"],
            app_name="mig-placement",
        )
        return client.Client(cast(client.Adapter, sdk.placement))
