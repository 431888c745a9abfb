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
"""[nova]: how VMs get their slices, and the compute API's credentials.

keystoneauth's options of this group are in nova_auth.
"""

from oslo_config import cfg

GROUP = "nova"
OPTS = [
    cfg.StrOpt(
        "attach",
        default="none",
        choices=[
            (
                "none",
                "Nothing is attached: consumers bind their slice themselves.",
            ),
            (
                "mdev",
                "Nova creates mediated devices (kernels before 6.8); the"
                " agent marks Nova's providers of virtual functions.",
            ),
            (
                "vfio",
                "Nova passes typed virtual functions through (the VFIO"
                " variant driver of kernel 6.8 and later); the agent's own"
                " class is the gate.",
            ),
        ],
        help="How a VM gets its slice.",
    ),
    cfg.DictOpt(
        "vgpu_types",
        default={},
        help="vGPU type by profile, where a profile has several or the first"
        " of one vGPU per GPU instance is not the one that is wanted; for"
        " example 1g.5gb:A100-1-5C.",
    ),
]
