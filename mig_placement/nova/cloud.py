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

"""A cloud's flavors, through openstacksdk: typed, no decisions."""

import collections.abc
import contextlib
import re
from typing import Any

import openstack
from keystoneauth1 import exceptions as ks
from openstack import connection as sdk
from openstack import exceptions as sdk_exceptions
from oslo_config import cfg

from mig_placement import exception
from mig_placement import remote
from mig_placement import shapes
from mig_placement import transport
from mig_placement.conf import placement as placement_options
from mig_placement.nova import connection
from mig_placement.nova import flavors
from mig_placement.placement import client
from mig_placement.placement import connection as placement_connection

# The first that lists extra specs with the flavors.
_MICROVERSION = "2.61"
# As Nova's schema of flavors has it.
_ID = re.compile(r"[a-zA-Z0-9. _-]{1,255}")


class Cloud:
    """Flavors and Placement of one cloud.

    With the credentials in [nova] and [placement]; where those have none,
    with those of clouds.yaml, OS_CLOUD or the OS_ environment variables.

    :param given: the SDK's connection, whose credentials are the ones to
        use in any case.
    :raises ConfigError: there are none, or they are not complete.
    """

    def __init__(self, conf: cfg.ConfigOpts, given: Any = None) -> None:
        self._conf = conf
        self._given = given is not None
        self._configured = not self._given and connection.is_configured(conf)
        with _translated():
            self._sdk = given or (
                _connection(conf) if self._configured else _named()
            )

    def placement(self) -> client.Client:
        """:raises ConfigError: there are no credentials for it."""
        if self._given:
            return client.Client(self._sdk.placement)
        placement_options.register(self._conf)
        section = self._conf[placement_options.GROUP]
        if section.auth_type or self._configured:
            return placement_connection.connect(self._conf)
        with _translated():
            return client.Client(self._sdk.placement)

    def list_flavors(self) -> list[flavors.Flavor]:
        """All flavors, those of other projects too.

        :raises NovaError: they cannot be read.
        """
        found: dict[str, flavors.Flavor] = {}
        with _translated():
            page = self._page({})
            # A server that knows no marker gives the same again and again.
            while page.keys() - found.keys():
                found |= page
                page = self._page({"marker": list(page)[-1]})
        return list(found.values())

    def _page(self, query: dict[str, str]) -> dict[str, flavors.Flavor]:
        """Flavors by id; as many as Nova likes to give at a time.

        Not the SDK's own list: it makes 0 of what is no number, and no
        keys of keys that are hidden, which a check would take for right.
        """
        response = self._sdk.compute.get(
            "/flavors/detail",
            params={"is_public": "None", **query},
            microversion=_MICROVERSION,
        )
        sdk_exceptions.raise_from_response(response)
        page = [_flavor(each) for each in response.json()["flavors"]]
        return {each.id: each for each in page}

    def apply(self, change: flavors.Change) -> None:
        """Create the flavor where there is none, and set keys.

        :raises NovaError: Nova did not do it.
        """
        compute = self._sdk.compute
        found: Any = change.flavor.id
        with _translated():
            if change.create:
                found = compute.create_flavor(**_attributes(change.flavor))
            if change.extra_specs:
                compute.create_flavor_extra_specs(
                    found, dict(change.extra_specs)
                )


def _connection(conf: cfg.ConfigOpts) -> Any:
    return sdk.Connection(
        session=connection.session(conf),
        oslo_conf=conf,
        service_types=["compute"],
    )


def _named() -> Any:
    try:
        found = openstack.connect()
        transport.guard(found.session)
        return found
    except (
        sdk_exceptions.ConfigException,
        ks.MissingRequiredOptions,
    ) as error:
        raise exception.ConfigError(
            f"there are no credentials for Nova ({remote.short(error)})",
            where="[nova]",
            mend="give them there, or name a cloud of clouds.yaml in OS_CLOUD",
        ) from error


def _attributes(flavor: flavors.Flavor) -> dict[str, Any]:
    return {
        "name": flavor.name,
        "vcpus": flavor.size.vcpus,
        "ram": flavor.size.ram,
        "disk": flavor.size.disk,
        "is_public": flavor.size.public,
    }


def _flavor(found: Any) -> flavors.Flavor:
    identity = shapes.text(found["id"])
    if not _ID.fullmatch(identity):
        raise ValueError("not a flavor's id")
    name = shapes.text(found["name"])
    return flavors.Flavor(
        # The client takes either, and a terminal not every name.
        name=name if name.isprintable() else identity,
        id=identity,
        size=flavors.Size(
            shapes.count(found["vcpus"]),
            shapes.count(found["ram"]),
            shapes.count(found["disk"]),
            bool(found["os-flavor-access:is_public"]),
        ),
        extra_specs={
            shapes.text(key): shapes.text(value)
            for key, value in found["extra_specs"].items()
        },
    )


@contextlib.contextmanager
def _translated() -> collections.abc.Iterator[None]:
    """Raise our exceptions in place of the SDK's and keystoneauth's."""
    try:
        with connection.SERVICE.translated(), connection.SERVICE.validated():
            yield
    except sdk_exceptions.HttpException as error:
        raise _http_error(error) from error
    except sdk_exceptions.SDKException as error:
        raise connection.SERVICE.unreachable(
            f"no usable answer ({remote.short(error)})"
        ) from error


def _http_error(
    error: sdk_exceptions.HttpException,
) -> exception.MigPlacementError:
    where = f"Nova {error.url or ''}".strip()
    status = error.status_code
    if status is None:
        return connection.SERVICE.unreachable(remote.short(error))
    failure = connection.SERVICE.failure(status, where)
    return failure or exception.NovaBadAnswer(
        f"refused with HTTP status {status} ({remote.short(error)})",
        where=where,
        mend="see whether the credentials lead to Nova's API",
    )
