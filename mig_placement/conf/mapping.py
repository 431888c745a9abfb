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
"""[mapping]: names in Placement other than the derived ones."""

from oslo_config import cfg

GROUP = "mapping"
OPTS = [
    cfg.DictOpt(
        "resource_classes",
        default={},
        help="Resource class by profile, where it should not be the derived"
        " CUSTOM_MIG_<PROFILE>; for example 1g.5gb:CUSTOM_GPU_SMALL."
        " A GPU with VMs that hold the class from before a change is closed"
        " until they are gone.",
    ),
    cfg.ListOpt(
        "traits",
        default=[],
        help="Traits that every GPU provider gets besides the derived ones.",
    ),
]
