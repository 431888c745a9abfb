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
"""A hold is a file that outlives the agent."""

import pathlib

from mig_placement.service import hold


def test_a_hold_is_in_force_until_released(tmp_path: pathlib.Path) -> None:
    assert hold.read(tmp_path) is None
    hold.place(tmp_path, "new fans")
    held = hold.read(tmp_path)
    assert held is not None
    assert held.reason == "new fans"
    assert hold.release(tmp_path)
    assert hold.read(tmp_path) is None
    assert not hold.release(tmp_path)


def test_a_hold_that_cannot_be_read_is_a_hold(tmp_path: pathlib.Path) -> None:
    for text in ("", "[]", "{}", '{"reason": 1}', "\x00"):
        hold.path(tmp_path).write_text(text)
        assert hold.read(tmp_path) is not None


def test_a_reason_cannot_write_to_a_terminal_or_a_log(
    tmp_path: pathlib.Path,
) -> None:
    hold.place(tmp_path, "a\x1b[31m\nb" + "c" * 9999)
    held = hold.read(tmp_path)
    assert held is not None
    assert held.reason.isprintable()
    assert len(held.reason) <= 500
