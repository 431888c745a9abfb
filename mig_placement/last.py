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
"""A pure function's last result, kept for as long as nothing changes."""

import collections.abc
from typing import Generic
from typing import ParamSpec
from typing import TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Last(Generic[P, T]):
    """The function, which is run again only when its arguments changed.

    They are compared and not hashed: what is the same object is equal at
    once, and most of what a cycle looks at is.
    """

    def __init__(self, function: collections.abc.Callable[P, T]) -> None:
        self._function = function
        self._known: tuple[object, T] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        given = (args, kwargs)
        if self._known is None or self._known[0] != given:
            self._known = given, self._function(*args, **kwargs)
        return self._known[1]
