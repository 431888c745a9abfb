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
"""A GPU's memory slices as a line of text."""

import collections.abc

# Columns of a slice, its right border included.
_WIDTH = 8


def slices(
    count: int, instances: collections.abc.Iterable[tuple[str, int, int]]
) -> str:
    """Draw instances over ``count`` memory slices.

    :param instances: (name, start, size), in memory slices.
    """
    if not count:
        return ""
    line = "|"
    at = 0
    for name, start, size in sorted(instances, key=lambda each: each[1]):
        line += _free(start - at) + _cell(name, size)
        at = start + size
    return line + _free(count - at)


def _cell(name: str, size: int) -> str:
    width = size * _WIDTH - 1
    return f"{name[:width]:-^{width}}|"


def _free(count: int) -> str:
    return f"{'.':^{_WIDTH - 1}}|" * max(count, 0)
