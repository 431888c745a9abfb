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
"""The directive ``mig-log-lines``: what the log may say, from the code."""

import ast
import collections
import pathlib

from mig_reasons import Generated
from sphinx.application import Sphinx

import mig_placement
from mig_placement import log_lines

_PACKAGE = pathlib.Path(mig_placement.__file__).parent
_MADE = "LOG = logging.getLogger(__name__)"
# By the method that is called. Debug lines are for who reads the code.
_LEVELS = {
    "exception": "ERROR",
    "error": "ERROR",
    "warning": "WARNING",
    "info": "INFO",
}
_ORDER = ("ERROR", "WARNING", "INFO")


class _Calls(ast.NodeVisitor):
    """Collects the calls of ``LOG``, and raises ValueError at any use of a
    logger of which it cannot tell what it says."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def visit_Assign(self, node: ast.Assign) -> None:
        if ast.unparse(node) != _MADE:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Attribute(ast.Name("LOG"), "debug")):
                pass
            case ast.Call(
                func=ast.Attribute(ast.Name("LOG"), method),
                args=[ast.Constant(text), *_],
            ) if method in _LEVELS:
                self.found.append((text, _LEVELS[method]))
            case _:
                self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._refuse(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._refuse(node, node.attr)
        self.generic_visit(node)

    def _refuse(self, node: ast.Name | ast.Attribute, name: str) -> None:
        if name in ("LOG", "getLogger"):
            raise ValueError(
                f"line {node.lineno}: a text that is no literal, a level that"
                " is none of LOG's methods, or a logger that is not LOG"
            )


def of_source(source: str) -> list[tuple[str, str]]:
    """Text and level of each call in a module.

    :raises ValueError: of one it cannot be told.
    """
    calls = _Calls()
    calls.visit(ast.parse(source))
    return calls.found


def logged() -> dict[str, set[str]]:
    """The levels of each text that the package may log.

    :raises ValueError: as ``of_source``.
    """
    levels: dict[str, set[str]] = collections.defaultdict(set)
    for path in _PACKAGE.rglob("*.py"):
        for text, level in of_source(path.read_text()):
            levels[text].add(level)
    return levels


def lines() -> list[str]:
    """The table as reStructuredText, the gravest first."""
    head = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 10 40 25 25",
        "",
        "   * - level",
        "     - line",
        "     - for VMs",
        "     - what to do",
    ]
    rows = sorted(
        (_ORDER.index(level), text)
        for text, levels in logged().items()
        for level in levels
    )
    return head + [
        line for order, text in rows for line in _row(_ORDER[order], text)
    ]


def _row(level: str, text: str) -> list[str]:
    meaning = log_lines.MEANINGS[text]
    return [
        f"   * - {level}",
        f"     - ``{text}``",
        f"     - {meaning.vms}",
        f"     - {meaning.mend}",
    ]


class LogLines(Generated):
    """Every line that the log may have."""

    def lines(self) -> list[str]:
        return lines()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("mig-log-lines", LogLines)
    return {"parallel_read_safe": True}
