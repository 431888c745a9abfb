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

"""What it means where Placement does not do as it is asked."""

import contextlib

from mig_placement import exception
from mig_placement import remote
from mig_placement import shapes
from mig_placement.placement import plan

_BAD_REQUEST = 400
_NOT_FOUND = 404
_CONFLICT = 409


class ConflictError(Exception):
    """Placement refused a write that was decided on an older state.

    :ivar code: the error code, for example placement.concurrent_update.
    """

    def __init__(self, action: plan.Write, code: str) -> None:
        self.action = action
        self.code = code
        super().__init__(f"{action}: {code}")


class RefusedError(exception.PlacementBadAnswer):
    """Placement takes a write for a wrong one (400)."""


class NotFoundError(exception.PlacementBadAnswer):
    """There is no such provider (any more), or this is no Placement."""


SERVICE = remote.Service(
    name="Placement",
    # The first with re-parenting is 1.37; 1.26 allows reserved == total, 1.23
    # gives error codes.
    microversion="1.39",
    api="Placement",
    group="placement",
    to_give="copy nova.conf's [placement] section",
    to_correct="compare username, password, project_name and auth_url with"
    " nova.conf's [placement]",
    to_allow="give the user the service role in the service project",
    unreachable_error=exception.PlacementUnreachable,
    unauthorized_error=exception.PlacementUnauthorized,
    forbidden_error=exception.PlacementForbidden,
    not_found_error=NotFoundError,
    bad_answer_error=exception.PlacementBadAnswer,
)


def check_write(
    response: remote.Response, action: plan.Write, url: str
) -> None:
    """
    :raises ConflictError: the state it was decided on is gone.
    :raises RefusedError: it is wrong, or names what is not there.
    :raises PlacementError: something else is the matter.
    """
    if response.status_code in {_NOT_FOUND, _CONFLICT}:
        raise ConflictError(action, _error_code(response))
    if response.status_code == _BAD_REQUEST:
        raise RefusedError(
            f"refuses to {action} ({_detail(response)})",
            where=f"Placement {url}",
            mend="see whether [placement] leads to a Placement of a"
            " supported release",
        )
    SERVICE.check(response, url)


def _error_code(response: remote.Response) -> str:
    with contextlib.suppress(*shapes.WRONG):
        return str(response.json()["errors"][0]["code"])
    return f"HTTP {response.status_code}"


def _detail(response: remote.Response) -> str:
    """What the server says of an error: one line, nothing but text."""
    with contextlib.suppress(*shapes.WRONG):
        text = remote.short(response.json()["errors"][0]["detail"])
        return "".join(c if c.isprintable() else "?" for c in text)
    return f"HTTP {response.status_code}"
