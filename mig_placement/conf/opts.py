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
"""All options, for oslo-config-generator."""

from oslo_config import cfg

from mig_placement import conf
from mig_placement.conf import nova_auth
from mig_placement.conf import placement


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    groups = [(module.GROUP, list(module.OPTS)) for module in conf.GROUPS]
    return [
        *groups,
        (placement.GROUP, placement.options()),
        (nova_auth.GROUP, nova_auth.options()),
    ]
