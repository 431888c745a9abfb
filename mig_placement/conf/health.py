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
"""[health]: what makes a GPU or an instance unfit."""

from oslo_config import cfg
from oslo_config import types

GROUP = "health"
OPTS = [
    cfg.ListOpt(
        "ignored_xids",
        item_type=types.Integer(min=0),
        default=[13, 31, 43, 45, 68, 109],
        help="XIDs that applications cause; any other closes what it names.",
    ),
]
