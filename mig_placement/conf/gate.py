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
"""[gate]: how scheduling is blocked."""

from oslo_config import cfg

GROUP = "gate"
OPTS = [
    cfg.StrOpt(
        "scope",
        default="node",
        choices=[
            ("node", "One GPU that is not as declared closes all GPUs."),
            (
                "gpu",
                "It closes itself alone. While the layout is brought back,"
                " all declared GPUs are closed nevertheless.",
            ),
        ],
        help="How far a mismatch reaches.",
    ),
    cfg.BoolOpt(
        "compute_service",
        default=False,
        help="Whether nova-compute's service is disabled while the gate of"
        " the whole node is closed, and enabled after; needs an"
        " administrator's credentials in [nova]. It stops plain VMs too, and"
        " flavors without the gate's keys.",
    ),
    cfg.FloatOpt(
        "boot_fence_timeout",
        default=60,
        min=0,
        max=3600,
        help="Seconds by which a Placement that does not answer may delay"
        " the agent's readiness, and so nova-compute, at boot.",
    ),
]
