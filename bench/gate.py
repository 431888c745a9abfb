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
"""Which writes open a node in Placement, and which close it."""

import collections.abc

from bench import recording
from mig_placement.placement import names

Matches = collections.abc.Callable[[recording.Request], bool]


def opens(root: str) -> Matches:
    """Puts the trait of the whole node on: the last write of an opening."""
    return lambda request: names.NODE_READY in (_traits(request, root) or ())


def closes(root: str) -> Matches:
    """Takes it off: from then on nothing of the node is offered."""
    return lambda request: (
        (traits := _traits(request, root)) is not None
        and names.NODE_READY not in traits
    )


def reserves(request: recording.Request) -> bool:
    """Reserves all that a GPU has: the gate's second, exact line."""
    if not _is_put(request) or not request.path.endswith("/inventories"):
        return False
    found = request.json()["inventories"].values()
    return all(each["reserved"] == each["total"] for each in found)


def _traits(request: recording.Request, root: str) -> list[str] | None:
    if (
        not _is_put(request)
        or request.path != f"/resource_providers/{root}/traits"
    ):
        return None
    found: list[str] = request.json()["traits"]
    return found


def _is_put(request: recording.Request) -> bool:
    return request.method == "PUT" and request.done
