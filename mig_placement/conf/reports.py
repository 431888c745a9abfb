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
"""[oslo_reports]: where a report on SIGUSR2 goes; oslo.reports' own name."""

from oslo_config import cfg

GROUP = "oslo_reports"
OPTS = [
    cfg.StrOpt(
        "log_dir",
        help="Directory in which SIGUSR2 makes a file with a report of what"
        " the agent sees and does. Default: standard error, so the journal."
        " Needs the package oslo.reports.",
    ),
]
