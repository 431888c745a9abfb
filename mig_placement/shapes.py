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
"""What other programs' answers hold, each part checked before it is used.

Each function raises one of ``WRONG`` where there is something else.
"""

import re
from typing import Any

# What an answer of another shape leads to; the last where it is nested
# without an end.
WRONG = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)

_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)
_LONGEST_NAME = 255
# More than a database holds.
_TOO_MANY = 1 << 63


def items(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def name(value: object) -> str:
    found = text(value)
    if not 0 < len(found) <= _LONGEST_NAME:
        raise ValueError("not a name")
    return found


def count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a count")
    if not 0 <= value < _TOO_MANY:
        raise ValueError("no count that a service has")
    return value


def uuid(value: object) -> str:
    found = text(value)
    if not _UUID.fullmatch(found):
        raise ValueError("not a uuid")
    return found
