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

"""mig-placement-agent, from before its imports on: they take a while."""

import signal


def main(argv: list[str] | None = None) -> int:
    # The default would end the agent; who asks for a report while it starts
    # gets none, and may ask again.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    from mig_placement.cmd import agent

    return agent.main(argv)
