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
"""Whether a terminal is to be given colour, and how it is."""

import collections.abc
import os
import shutil
from typing import TextIO

from mig_placement.cmd import drawing

_RESET = "\x1b[0m"
# SGR: bold red, red, yellow, cyan, green. No meaning hangs on them alone.
_SGR = {
    drawing.Mark.SICK: "\x1b[1;31m",
    drawing.Mark.MISSING: "\x1b[31m",
    drawing.Mark.EXTRA: "\x1b[33m",
    drawing.Mark.AMISS: "\x1b[33m",
    drawing.Mark.MOVES: "\x1b[33m",
    drawing.Mark.HELD: "\x1b[36m",
    drawing.Mark.IN_USE: "\x1b[32m",
}


def is_wanted(
    stream: TextIO, environ: collections.abc.Mapping[str, str] = os.environ
) -> bool:
    """Colour is for terminals that have it (https://no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return False
    return stream.isatty()


def columns(stream: TextIO) -> int | None:
    """The terminal's; None where there is none."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def text(
    lines: collections.abc.Iterable[drawing.Line], *, coloured: bool
) -> str:
    """The lines as one text, each with its end."""
    return "".join(
        "".join(_painted(span, coloured) for span in line) + "\n"
        for line in lines
    )


def _painted(span: drawing.Span, coloured: bool) -> str:
    if span.mark is None or not coloured:
        return span.text
    return f"{_SGR[span.mark]}{span.text}{_RESET}"
