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
"""Which label a host has."""

import pytest

from mig_placement import exception
from mig_placement.geometry import label
from mig_placement.geometry import layout_file

_ENTRY = "[{devices: all, mig-enabled: false}]"


def _file(labels: str, nodes: str = "{}") -> layout_file.LayoutFile:
    configs = ", ".join(f"{name}: {_ENTRY}" for name in labels.split())
    text = f"version: v1\nmig-configs: {{{configs}}}\nmig-nodes: {nodes}"
    return layout_file.parse(text.encode(), "l.yaml")


_FLEET = _file(
    "small large other",
    "{'gpu-1*': small, 'gpu-*': large, GPU-17: other, '[ab]?.example': other}",
)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("gpu-2", "large"),
        ("gpu-12", "small"),
        ("gpu-17", "other"),
        ("GPU-12", "small"),
        ("b1.example", "other"),
    ],
)
def test_the_exact_name_beats_globs_and_the_first_glob_the_others(
    host: str, expected: str
) -> None:
    assert label.select(_FLEET, host, "large").name == expected


def test_the_configuration_counts_where_the_file_is_silent() -> None:
    assert label.select(_FLEET, "cpu-1", "other").name == "other"


def test_a_glob_fits_the_whole_name_only() -> None:
    assert label.select(_FLEET, "x-gpu-1", "other").name == "other"


def test_the_only_label_needs_no_choice() -> None:
    assert label.select(_file("one"), "h", "").name == "one"


def test_no_choice_between_several_is_an_error_that_lists_them() -> None:
    with pytest.raises(
        exception.LayoutError,
        match=r"l\.yaml: no label for host cpu-1; .* small, large, other$",
    ):
        label.select(_FLEET, "cpu-1", "")


def test_an_unknown_label_is_an_error_that_suggests_one() -> None:
    with pytest.raises(
        exception.LayoutError,
        match=r"no label 'smal'; the file has small, .*did you mean small\?",
    ):
        label.select(_FLEET, "cpu-1", "smal")


def test_an_unknown_label_is_an_error_even_if_there_is_only_one() -> None:
    with pytest.raises(exception.LayoutError, match="no label 'two'"):
        label.select(_file("one"), "h", "two")


def test_a_long_list_of_labels_is_cut() -> None:
    many = _file(" ".join(f"l{at}" for at in range(40)))
    with pytest.raises(exception.LayoutError, match="l11 and 28 more"):
        label.select(many, "h", "")
