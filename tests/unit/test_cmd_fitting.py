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
"""Tables on terminals of every width."""

import pytest

from mig_placement.cmd import fitting

NAMES = ("Node", "Class", "Total", "Why")
ROWS: list[tuple[object, ...]] = [
    ("gpu-node-1.example.org", "CUSTOM_MIG_1G_5GB", 7, ""),
    ("gpu-node-2", "CUSTOM_MIG_3G_20GB", 12, "INSTANCE_MISSING: 1 of 1 gone"),
]
# As wide as the widest cells are, and with each word whole.
FULL, WORDS = 87, 75


def _width(rows: list[tuple[object, ...]]) -> int:
    """Of the table that cliff makes of it."""
    columns = zip(NAMES, *rows, strict=True)
    widest = [
        max(len(line) for cell in column for line in f"{cell}".split("\n"))
        for column in columns
    ]
    return sum(widest) + 3 * len(widest) + 1


def _joined(cell: object) -> str:
    return "".join(f"{cell}".split())


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert fitting.fitted(NAMES, ROWS, FULL) == ROWS
    assert _width(ROWS) == FULL


@pytest.mark.parametrize("columns", range(56, FULL + 8))
def test_a_table_fits_and_loses_nothing(columns: int) -> None:
    rows = fitting.fitted(NAMES, ROWS, columns)
    assert _width(rows) <= columns
    for row, before in zip(rows, ROWS, strict=True):
        assert [*map(_joined, row)] == [*map(_joined, before)]


@pytest.mark.parametrize("columns", [WORDS, WORDS + 1, FULL - 1])
def test_no_word_is_cut_where_there_is_room_for_words(columns: int) -> None:
    rows = fitting.fitted(NAMES, ROWS, columns)
    assert [row[:3] for row in rows] == [row[:3] for row in ROWS]
    assert rows[1][3] != ROWS[1][3]


@pytest.mark.parametrize("columns", [10, 56, 70, WORDS - 1])
def test_a_name_is_cut_only_behind_a_sign(columns: int) -> None:
    rows = fitting.fitted(NAMES, ROWS, columns)
    lines = [
        line for row in rows for cell in row[:2] for line in str(cell).split()
    ]
    ends = [line for line in lines if line[-1] in "-._"]
    assert ends
    whole = {"1", "org", "2", "5GB", "20GB", "1G_5GB", "3G_20GB"}
    names = {str(row[i]) for row in ROWS for i in (0, 1)}
    for line in lines:
        at_an_end = any(name.endswith(line) for name in names)
        assert line in ends or line in whole or at_an_end, line


def test_lines_that_a_cell_has_stay_apart() -> None:
    assert fitting.fitted(("A",), [("one two\nthree",)], 9) == [
        ("one\ntwo\nthree",)
    ]


def test_numbers_stay_numbers() -> None:
    rows = fitting.fitted(NAMES, ROWS, 60)
    assert [row[2] for row in rows] == [7, 12]
