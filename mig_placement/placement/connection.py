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

from oslo_config import cfg

from mig_placement import login
from mig_placement.conf import placement as options
from mig_placement.placement import client
from mig_placement.placement import refusals


def connect(
    conf: cfg.ConfigOpts, observe: client.Observe = client.unobserved
) -> client.Client:
    """A client with the credentials in [placement]; sends nothing yet.

    :param observe: is told how long each request took.
    :raises ConfigError: the credentials are not complete.
    """
    options.register(conf)
    return client.Client(login.adapter(conf, refusals.SERVICE), observe)
