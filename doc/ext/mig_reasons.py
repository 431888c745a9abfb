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
"""``mig-reasons`` and ``mig-errors``: what may be read, from the code."""

import inspect

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from mig_placement import exception
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


def error_lines() -> list[str]:
    """The errors as a table: name, exit status and what happened."""
    base = exception.MigPlacementError
    found = [
        each
        for _, each in inspect.getmembers(exception, inspect.isclass)
        if issubclass(each, base) and each is not base
    ]
    head = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 30 10 60",
        "",
        "   * - name",
        "     - exit status",
        "     - what happened",
    ]
    found.sort(key=lambda each: (each.exit_status, each.__name__))
    return head + [line for each in found for line in _error(each)]


def _error(error: type[exception.MigPlacementError]) -> list[str]:
    return [
        f"   * - ``{error.__name__}``",
        f"     - {error.exit_status}",
        f"     - {' '.join((error.__doc__ or '').split())}",
    ]


class Generated(Directive):
    """Puts what the code says where it stands."""

    def lines(self) -> list[str]:
        """What to put there, as reStructuredText."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        parent = nodes.container()
        text = StringList(self.lines(), source=__file__)
        self.state.nested_parse(text, self.content_offset, parent)
        return parent.children


class Reasons(Generated):
    """Every reason of a closed gate."""

    def lines(self) -> list[str]:
        return lines()


class Errors(Generated):
    """Every error that a command may end with."""

    def lines(self) -> list[str]:
        return error_lines()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("mig-reasons", Reasons)
    app.add_directive("mig-errors", Errors)
    return {"parallel_read_safe": True}
