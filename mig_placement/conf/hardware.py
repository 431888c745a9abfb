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
"""[hardware]: where NVML and sysfs are."""

from oslo_config import cfg

GROUP = "hardware"
OPTS = [
    cfg.StrOpt(
        "nvml_library",
        default="",
        help="Path of the NVML library. Default: libnvidia-ml.so.1, as the"
        " dynamic linker finds it.",
    ),
    cfg.StrOpt(
        "simulate",
        default="",
        help="State file of a simulated node ('mig-placement simulate"
        " create'), used instead of real GPUs. For tests and for learning.",
    ),
    cfg.StrOpt(
        "sysfs_root",
        default="/sys",
        help="Where sysfs is mounted; read where [nova] attach is not none."
        " A simulated node has one of its own.",
    ),
]
