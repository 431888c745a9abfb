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

from keystoneauth1 import loading
from oslo_config import cfg

from mig_placement import exception
from mig_placement import transport
from mig_placement.conf import credentials
from mig_placement.conf import placement as options
from mig_placement.placement import client


def connect(
    conf: cfg.ConfigOpts, observe: client.Observe = client.unobserved
) -> client.Client:
    """A client with the credentials in [placement]; sends nothing yet.

    keystoneauth's adapter, and not openstacksdk's proxy around it: of the
    SDK nothing else would be used, its import delays the gate at boot by
    0.2 s, and making a proxy asks the service for its versions, when an
    agent must start while Placement is down.

    :param observe: is told how long each request took.
    :raises ConfigError: the credentials are not complete.
    """
    options.register(conf)
    try:
        return client.Client(_adapter(conf), observe)
    except (cfg.Error, ValueError, OSError) as error:
        raise exception.ConfigError(
            str(error), where="[placement]", mend="correct the option"
        ) from error


def _adapter(conf: cfg.ConfigOpts) -> client.Adapter:
    with client.translated():
        auth = loading.load_auth_from_conf_options(conf, options.GROUP)
        session = loading.load_session_from_conf_options(
            conf, options.GROUP, auth=auth
        )
        credentials.refuse_passwords_in_urls(conf, options.GROUP)
        credentials.require_password(conf, options.GROUP)
        transport.guard(session)
        adapter: client.Adapter = loading.load_adapter_from_conf_options(
            conf, options.GROUP, session=session, auth=auth
        )
        return adapter
