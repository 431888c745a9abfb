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
"""The directive ``mig-commands``: each command of the tool, from its parser.

The tool keeps its commands in the code and not in entry points, where cliff's
own directive would look for them.
"""

from cliff import command
from cliff import sphinxext
from sphinx.application import Sphinx

from mig_placement.cmd import tool


class Commands(sphinxext.AutoprogramCliffDirective):
    """cliff's ``autoprogram-cliff`` for the tool's own command manager."""

    def _load_commands(self) -> dict[str, type[command.Command]]:
        manager = tool.Tool().command_manager
        return {
            name: manager.find_command(name.split())[0]
            for name in manager.commands
            if name not in ("help", "complete")
        }


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("mig-commands", Commands)
    return {"parallel_read_safe": True}
