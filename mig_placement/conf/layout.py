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
"""[layout]: what the operator declared."""

from oslo_config import cfg

GROUP = "layout"
OPTS = [
    cfg.StrOpt(
        "file",
        default="/etc/mig-placement/layout.yaml",
        help="The layout file, in mig-parted's format or our extension.",
    ),
    cfg.StrOpt(
        "config",
        default="",
        help="Label under mig-configs that this node is to have, where the"
        " file's mig-nodes does not say it.",
    ),
]
