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
"""A GPU's memory slices as lines of text; pure."""

import collections.abc
import dataclasses
import enum

# Columns of a slice, its right border included.
_WIDTH = 8
# A mark, a character of the profile, and the border.
_LEAST = 4
_LABEL = 9
_INDENT = 2
# No GPU has more; a status file that says so is not ours.
_MOST_SLICES = 64


class Mark(enum.Enum):
    """What is to be said of an instance: the character, and what it means.

    In the order of their urgency: the first gives the colour.
    """

    SICK = "!", "an XID made it unfit"
    MISSING = "?", "declared, does not exist"
    EXTRA = "+", "exists, is not declared"
    AMISS = "~", "has other compute instances than declared"
    MOVES = ">", "has to move to make room"
    HELD = "@", "held by a VM"
    IN_USE = "*", "in use by a process"

    @property
    def sign(self) -> str:
        return self.value[0]

    @property
    def meaning(self) -> str:
        return self.value[1]


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line, in the colour of its mark."""

    text: str
    mark: Mark | None = None


Line = tuple[Span, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """An instance: ``size`` memory slices from ``start``."""

    name: str
    start: int
    size: int
    marks: frozenset[Mark] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """What is drawn of a GPU.

    :ivar title: its head line.
    :ivar slices: memory slices; 0 where not known.
    """

    title: str
    slices: int
    declared: tuple[Cell, ...] = ()
    observed: tuple[Cell, ...] = ()
    reasons: tuple[str, ...] = ()


def slices(
    count: int, instances: collections.abc.Iterable[tuple[str, int, int]]
) -> str:
    """Draw instances over ``count`` memory slices.

    :param instances: (name, start, size), in memory slices.
    """
    cells = [Cell(*each) for each in instances]
    return "".join(span.text for span in row(count, cells, _WIDTH))


def gpus(
    shown: collections.abc.Collection[Gpu], columns: int | None = None
) -> list[Line]:
    """All GPUs, and a legend of the marks that occur.

    :param columns: of the terminal; None is as wide as it takes.
    """
    lines = [line for each in shown for line in (*gpu(each, columns), ())]
    found = {
        mark
        for each in shown
        for cell in (*each.declared, *each.observed)
        for mark in cell.marks
    }
    legend = [
        (Span(mark.sign, mark), Span(f" {mark.meaning}"))
        for mark in Mark
        if mark in found
    ]
    return [*lines, *legend]


def gpu(one: Gpu, columns: int | None = None) -> list[Line]:
    """A GPU: declared above observed, and why it is closed."""
    width = _fitting(one.slices, columns)
    rows = (("declared", one.declared), ("observed", one.observed))
    body = [
        line
        for label, cells in rows
        if cells or one.declared or one.observed
        for line in (
            [_labelled(label, row(one.slices, cells, width))]
            if _is_drawn(one.slices, cells, width)
            else _listed(label, cells)
        )
    ]
    reasons = [(Span(f"{' ' * _INDENT}{plain(r)}"),) for r in one.reasons]
    return [(Span(plain(one.title)),), *body, *reasons]


def _fitting(count: int, columns: int | None) -> int:
    """Columns of a slice, so that the drawing fits."""
    if columns is None or not count:
        return _WIDTH
    room = columns - _INDENT - _LABEL - 1
    return min(_WIDTH, room // count)


def _is_drawn(
    count: int, cells: collections.abc.Collection[Cell], width: int
) -> bool:
    """Whether the slices can be drawn with a name in each that tells it."""
    if not count or width < _LEAST or not _apart(count, cells):
        return False
    return width == _WIDTH or all(
        len(_signs(cell) + cell.name) < cell.size * width for cell in cells
    )


def _apart(count: int, cells: collections.abc.Iterable[Cell]) -> bool:
    """Whether the instances lie beside each other, within the GPU."""
    at = 0
    for cell in sorted(cells, key=lambda each: each.start):
        if cell.start < at or cell.size < 1:
            return False
        at = cell.start + cell.size
    return at <= count <= _MOST_SLICES


def _labelled(label: str, line: Line) -> Line:
    return (Span(f"{' ' * _INDENT}{label:{_LABEL}}"), *line)


def _listed(label: str, cells: collections.abc.Collection[Cell]) -> list[Line]:
    """One instance a line, where slices cannot be drawn."""
    if not cells:
        return [_labelled(label, (Span("nothing"),))]
    return [
        _labelled(
            label,
            (
                Span(
                    f"{_signs(cell)}{_ascii(cell.name)}"
                    f" at {cell.start}:{cell.size}",
                    _first(cell),
                ),
            ),
        )
        for cell in sorted(cells, key=lambda each: each.start)
    ]


def row(count: int, cells: collections.abc.Iterable[Cell], width: int) -> Line:
    """Instances over ``count`` memory slices of ``width`` columns each."""
    if not count:
        return ()
    spans = [Span("|")]
    at = 0
    for cell in sorted(cells, key=lambda each: each.start):
        spans += _free(cell.start - at, width)
        spans += [_cell(cell, cell.size * width - 1), Span("|")]
        at = cell.start + cell.size
    return (*spans, *_free(count - at, width))


def _cell(cell: Cell, width: int) -> Span:
    text = f"{_signs(cell)}{_ascii(cell.name)}"[:width]
    return Span(f"{text:-^{width}}", _first(cell))


def _free(count: int, width: int) -> list[Span]:
    return [Span(f"{'.':^{width - 1}}|" * count)] if count > 0 else []


def _signs(cell: Cell) -> str:
    return "".join(mark.sign for mark in Mark if mark in cell.marks)


def _first(cell: Cell) -> Mark | None:
    return next((mark for mark in Mark if mark in cell.marks), None)


def plain(text: str) -> str:
    """The text with nothing in it that a terminal obeys."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _ascii(text: str) -> str:
    """One column a character, whatever it is."""
    return plain(text.encode("ascii", "replace").decode())
