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
"""Placement's API as far as we use it: typed, validated, no decisions."""

import collections.abc
import contextlib
import re
import time
from typing import Any
from typing import Protocol

from keystoneauth1 import exceptions as ks

from mig_placement import exception
from mig_placement import transport
from mig_placement.placement import model
from mig_placement.placement import plan

# The first with re-parenting is 1.37; 1.26 allows reserved == total, 1.23
# gives error codes. One pinned version: answers do not change under us.
MICROVERSION = "1.39"

# In the place of the one that each of keystoneauth's Adapters has: before a
# request that waits until the wall clock is past the time at which the
# Adapter was made (FairSemaphore). After a step back of that clock by an
# hour, as NTP makes one at boot, every request would take an hour.
NO_LIMIT: contextlib.AbstractContextManager[None] = contextlib.nullcontext()

_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)
# The names of classes and traits, as Placement's own schema has them.
_SYMBOL = re.compile(r"[A-Z0-9_]{1,255}")
# More than its database holds.
_TOO_MANY = 1 << 63
_TOO_FAR = 3.5e38
_BAD_REQUEST = 400
_NOT_FOUND = 404
_CONFLICT = 409
_MAX_TEXT = 200
# What an answer of another shape leads to; the last where it is nested
# without an end.
_WRONG = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)


class Response(Protocol):
    """What of requests.Response is used."""

    @property
    def status_code(self) -> int: ...

    def json(self) -> Any: ...


class Adapter(Protocol):
    """keystoneauth1's Adapter, or openstacksdk's proxy, as we use it."""

    def request(self, url: str, method: str, **kwargs: Any) -> Response: ...


# Told the method of a request and how long it took (seconds).
Observe = collections.abc.Callable[[str, float], None]


def unobserved(method: str, seconds: float) -> None:
    """For those who do not count."""


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


