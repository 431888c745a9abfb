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
import time
from typing import Any

from mig_placement import exception
from mig_placement import remote
from mig_placement import shapes
from mig_placement.placement import answers
from mig_placement.placement import model
from mig_placement.placement import plan
from mig_placement.placement import refusals
from mig_placement.placement.refusals import SERVICE

# Told the method of a request and how long it took (seconds).
Observe = collections.abc.Callable[[str, float], None]


def unobserved(method: str, seconds: float) -> None:
    """For those who do not count."""


class Client:
    """A few calls of Placement's API.

    Every method raises PlacementUnreachable, PlacementUnauthorized,
    PlacementForbidden or PlacementBadAnswer as the case may be.
    """

    def __init__(
        self, adapter: remote.Adapter, observe: Observe = unobserved
    ) -> None:
        self._adapter = adapter
        self._observe = observe

    def max_version(self) -> tuple[int, int]:
        """The last microversion that this Placement speaks."""
        # Without one: an older Placement refuses a microversion it lacks.
        with SERVICE.translated():
            response = self._adapter.request(
                "/",
                "GET",
                raise_exc=False,
                headers={"Accept": "application/json"},
            )
        SERVICE.check(response, "/")
        with SERVICE.validated("/"):
            versions = shapes.items(response.json()["versions"])
            return max(
                answers.version(each["max_version"]) for each in versions
            )

    def find_root(self, name: str) -> model.Provider:
        """The compute root, without its traits.

        :raises RootNotFound: nova-compute has not made it yet.
        """
        found = [
            each
            for each in self._providers(name=name)
            if each.parent_uuid is None
        ]
        for provider in found:
            # MySQL takes names that differ in case for the same.
            if provider.name == name:
                return provider
        raise exception.RootNotFound(
            f"there is no compute root provider {name} yet",
            where="Placement",
            mend=_spelt_otherwise(name, found)
            or "start nova-compute, or set [agent] hypervisor_hostname to"
            " the name that 'openstack hypervisor list' shows",
        )

    def named(self, name: str) -> model.Provider | None:
        """The provider of that name, wherever it is; names are unique."""
        found = self._providers(name=name)
        return next((each for each in found if each.name == name), None)

    def provider(self, uuid: str) -> model.Provider | None:
        """A provider without inventories and traits; None: there is none."""
        found = self._providers(uuid=uuid)
        return next((each for each in found if each.uuid == uuid), None)

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
        with SERVICE.validated("/resource_providers"):
            return tuple(
                answers.provider(item)
                for item in shapes.items(answer["resource_providers"])
            )

    def traits(self, uuid: str) -> frozenset[str]:
        url = f"/resource_providers/{uuid}/traits"
        answer = self._get(url)
        with SERVICE.validated(url):
            return answers.symbols(answer["traits"])

    def inventories(self, uuid: str) -> dict[str, model.Inventory]:
        url = f"/resource_providers/{uuid}/inventories"
        answer = self._get(url)
        with SERVICE.validated(url):
            return {
                answers.symbol(name): answers.inventory(item)
                for name, item in answer["inventories"].items()
            }

    def usages(self, uuid: str) -> dict[str, int]:
        url = f"/resource_providers/{uuid}/usages"
        answer = self._get(url)
        with SERVICE.validated(url):
            return {
                answers.symbol(name): shapes.count(count)
                for name, count in answer["usages"].items()
            }

    def classes(self) -> frozenset[str]:
        """All resource classes that exist."""
        url = "/resource_classes"
        answer = self._get(url)
        with SERVICE.validated(url):
            return frozenset(
                answers.symbol(item["name"])
                for item in shapes.items(answer["resource_classes"])
            )

    def known_traits(
        self, traits: collections.abc.Iterable[str]
    ) -> frozenset[str]:
        """Those of the traits that exist."""
        query = {"name": f"in:{','.join(sorted(traits))}"}
        answer = self._get("/traits", params=query)
        with SERVICE.validated("/traits"):
            return answers.symbols(answer["traits"])

    def traits_in_use(self, prefix: str) -> frozenset[str]:
        """The traits with a prefix that some provider has."""
        query = {"name": f"startswith:{prefix}", "associated": "true"}
        answer = self._get("/traits", params=query)
        with SERVICE.validated("/traits"):
            return answers.symbols(answer["traits"])

    def do(self, action: plan.Write) -> int:
        """Write; the provider's new generation, 0 where there is none.

        :raises ConflictError: the state it was decided on is gone.
        :raises RefusedError: it is wrong, or names what is not there.
        """
        request = action.request()
        arguments = {} if request.body is None else {"json": request.body}
        response = self._send(request.url, request.method, **arguments)
        refusals.check_write(response, action, request.url)
        if request.body is None:
            return 0
        with SERVICE.validated(request.url):
            return answers.generation(response.json())

    def _get(self, url: str, **kwargs: Any) -> Any:
        response = self._send(url, "GET", **kwargs)
        SERVICE.check(response, url)
        with SERVICE.validated(url):
            answer = response.json()
            if not isinstance(answer, dict):
                raise TypeError("not an object")
            return answer

    def _send(self, url: str, method: str, **kwargs: Any) -> remote.Response:
        with self._timed(method):
            return SERVICE.ask(self._adapter, url, method, **kwargs)

    @contextlib.contextmanager
    def _timed(self, method: str) -> collections.abc.Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self._observe(method, time.monotonic() - start)


def _spelt_otherwise(
    name: str, found: collections.abc.Iterable[model.Provider]
) -> str:
    """What to set where Nova writes the name in another case."""
    for each in found:
        if each.name.lower() == name.lower():
            return f"set [agent] hypervisor_hostname to {each.name}"
    return ""
