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
"""What goes wrong between us and one of OpenStack's services, in our words."""

import collections.abc
import contextlib
import dataclasses
from typing import Any
from typing import Protocol

from keystoneauth1 import exceptions as ks
from oslo_config import cfg

from mig_placement import exception
from mig_placement import shapes
from mig_placement import transport
from mig_placement.conf import sources

_MAX_TEXT = 200
_NOT_FOUND = 404
# In the place of the one that each of keystoneauth's Adapters has: before a
# request that waits until the wall clock is past the time at which the
# Adapter was made (FairSemaphore). After a step back of that clock by an
# hour, as NTP makes one at boot, every request would take an hour.
NO_LIMIT: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


class Response(Protocol):
    """What of requests.Response is used."""

    @property
    def status_code(self) -> int: ...

    def json(self) -> Any: ...


class Adapter(Protocol):
    """keystoneauth1's Adapter, or openstacksdk's proxy, as we use it."""

    def request(self, url: str, method: str, **kwargs: Any) -> Response: ...


def short(error: object) -> str:
    """Of other programs' texts, what fits into one line of ours."""
    return " ".join(str(error).split())[:_MAX_TEXT]


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """One of them.

    :ivar name: as an operator calls it.
    :ivar microversion: one pinned: answers do not change under us.
    :ivar api: what the service catalog has an endpoint for.
    :ivar group: of the configuration, with the credentials.
    :ivar to_give: how to complete them,
    :ivar to_correct: how to mend them,
    :ivar to_allow: and who may do what we ask for.
    """

    name: str
    microversion: str
    api: str
    group: str
    to_give: str
    to_correct: str
    to_allow: str
    unreachable_error: type[exception.MigPlacementError]
    unauthorized_error: type[exception.MigPlacementError]
    forbidden_error: type[exception.MigPlacementError]
    not_found_error: type[exception.MigPlacementError]
    bad_answer_error: type[exception.MigPlacementError]

    @property
    def section(self) -> str:
        return f"[{self.group}]"

    @contextlib.contextmanager
    def options_checked(self) -> collections.abc.Iterator[None]:
        """As ``translated``, and whatever else is wrong with an option.

        :raises ConfigError: an option cannot be used.
        """
        try:
            with self.translated():
                yield
        except (cfg.Error, ValueError, OSError) as error:
            # Without the cause: it may quote a part of the password.
            raise exception.ConfigError(
                sources.error_text(error),
                where=self.section,
                mend=sources.mend(error, "correct the option"),
            ) from None

    @contextlib.contextmanager
    def translated(self) -> collections.abc.Iterator[None]:
        """Raise our exceptions in place of keystoneauth's."""
        try:
            yield
        except ks.Unauthorized as error:
            raise self.unauthorized() from error
        except ks.Forbidden as error:
            raise self.forbidden("Keystone") from error
        except (ks.EndpointNotFound, ks.EmptyCatalog) as error:
            raise self.unreachable_error(
                f"the service catalog has no endpoint for {self.api}",
                where=self.section,
                mend="set region_name, valid_interfaces or endpoint_override",
            ) from error
        except (
            ks.MissingRequiredOptions,
            ks.MissingAuthPlugin,
            ks.NoMatchingPlugin,
        ) as error:
            raise exception.ConfigError(
                f"the credentials for {self.name} are not complete"
                f" ({short(error)})",
                where=self.section,
                mend=self.to_give,
            ) from error
        except ks.SSLError as error:
            raise self.unreachable_error(
                transport.tls_trouble(error),
                where=f"{self.name} or Keystone",
                mend=f"set cafile in {self.section} to the file of the"
                " authority that signs their certificates",
            ) from error
        except ks.ClientException as error:
            raise self.unreachable(
                f"no usable answer ({short(error)})"
            ) from error

    def ask(
        self, adapter: Adapter, url: str, method: str, **kwargs: Any
    ) -> Response:
        """The answer to one request, whatever it is.

        :raises MigPlacementError: there is none.
        """
        with self.translated():
            return adapter.request(
                url,
                method,
                microversion=self.microversion,
                raise_exc=False,
                headers={"Accept": "application/json"},
                rate_semaphore=NO_LIMIT,
                **kwargs,
            )

    def check(self, response: Response, url: str) -> None:
        """:raises MigPlacementError: it is no answer to what was asked."""
        status, where = response.status_code, f"{self.name} {url}"
        failure = self.failure(status, where)
        if failure is not None:
            raise failure
        if not 200 <= status < 300:
            missing = status == _NOT_FOUND
            kind = self.not_found_error if missing else self.bad_answer_error
            raise kind(
                f"unexpected HTTP status {status}",
                where=where,
                mend=f"see whether {self.section} leads to {self.name}'s API",
            )

    def failure(
        self, status: int, where: str
    ) -> exception.MigPlacementError | None:
        """What a status means whatever was asked; None: that depends."""
        if status == 401:
            return self.unauthorized()
        if status == 403:
            return self.forbidden(where)
        if status >= 500 or status == 429:
            return self.unreachable_error(
                f"answers with HTTP status {status}",
                where=where,
                mend=f"look at {self.name}'s log and at what stands before it",
            )
        return None

    @contextlib.contextmanager
    def validated(self, url: str = "") -> collections.abc.Iterator[None]:
        """:raises MigPlacementError: an answer's shape is another one."""
        try:
            yield
        except shapes.WRONG as error:
            raise self.bad_answer_error(
                f"the answer is not one of {self.name}'s API ({short(error)})",
                where=f"{self.name} {url}".strip(),
                mend=f"see whether {self.section} leads to {self.name}'s API,"
                " and not to a load balancer's error page",
            ) from error

    def unauthorized(self) -> exception.MigPlacementError:
        return self.unauthorized_error(
            "the credentials are refused (401)",
            where=self.section,
            mend=self.to_correct,
        )

    def forbidden(self, where: str) -> exception.MigPlacementError:
        return self.forbidden_error(
            "the user's role may not do this (403)",
            where=where,
            mend=self.to_allow,
        )

    def unreachable(self, what: str) -> exception.MigPlacementError:
        return self.unreachable_error(
            what,
            where=f"{self.name} or Keystone",
            mend="see whether both answer from this host",
        )
