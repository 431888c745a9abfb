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
"""What the bench makes of what it measured."""

import json
import pathlib
import time

import pytest

from bench import figure
from bench import gate
from bench import recording
from bench import table
from mig_placement.placement import names

_ROOT = "6f9ad4f3-3b0f-4f83-9d84-4c1a0d1f6f0e"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(each) for each in range(100, 0, -1)]
    assert figure.percentile(values, 50) == 50
    assert figure.percentile(values, 99) == 99
    assert figure.percentile(values, 100) == 100
    assert figure.percentile([7.0], 99) == 7.0


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError):
        figure.percentile([], 50)


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [
        (5.0, False, True),
        (5.1, False, False),
        (5.0, True, True),
        (4.9, True, False),
        (None, False, True),
    ],
)
def test_a_goal_is_met_up_to_itself(
    value: float | None, at_least: bool, met: bool
) -> None:
    one = figure.Figure("cycle", value, "ms", 5, at_least=at_least)
    assert one.met == met


def test_a_table_tells_goal_minimum_and_what_was_missed() -> None:
    figures = [
        figure.Figure("cycle", 2, "requests", 1, minimum=1),
        figure.Figure("share", 0.0312, "%", 0.05),
        figure.Figure("Nova", None, "no Nova"),
        figure.Figure("start", 1234.5, "ms"),
    ]
    assert table.text(figures) == (
        "======  ==========  ====  =======  ========\n"
        "figure  measured    goal  minimum  unit\n"
        "======  ==========  ====  =======  ========\n"
        "cycle   2 (missed)  1     1        requests\n"
        "share   0.0312      0.05           %\n"
        "Nova    skipped                    no Nova\n"
        "start   1234                       ms\n"
        "======  ==========  ====  =======  ========"
    )


def test_what_grows_has_a_column_for_each_number_of_gpus() -> None:
    figures = [
        figure.Figure("cycle", 1, "requests", 1, minimum=1, gpus=1),
        figure.Figure("cycle", 0, "writes", 0, minimum=0, gpus=1),
        figure.Figure("first", 9, "requests", minimum=8, gpus=1),
        figure.Figure("cycle", 3, "requests", 1, minimum=1, gpus=8),
        figure.Figure("cycle", 0, "writes", 0, minimum=0, gpus=8),
        figure.Figure("first", 39, "requests", 45, minimum=38, gpus=8),
    ]
    assert table.text(figures) == (
        "===============  =  ==========  =======  =======  ========\n"
        "figure, by GPUs  1  8           goal     minimum  unit\n"
        "===============  =  ==========  =======  =======  ========\n"
        "cycle            1  3 (missed)  1        1        requests\n"
        "cycle            0  0           0        0        writes\n"
        "first            9  39          45 at 8  8 to 38  requests\n"
        "===============  =  ==========  =======  =======  ========"
    )


def test_json_has_all_of_a_figure_and_whether_it_is_met(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "figures.json"
    table.write_json([figure.Figure("x", 2, "ms", 1, minimum=1)], path)
    written = json.loads(path.read_text())
    assert written["machine"] == table.machine()
    (one,) = written["figures"]
    assert (one["name"], one["value"], one["minimum"]) == ("x", 2, 1)
    assert one["met"] is False


def _put(what: str, body: object, status: int = 200) -> recording.Request:
    path = f"/resource_providers/{what}"
    return recording.Request(1.0, "PUT", path, "", status, json.dumps(body))


def test_the_roots_trait_opens_and_closes_a_node() -> None:
    on = _put(f"{_ROOT}/traits", {"traits": [names.NODE_READY, "OTHER"]})
    off = _put(f"{_ROOT}/traits", {"traits": ["OTHER"]})
    assert [gate.opens(_ROOT)(each) for each in (on, off)] == [True, False]
    assert [gate.closes(_ROOT)(each) for each in (on, off)] == [False, True]


def test_a_refused_write_and_a_gpus_traits_do_not_close_a_node() -> None:
    refused = _put(f"{_ROOT}/traits", {"traits": []}, status=409)
    gpus = _put("1/traits", {"traits": []})
    assert not any(map(gate.closes(_ROOT), (refused, gpus)))


@pytest.mark.parametrize(("reserved", "whole"), [(7, True), (6, False)])
def test_a_gpu_is_reserved_when_all_of_it_is(
    reserved: int, whole: bool
) -> None:
    units = {"total": 7, "reserved": reserved}
    written = _put("1/inventories", {"inventories": {"CUSTOM_X": units}})
    assert gate.reserves(written) == whole


def _line(at: float) -> str:
    return json.dumps(
        {
            "at": at,
            "method": "GET",
            "path": "/",
            "query": "",
            "status": 200,
            "body": "",
        }
    )


def test_a_line_that_is_half_written_is_read_when_it_is_whole(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{_line(1.0)}\n{_line(2.0)[:20]}")
    log = recording.RequestLog(path)
    assert [each.at for each in log.all()] == [1.0]
    path.write_text(f"{_line(1.0)}\n{_line(2.0)}\n")
    assert [each.at for each in log.all()] == [1.0, 2.0]
    assert [each.at for each in log.between(1.0, 2.0)] == [1.0]


def test_what_is_waited_for_is_the_first_since_then(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(f"{_line(at)}\n" for at in (1.0, 2.0, 3.0)))
    log = recording.RequestLog(path)
    began = time.monotonic()
    assert log.wait_for(lambda each: each.method == "GET", 1.5).at == 2.0
    assert time.monotonic() - began < 1
