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
"""Since when something is gone, over restarts and clocks that jump."""

import pathlib

import pytest

from mig_placement.service import retired

_NOW = retired.Moment("boot-2", 1000.0)


def test_records_outlive_a_restart(tmp_path: pathlib.Path) -> None:
    where = retired.path(tmp_path)
    assert retired.read(where) is None
    records = retired.Records(
        {"a": 5.0}, {"b": retired.Moment("boot", 7.5), "c": None}
    )
    retired.write(where, records)
    assert retired.read(where) == records


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"gone": 1, "orphans": {}}',
        "\x00",
        "7",
        '{"gone": {"a": "x"}, "orphans": {}}',
        '{"gone": {}, "orphans": {"a": {"boot": "b"}}}',
        '{"gone": {}, "orphans": {"a": 7}}',
    ],
)
def test_records_of_no_use_are_none(
    text: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    retired.path(tmp_path).write_text(text)
    assert retired.read(retired.path(tmp_path)) is None
    assert "anew" in caplog.text


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        (None, 0.0),
        (retired.Moment("boot-2", 400.0), 600.0),
        (retired.Moment("boot-2", 2000.0), 0.0),
        (retired.Moment("boot-1", 400.0), 77.0),
        (retired.Moment("", 400.0), 600.0),
    ],
    ids=["unknown", "this boot", "future", "earlier boot", "no boot id"],
)
def test_what_a_provider_waited(
    since: retired.Moment | None, seconds: float
) -> None:
    assert retired.waited(since, _NOW, after_reboot=77.0) == seconds


def test_the_clock_of_this_host_goes_forward() -> None:
    first, second = retired.moment(), retired.moment()
    assert first.boot == second.boot
    assert first.seconds <= second.seconds


def test_a_gpu_is_gone_since_it_was_first_seen_so() -> None:
    records = retired.Records().with_gone(["a"], 100.0)
    assert records.with_gone(["a", "b"], 160.0).gone == {"a": 100, "b": 160}


def test_a_gpu_that_came_back_is_gone_anew() -> None:
    records = retired.Records().with_gone(["a"], 100.0).with_gone([], 150.0)
    assert records.with_gone(["a"], 160.0).gone == {"a": 160}


def test_a_clock_that_was_put_back_makes_no_gpu_gone_for_longer() -> None:
    records = retired.Records().with_gone(["a"], 1000.0)
    records = records.with_gone(["a"], 10.0)
    assert records.with_gone(["a"], 30.0).gone == {"a": 10}


def test_a_number_beyond_all_numbers_is_counted_anew(
    tmp_path: pathlib.Path,
) -> None:
    path = retired.path(tmp_path)
    path.write_text(f'{{"gone": {{"a": 1{"0" * 400}}}, "orphans": {{}}}}')
    assert retired.read(path) is None


def test_each_other_host_has_a_file_of_its_own_in_the_directory(
    tmp_path: pathlib.Path,
) -> None:
    hosts = ["", "n1", "n2", "../n1", "a/b"]
    paths = {retired.path(tmp_path, host) for host in hosts}
    assert len(paths) == len(hosts)
    assert {each.parent for each in paths} == {tmp_path}
