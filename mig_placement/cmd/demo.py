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
"""demo: the whole story on a simulated node and a real Placement."""

import argparse

from cliff import command

from mig_placement.cmd import base


class Demo(base.Mixin, command.Command):
    """Tell the whole story on a simulated node and a real Placement.

    It starts both on this host, needs no GPU and no OpenStack, and removes
    everything again. Every number that it prints is read from Placement.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        from mig_placement.demo import story

        story.tell()
