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
"""The directive ``mig-reasons``: every reason of a closed gate, by code."""

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from mig_placement.geometry import reasons
from mig_placement.geometry import verdict
from mig_placement.placement import names


def lines() -> list[str]:
    """The reasons as reStructuredText, a definition for each."""
    return [line for each in verdict.Reason for line in _reason(each)]


def _reason(reason: verdict.Reason) -> list[str]:
    meaning = reasons.MEANINGS[reason]
    return [
        f".. _reason-{reason.lower().replace('_', '-')}:",
        "",
        f"``{reason}``",
        f"  *What is seen:* {meaning.seen} In Placement:",
        f"  ``{names.blocked(reason)}``.",
        "",
        f"  *For VMs:* {meaning.vms}",
        "",
        f"  *What to do:* {meaning.mend}",
        "",
    ]


class Reasons(Directive):
    """Puts them where it stands."""

    def run(self) -> list[nodes.Node]:
        parent = nodes.container()
        text = StringList(lines(), source=reasons.__file__)
        self.state.nested_parse(text, self.content_offset, parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("mig-reasons", Reasons)
    return {"parallel_read_safe": True}
