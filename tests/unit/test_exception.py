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
"""An error is one line that does no harm to a log or a terminal."""

import pytest

from mig_placement import exception


def test_an_error_is_one_printable_line() -> None:
    error = exception.ConfigError(
        "a\nb\x1b[2J\x07\u2028c", where="d", mend="\x9be"
    )
    assert str(error) == "d: a b?[2J? c; ?e"


def test_an_error_that_is_told_again_is_the_same_line() -> None:
    error = exception.HardwareError("a", where="b", mend="c")
    assert str(exception.HardwareError.again(str(error))) == "b: a; c"


@pytest.mark.parametrize("given", [{"where": "here"}, {"mend": "do it"}])
def test_no_error_comes_without_its_place_or_its_mend(
    given: dict[str, str],
) -> None:
    with pytest.raises(TypeError):
        exception.MigPlacementError("it broke", **given)
