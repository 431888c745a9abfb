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
"""Health marks: what lies in their file ends no agent."""

import json
import pathlib
from typing import Any

import pytest

from mig_placement.service import marks

_MARK = {"gpu_uuid": "GPU-1", "xid": 79, "gi_id": None, "identity": []}


def test_marks_are_read(tmp_path: pathlib.Path) -> None:
    marks.path(tmp_path).write_text(json.dumps([_MARK]))
    assert len(marks.read(tmp_path)) == 1


@pytest.mark.parametrize(
    "value",
    [1, {"a": 1}, [1], [{}], [{**_MARK, "xid": "x"}], [{**_MARK, "xid": None}],
     [{**_MARK, "xid": float("inf")}], [{**_MARK, "identity": 1}]],
)  # fmt: skip
def test_marks_of_another_shape_are_put_aside(
    tmp_path: pathlib.Path, value: Any
) -> None:
    marks.path(tmp_path).write_text(json.dumps(value))
    assert marks.read(tmp_path) == frozenset()
