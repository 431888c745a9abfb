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
"""A GPU's slices as lines, with and without colour."""

import io

import pytest

from mig_placement.cmd import colour
from mig_placement.cmd import drawing

Cell = drawing.Cell
Mark = drawing.Mark


def _cell(name: str, start: int, size: int, *marks: Mark) -> Cell:
    return Cell(name, start, size, frozenset(marks))


def _gpu(*observed: Cell, declared: tuple[Cell, ...] = ()) -> drawing.Gpu:
    return drawing.Gpu("GPU 0: open", 4, declared, observed)


def _text(*gpus: drawing.Gpu, columns: int | None = None) -> list[str]:
    lines = drawing.gpus(gpus, columns)
    return colour.text(lines, coloured=False).splitlines()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_declared_stands_above_observed() -> None:
    gpu = _gpu(
        _cell("1g.5gb", 1, 1, Mark.EXTRA),
        declared=(_cell("2g.10gb", 2, 2, Mark.MISSING),),
    )
    assert _text(gpu) == [
        "GPU 0: open",
        "  declared |   .   |   .   |---?2g.10gb----|",
        "  observed |   .   |+1g.5gb|   .   |   .   |",
        "",
        "? declared, does not exist",
        "+ exists, is not declared",
    ]


def test_each_mark_has_a_sign_and_a_colour_of_its_own() -> None:
    signs = [mark.sign for mark in Mark]
    assert len(set(signs)) == len(signs)
    for mark in Mark:
        line = (drawing.Span("x", mark),)
        assert colour.text([line], coloured=True).startswith("\x1b[")


def test_an_instance_shows_all_its_marks() -> None:
    shown = _text(_gpu(_cell("2g.10gb", 0, 2, Mark.SICK, Mark.HELD)))
    assert "!@2g.10gb" in shown[2]


def test_the_legend_has_only_what_occurs() -> None:
    shown = "\n".join(_text(_gpu(_cell("1g.5gb", 0, 1, Mark.IN_USE))))
    assert [m for m in Mark if m.meaning in shown] == [Mark.IN_USE]


@pytest.mark.parametrize("columns", range(28, 60))
def test_the_slices_fit_the_terminal(columns: int) -> None:
    shown = _text(_gpu(_cell("1g.5gb", 0, 2)), columns=columns)
    assert shown[2].startswith("  observed |")
    assert len(shown[2]) <= columns


def test_no_name_is_cut_on_a_narrow_terminal() -> None:
    shown = _text(_gpu(_cell("1g.5gb", 2, 1, Mark.MISSING)), columns=42)
    assert "  observed ?1g.5gb at 2:1" in shown


def test_a_terminal_too_narrow_gets_a_list() -> None:
    shown = _text(_gpu(_cell("1g.5gb", 2, 1, Mark.SICK)), columns=20)
    assert "  declared nothing" in shown
    assert "  observed !1g.5gb at 2:1" in shown


@pytest.mark.parametrize(
    "cells",
    [
        (_cell("a", 0, 2), _cell("b", 1, 1)),
        (_cell("a", 3, 2),),
        (_cell("a", 0, 0),),
        (_cell("a", 0, 10**12),),
        (_cell("a", -1, 1),),
    ],
    ids=str,
)
def test_what_cannot_lie_on_a_gpu_is_listed(cells: tuple[Cell, ...]) -> None:
    shown = _text(_gpu(*cells))
    assert sum(" at " in line for line in shown) == len(cells)


def test_a_gpu_with_absurdly_many_slices_is_listed() -> None:
    gpu = drawing.Gpu("GPU", 10**12, (), (_cell("1g.5gb", 0, 1),))
    assert "  observed 1g.5gb at 0:1" in _text(gpu)


def test_names_do_not_command_the_terminal_nor_shift_the_slices() -> None:
    evil = drawing.Gpu(
        "\x1b[2J\u202e",
        2,
        (),
        (_cell("\x9b\u6f22\n", 0, 1),),
        ("X: \x1b]0;a\x07",),
    )
    shown = _text(evil)
    assert shown[0] == "?[2J?"
    assert shown[2] == "  observed |--???--|   .   |"
    assert "\x1b" not in "".join(shown)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_colour_is_for_terminals_that_want_it(
    environ: dict[str, str], wanted: bool
) -> None:
    assert colour.is_wanted(_Terminal(), environ) is wanted
    assert not colour.is_wanted(io.StringIO(), environ)
