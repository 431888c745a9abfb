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

"""What Placement's answers say, each part validated before it is used.

Each function raises one of ``remote.WRONG`` where there is something else.
"""

import collections.abc
import contextlib
import re
from typing import Any
from typing import Protocol

from mig_placement import exception
from mig_placement import remote
from mig_placement.placement import model

_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)
# The names of classes and traits, as Placement's own schema has them.
_SYMBOL = re.compile(r"[A-Z0-9_]{1,255}")
# More than its database holds.
_TOO_MANY = 1 << 63
_TOO_FAR = 3.5e38


class Response(Protocol):
    """What of requests.Response is used."""

    @property
    def status_code(self) -> int: ...

    def json(self) -> Any: ...


@contextlib.contextmanager
def validated(url: str) -> collections.abc.Iterator[None]:
    """:raises PlacementBadAnswer: what is read in it is something else."""
    try:
        yield
    except remote.WRONG as error:
        raise exception.PlacementBadAnswer(
            "the answer is not one of Placement's API"
            f" ({remote.short(error)})",
            where=f"Placement {url}",
            mend="see whether [placement] leads to Placement, and not to a"
            " load balancer's error page",
        ) from error


def items(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise TypeError("not a name")
    return value


def symbol(value: object) -> str:
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise TypeError("not the name of a class or trait")
    return value


def symbols(value: object) -> frozenset[str]:
    """Of a list of them."""
    return frozenset(map(symbol, items(value)))


def integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a count")
    if not 0 <= value < _TOO_MANY:
        raise ValueError("no count that Placement has")
    return value


def _ratio(value: object) -> float:
    # Python reads NaN and Infinity as JSON, and no capacity comes of them.
    if not isinstance(value, int | float) or not 0 <= value < _TOO_FAR:
        raise TypeError("not a ratio")
    return float(value)


def version(value: object) -> tuple[int, int]:
    major, minor = _string(value).split(".")
    return int(major), int(minor)


def _uuid(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise TypeError("not a uuid")
    return value


def generation(answer: Any) -> int:
    if "resource_provider_generation" in answer:
        return integer(answer["resource_provider_generation"])
    return integer(answer["generation"])


def provider(item: Any) -> model.Provider:
    parent = item["parent_provider_uuid"]
    return model.Provider(
        uuid=_uuid(item["uuid"]),
        name=_string(item["name"]),
        generation=integer(item["generation"]),
        parent_uuid=None if parent is None else _uuid(parent),
    )


def inventory(item: Any) -> model.Inventory:
    return model.Inventory(
        total=integer(item["total"]),
        reserved=integer(item["reserved"]),
        min_unit=integer(item["min_unit"]),
        max_unit=integer(item["max_unit"]),
        step_size=integer(item["step_size"]),
        allocation_ratio=_ratio(item["allocation_ratio"]),
    )
