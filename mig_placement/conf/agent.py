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
"""[agent]: who this node is and where the agent keeps its files."""

from oslo_config import cfg

GROUP = "agent"
OPTS = [
    cfg.StrOpt(
        "host",
        sample_default="<host name>",
        help="The compute service's host, as nova.conf's [DEFAULT] host."
        " The layout file's mig-nodes are matched against it."
        " Default: the host's name.",
    ),
    cfg.StrOpt(
        "hypervisor_hostname",
        sample_default="<FQDN>",
        help="Name of the compute root provider in Placement, as"
        " 'openstack hypervisor list' shows it. Default: the host's FQDN.",
    ),
    cfg.FloatOpt(
        "interval",
        default=60,
        min=0.1,
        max=3600,
        help="Seconds between two cycles when nothing happens. NVML events,"
        " a changed layout file and signals start a cycle at once. The first"
        " ones come sooner, after a quarter of it at the least: agents that"
        " started together do not stay together.",
    ),
    cfg.StrOpt(
        "run_dir",
        default="/run/mig-placement",
        help="Directory of the status file and the lock; must not outlive"
        " a reboot, and only the agent's user may write to it.",
    ),
    cfg.StrOpt(
        "state_dir",
        default="/var/lib/mig-placement",
        help="Directory of what must outlive a reboot: an operator's hold,"
        " and since when GPUs are gone.",
    ),
    cfg.FloatOpt(
        "retire_after",
        default=0,
        min=0,
        help="Seconds after which the provider of a GPU that was taken out of"
        " the node is retired; one with allocations never is. 0: such a"
        " provider stays, closed, until 'mig-placement retire'.",
    ),
    cfg.FloatOpt(
        "nova_refresh",
        default=300,
        min=0,
        help="nova.conf's [compute] resource_provider_association_refresh on"
        " this host, in seconds. A provider that is retired is deleted only"
        " when Nova's cache no longer has it; with 0 Nova never reads it"
        " again, and the deletion waits for a reboot of the host.",
    ),
]