class Client:
    """A few calls of Placement's API.

    Every method raises PlacementUnreachable, PlacementUnauthorized,
    PlacementForbidden or PlacementBadAnswer as the case may be.
    """

    def __init__(
        self, adapter: Adapter, observe: Observe = unobserved
    ) -> None:
        self._adapter = adapter
        self._observe = observe

    def max_version(self) -> tuple[int, int]:
        """The last microversion that this Placement speaks."""
        # Without one: an older Placement refuses a microversion it lacks.
        with translated():
            response = self._adapter.request(
                "/",
                "GET",
                raise_exc=False,
                headers={"Accept": "application/json"},
            )
        _check(response, "/")
        with _validated("/"):
            versions = _list(response.json()["versions"])
            return max(_version(each["max_version"]) for each in versions)

    def find_root(self, name: str) -> model.Provider:
        """The compute root, without its traits.

        :raises RootNotFound: nova-compute has not made it yet.
        """
        for provider in self._providers(name=name):
            if provider.parent_uuid is None:
                return provider
        raise exception.RootNotFound(
            f"there is no compute root provider {name} yet",
            where="Placement",
            mend="start nova-compute, or set [agent] hypervisor_hostname to"
            " the name that 'openstack hypervisor list' shows",
        )

    def named(self, name: str) -> model.Provider | None:
        """The provider of that name, wherever it is; names are unique."""
        return next(iter(self._providers(name=name)), None)

    def provider(self, uuid: str) -> model.Provider | None:
        """A provider without inventories and traits; None: there is none."""
        return next(iter(self._providers(uuid=uuid)), None)

    def tree(self, root_uuid: str) -> tuple[model.Provider, ...]:
        """All providers under a root, without inventories and traits."""
        return self._providers(in_tree=root_uuid)

    def with_trait(self, *traits: str) -> tuple[model.Provider, ...]:
        """All providers that have the traits, which must exist."""
        return self._providers(required=",".join(traits))

    def with_room(
        self, resource_class: str, *traits: str
    ) -> tuple[model.Provider, ...]:
        """All providers with a free unit of the class, which must exist.

        :param traits: that they have, and that exist, likewise.
        """
        query = {"required": ",".join(traits)} if traits else {}
        return self._providers(resources=f"{resource_class}:1", **query)

    def _providers(self, **query: str) -> tuple[model.Provider, ...]:
        answer = self._get("/resource_providers", params=query)
        with _validated("/resource_providers"):
            return tuple(
                _provider(item) for item in _list(answer["resource_providers"])
            )

    def traits(self, uuid: str) -> frozenset[str]:
        url = f"/resource_providers/{uuid}/traits"
        answer = self._get(url)
        with _validated(url):
            return frozenset(_symbol(t) for t in _list(answer["traits"]))

    def inventories(self, uuid: str) -> dict[str, model.Inventory]:
        url = f"/resource_providers/{uuid}/inventories"
        answer = self._get(url)
        with _validated(url):
            return {
                _symbol(name): _inventory(item)
                for name, item in answer["inventories"].items()
            }

    def usages(self, uuid: str) -> dict[str, int]:
        url = f"/resource_providers/{uuid}/usages"
        answer = self._get(url)
        with _validated(url):
            return {
                _symbol(name): _integer(count)
                for name, count in answer["usages"].items()
            }

    def classes(self) -> frozenset[str]:
        """All resource classes that exist."""
        url = "/resource_classes"
        answer = self._get(url)
        with _validated(url):
            return frozenset(
                _symbol(item["name"])
                for item in _list(answer["resource_classes"])
            )

    def known_traits(
        self, traits: collections.abc.Iterable[str]
    ) -> frozenset[str]:
        """Those of the traits that exist."""
        query = {"name": f"in:{','.join(sorted(traits))}"}
        answer = self._get("/traits", params=query)
        with _validated("/traits"):
            return frozenset(_symbol(t) for t in _list(answer["traits"]))

    def traits_in_use(self, prefix: str) -> frozenset[str]:
        """The traits with a prefix that some provider has."""
        query = {"name": f"startswith:{prefix}", "associated": "true"}
        answer = self._get("/traits", params=query)
        with _validated("/traits"):
            return frozenset(_symbol(t) for t in _list(answer["traits"]))

    def do(self, action: plan.Write) -> int:
        """Write; the provider's new generation, 0 where there is none.

        :raises ConflictError: the state it was decided on is gone.
        :raises RefusedError: it is wrong, or names what is not there.
        """
        request = action.request()
        arguments = {} if request.body is None else {"json": request.body}
        response = self._send(request.url, request.method, **arguments)
        if response.status_code in {_NOT_FOUND, _CONFLICT}:
            raise ConflictError(action, _error_code(response))
        if response.status_code == _BAD_REQUEST:
            raise RefusedError(
                f"refuses to {action} ({_detail(response)})",
                where=f"Placement {request.url}",
                mend="see whether [placement] leads to a Placement of a"
                " supported release",
            )
        _check(response, request.url)
        if request.body is None:
            return 0
        with _validated(request.url):
            return _generation(response.json())

    def _get(self, url: str, **kwargs: Any) -> Any:
        response = self._send(url, "GET", **kwargs)
        _check(response, url)
        with _validated(url):
            answer = response.json()
            if not isinstance(answer, dict):
                raise TypeError("not an object")
            return answer

    def _send(self, url: str, method: str, **kwargs: Any) -> Response:
        with self._timed(method), translated():
            return self._adapter.request(
                url,
                method,
                microversion=MICROVERSION,
                raise_exc=False,
                headers={"Accept": "application/json"},
                rate_semaphore=NO_LIMIT,
                **kwargs,
            )

    @contextlib.contextmanager
    def _timed(self, method: str) -> collections.abc.Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self._observe(method, time.monotonic() - start)


