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

Each function raises one of ``shapes.WRONG`` where there is something else.
"""

import re
from typing import Any

from mig_placement import shapes
from mig_placement.placement import model

# The names of classes and traits, as Placement's own schema has them.
_SYMBOL = re.compile(r"[A-Z0-9_]{1,255}")
# More than its database holds.
_TOO_FAR = 3.5e38


def symbol(value: object) -> str:
    found = shapes.text(value)
    if not _SYMBOL.fullmatch(found):
        raise ValueError("not the name of a class or trait")
    return found


def symbols(value: object) -> frozenset[str]:
    """Of a list of them."""
    return frozenset(map(symbol, shapes.items(value)))


def _ratio(value: object) -> float:
    # Python reads NaN and Infinity as JSON, and no capacity comes of them.
    if not isinstance(value, int | float) or not 0 <= value < _TOO_FAR:
        raise TypeError("not a ratio")
    return float(value)


def version(value: object) -> tuple[int, int]:
    major, minor = shapes.name(value).split(".")
    return int(major), int(minor)


def generation(answer: Any) -> int:
    if "resource_provider_generation" in answer:
        return shapes.count(answer["resource_provider_generation"])
    return shapes.count(answer["generation"])


def provider(item: Any) -> model.Provider:
    parent = item["parent_provider_uuid"]
    return model.Provider(
        uuid=shapes.uuid(item["uuid"]),
        name=shapes.name(item["name"]),
        generation=shapes.count(item["generation"]),
        parent_uuid=None if parent is None else shapes.uuid(parent),
    )


def inventory(item: Any) -> model.Inventory:
    return model.Inventory(
        total=shapes.count(item["total"]),
        reserved=shapes.count(item["reserved"]),
        min_unit=shapes.count(item["min_unit"]),
        max_unit=shapes.count(item["max_unit"]),
        step_size=shapes.count(item["step_size"]),
        allocation_ratio=_ratio(item["allocation_ratio"]),
    )
