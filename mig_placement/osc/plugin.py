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
"""What python-openstackclient asks of a plugin.

Every ``openstack`` command imports this, whatever it does: little is
imported here.
"""

import argparse
from typing import Any
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mig_placement.placement import client

API_NAME = "mig"
API_VERSION_OPTION = "os_mig_api_version"
DEFAULT_API_VERSION = "1"
API_VERSIONS = ("1",)


def make_client(instance: Any) -> "client.Client":
    """Placement, with the credentials that the user gave the client.

    :param instance: the client's ClientManager.
    """
    from mig_placement.placement import client

    return client.Client(instance.sdk_connection.placement)


def build_option_parser(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """No options: the commands have one version."""
    return parser