@contextlib.contextmanager
def translated() -> collections.abc.Iterator[None]:
    """Raise our exceptions in place of keystoneauth's."""
    try:
        yield
    except ks.Unauthorized as error:
        raise _unauthorized() from error
    except ks.Forbidden as error:
        raise _forbidden("Keystone") from error
    except (ks.EndpointNotFound, ks.EmptyCatalog) as error:
        raise exception.PlacementUnreachable(
            "the service catalog has no endpoint for Placement",
            where="[placement]",
            mend="set region_name, valid_interfaces or endpoint_override",
        ) from error
    except (
        ks.MissingRequiredOptions,
        ks.MissingAuthPlugin,
        ks.NoMatchingPlugin,
    ) as error:
        raise exception.ConfigError(
            "the credentials for Placement are not complete"
            f" ({_short(error)})",
            where="[placement]",
            mend="copy nova.conf's [placement] section",
        ) from error
    except ks.SSLError as error:
        raise exception.PlacementUnreachable(
            transport.tls_trouble(error),
            where="Placement or Keystone",
            mend="set cafile in [placement] to the file of the authority"
            " that signs their certificates",
        ) from error
    except ks.ClientException as error:
        raise exception.PlacementUnreachable(
            f"no usable answer ({_short(error)})",
            where="Placement or Keystone",
            mend="see whether both answer from this host",
        ) from error


def _short(error: object) -> str:
    return " ".join(str(error).split())[:_MAX_TEXT]


def _unauthorized() -> exception.PlacementUnauthorized:
    return exception.PlacementUnauthorized(
        "the credentials are refused (401)",
        where="[placement]",
        mend="compare username, password, project_name and auth_url with"
        " nova.conf's [placement]",
    )


def _forbidden(where: str) -> exception.PlacementForbidden:
    return exception.PlacementForbidden(
        "the user's role may not do this (403)",
        where=where,
        mend="give the user the service role in the service project",
    )


def _check(response: Response, url: str) -> None:
    status = response.status_code
    if status == 401:
        raise _unauthorized()
    if status == 403:
        raise _forbidden(f"Placement {url}")
    if status >= 500 or status == 429:
        raise exception.PlacementUnreachable(
            f"answers with HTTP status {status}",
            where=f"Placement {url}",
            mend="look at Placement's log and at what stands before it",
        )
    if not 200 <= status < 300:
        missing = status == _NOT_FOUND
        kind = NotFoundError if missing else exception.PlacementBadAnswer
        raise kind(
            f"unexpected HTTP status {status}",
            where=f"Placement {url}",
            mend="see whether [placement] leads to Placement",
        )


@contextlib.contextmanager
def _validated(url: str) -> collections.abc.Iterator[None]:
    try:
        yield
    except _WRONG as error:
        raise exception.PlacementBadAnswer(
            f"the answer is not one of Placement's API ({_short(error)})",
            where=f"Placement {url}",
            mend="see whether [placement] leads to Placement, and not to a"
            " load balancer's error page",
        ) from error


def _error_code(response: Response) -> str:
    with contextlib.suppress(*_WRONG):
        return str(response.json()["errors"][0]["code"])
    return f"HTTP {response.status_code}"


def _detail(response: Response) -> str:
    """What the server says of an error: one line, nothing but text."""
    with contextlib.suppress(*_WRONG):
        text = _short(response.json()["errors"][0]["detail"])
        return "".join(c if c.isprintable() else "?" for c in text)
    return f"HTTP {response.status_code}"


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise TypeError("not a name")
    return value


def _symbol(value: object) -> str:
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise TypeError("not the name of a class or trait")
    return value


def _integer(value: object) -> int:
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


def _version(value: object) -> tuple[int, int]:
    major, minor = _string(value).split(".")
    return int(major), int(minor)


def _uuid(value: object) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise TypeError("not a uuid")
    return value


def _generation(answer: Any) -> int:
    if "resource_provider_generation" in answer:
        return _integer(answer["resource_provider_generation"])
    return _integer(answer["generation"])


def _provider(item: Any) -> model.Provider:
    parent = item["parent_provider_uuid"]
    return model.Provider(
        uuid=_uuid(item["uuid"]),
        name=_string(item["name"]),
        generation=_integer(item["generation"]),
        parent_uuid=None if parent is None else _uuid(parent),
    )


def _inventory(item: Any) -> model.Inventory:
    return model.Inventory(
        total=_integer(item["total"]),
        reserved=_integer(item["reserved"]),
        min_unit=_integer(item["min_unit"]),
        max_unit=_integer(item["max_unit"]),
        step_size=_integer(item["step_size"]),
        allocation_ratio=_ratio(item["allocation_ratio"]),
    )
