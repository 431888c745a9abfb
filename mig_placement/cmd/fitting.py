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
"""Tables that fit a terminal without a name being cut at any letter; pure."""

import collections.abc
import re

# Borders and blanks of a column, and the border at the end.
_AROUND = 3
_LAST = 1
# A piece ends behind one of these. What has none is never cut.
_PIECE = re.compile(r"[^\s_:./+;,=-]*[_:./+;,=-]*|\s")
_WORD = re.compile(r"\S+")

_Row = collections.abc.Sequence[object]


def fitted(
    names: collections.abc.Sequence[str],
    rows: collections.abc.Sequence[_Row],
    columns: int,
) -> list[tuple[object, ...]]:
    """The rows, with their texts in so many lines that the table fits.

    Lines end between words where that does, else behind a character such
    as ``_`` or ``:``. What cannot be made to fit is as narrow as that goes.

    :param columns: of the terminal.
    """
    room = columns - _LAST - _AROUND * len(names)
    cells = [[name, *(row[i] for row in rows)] for i, name in enumerate(names)]
    full = [max(_lengths(each)) for each in cells]
    if sum(full) <= room:
        return [tuple(row) for row in rows]
    least = [_least(each, _WORD) for each in cells]
    if sum(least) > room:
        least = [_least(each, _PIECE) for each in cells]
    widths = _shared(least, full, room)
    return [tuple(map(_wrapped, row, widths)) for row in rows]


def _lengths(cells: collections.abc.Iterable[object]) -> list[int]:
    return [len(line) for cell in cells for line in f"{cell}\n".split("\n")]


def _least(cells: list[object], pattern: re.Pattern[str]) -> int:
    """The width that the widest piece needs; a header is not cut."""
    name, *others = cells
    pieces = [
        piece
        for cell in others
        for piece in (
            pattern.findall(cell) if isinstance(cell, str) else [f"{cell}"]
        )
    ]
    return max(_lengths([name, *pieces]))


def _shared(least: list[int], full: list[int], room: int) -> list[int]:
    """Widths between least and full: the narrowest column grows first."""
    widths = list(least)
    for _ in range(room - sum(least)):
        growing = [i for i, wide in enumerate(full) if widths[i] < wide]
        widths[min(growing, key=lambda i: widths[i])] += 1
    return widths


def _wrapped(cell: object, width: int) -> object:
    if not isinstance(cell, str):
        return cell
    return "\n".join(
        each for line in cell.split("\n") for each in _lines(line, width)
    )


def _lines(text: str, width: int) -> list[str]:
    """Words together while they fit; a word that is too long in pieces."""
    lines = [""]
    for word in _WORD.findall(text):
        whole = f"{lines[-1]} {word}" if lines[-1] else word
        if len(whole) <= width:
            lines[-1] = whole
        else:
            lines += _pieces(word, width)
    return lines if lines[0] or len(lines) == 1 else lines[1:]


def _pieces(word: str, width: int) -> list[str]:
    lines = [""]
    for piece in _PIECE.findall(word):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return lines
