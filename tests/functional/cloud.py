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

"""Everyone else in the cloud: Nova, its scheduler, and an operator.

They speak to the real Placement as the real ones do, and none of their
requests are seen by a test's recorder.
"""

import dataclasses
import uuid as uuidlib
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from urllib import parse

import requests
from keystoneauth1 import adapter as ksa_adapter

# What a flavor of a plain VM asks for.
PLAIN = {"VCPU": 1, "MEMORY_MB": 512}
# The group of a generated flavor's keys: resources_MIG, trait_MIG.
GROUP = "_MIG"
_PROJECT = "11111111-1111-4111-8111-111111111111"
_USER = "22222222-2222-4222-8222-222222222222"
_ATTEMPTS = 5

Resources = Mapping[str, int]
Allocations = Mapping[str, Resources]


class NoValidHost(Exception):
    """The scheduler found no candidate."""


class Refused(Exception):
    """Placement refused a call of the rest of the cloud."""

    def __init__(self, answer: requests.Response) -> None:
        self.status = answer.status_code
        self.text = answer.text
        request = answer.request
        super().__init__(
            f"{request.method} {request.url}: {self.status} {self.text}"
        )


@dataclasses.dataclass(frozen=True)
class Provider:
    """A resource provider, with everything that Placement knows of it."""

    uuid: str
    name: str
    generation: int
    parent: str | None
    inventories: dict[str, dict[str, Any]]
    traits: frozenset[str]
    usages: dict[str, int]

    @property
    def offered(self) -> dict[str, int]:
        """Units of each class that Placement would still hand out."""
        return {
            name: max(0, _capacity(inventory) - self.usages.get(name, 0))
            for name, inventory in self.inventories.items()
        }


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to serve a request: provider uuid to resources."""

    allocations: dict[str, dict[str, int]]

    @property
    def providers(self) -> frozenset[str]:
        return frozenset(self.allocations)


class Cloud:
    """Nova and an operator at one Placement."""

    def __init__(self, adapter: ksa_adapter.Adapter) -> None:
        self._adapter = adapter

    # As nova-compute

    def create_root(
        self,
        name: str,
        *,
        uuid: str | None = None,
        vcpus: int = 64,
        memory_mb: int = 262144,
        traits: Iterable[str] = ("COMPUTE_NODE",),
    ) -> str:
        """Make a compute root provider, as nova-compute does at its start.

        :param name: the hypervisor hostname.
        :returns: its uuid.
        """
        uuid = uuid or str(uuidlib.uuid4())
        body = {"name": name, "uuid": uuid}
        self._call("POST", "/resource_providers", body)
        self.set_inventories(
            uuid,
            {"VCPU": {"total": vcpus}, "MEMORY_MB": {"total": memory_mb}},
        )
        self.set_traits(uuid, traits)
        return uuid

    def delete_root(self, uuid: str) -> None:
        """Delete the whole tree, as the deletion of the service does."""
        tree = list(self.tree(uuid).values())
        for provider in tree:
            for consumer in self.consumers(provider.uuid):
                self.delete_vm(consumer)
        while tree:
            parents = {provider.parent for provider in tree}
            for leaf in [p for p in tree if p.uuid not in parents]:
                self.delete_provider(leaf.uuid)
                tree.remove(leaf)

    def recreate_root(self, uuid: str) -> str:
        """Delete the tree and make its root again, under a new uuid."""
        name = self.provider(uuid).name
        self.delete_root(uuid)
        return self.create_root(name)

    # As the scheduler

    def candidates(
        self,
        resources: Resources,
        required: Iterable[str] = (),
        *,
        node_required: Iterable[str] = (),
        plain: Resources = PLAIN,
    ) -> list[Candidate]:
        """Ask for a VM as a flavor does; empty is NoValidHost.

        :param resources: ``resources_MIG:...``; empty for a plain VM.
        :param required: ``trait_MIG:...=required``.
        :param node_required: ``trait:...=required``, met by the root.
        :param plain: what the VM needs of the root itself.
        """
        query = {
            **_group("", plain, node_required),
            **_group(GROUP, resources, required),
        }
        path = f"/allocation_candidates?{parse.urlencode(query)}"
        answer = self._send("GET", path)
        if _names_something_unknown(answer):
            return []
        found = _checked(answer).json()["allocation_requests"]
        return [_candidate(request) for request in found]

    def boot(
        self,
        resources: Resources,
        required: Iterable[str] = (),
        *,
        node_required: Iterable[str] = (),
    ) -> str:
        """Claim the first candidate for a new VM.

        :returns: the VM's (the consumer's) uuid.
        :raises NoValidHost: there is no candidate.
        """
        found = self.candidates(
            resources, required, node_required=node_required
        )
        if not found:
            raise NoValidHost(f"{dict(resources)} with {list(required)}")
        return self.allocate(found[0].allocations)

    def boot_plain(self) -> str:
        """A VM without a GPU, anywhere."""
        return self.boot({})

    def allocate(
        self, allocations: Allocations, *, consumer: str | None = None
    ) -> str:
        """Put a new consumer's allocations: provider uuid to resources."""
        consumer = consumer or str(uuidlib.uuid4())
        body = {
            "allocations": {
                provider: {"resources": dict(resources)}
                for provider, resources in allocations.items()
            },
            "project_id": _PROJECT,
            "user_id": _USER,
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        self._call("PUT", f"/allocations/{consumer}", body)
        return consumer

    def delete_vm(self, consumer: str) -> None:
        """Delete a consumer's allocations."""
        self._call("DELETE", f"/allocations/{consumer}")

    # As an operator

    def providers(self) -> dict[str, Provider]:
        """All providers, by name."""
        return self._providers("/resource_providers")

    def tree(self, uuid: str) -> dict[str, Provider]:
        """The providers of one tree, by name."""
        return self._providers(f"/resource_providers?in_tree={uuid}")

    def provider(self, uuid: str) -> Provider:
        return self._fill(self._get(f"/resource_providers/{uuid}"))

    def inventories(self, uuid: str) -> dict[str, dict[str, Any]]:
        path = f"/resource_providers/{uuid}/inventories"
        found: dict[str, dict[str, Any]] = self._get(path)["inventories"]
        return found

    def traits(self, uuid: str) -> frozenset[str]:
        path = f"/resource_providers/{uuid}/traits"
        return frozenset(self._get(path)["traits"])

    def usages(self, uuid: str) -> dict[str, int]:
        path = f"/resource_providers/{uuid}/usages"
        found: dict[str, int] = self._get(path)["usages"]
        return found

    def consumers(self, uuid: str) -> list[str]:
        """The consumers with allocations on a provider."""
        path = f"/resource_providers/{uuid}/allocations"
        return list(self._get(path)["allocations"])

    def set_inventories(
        self, uuid: str, inventories: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Replace a provider's inventories; makes the classes."""
        for name in inventories:
            if name.startswith("CUSTOM_"):
                self._call("PUT", f"/resource_classes/{name}")
        self._put_under_generation(
            uuid, "inventories", {k: dict(v) for k, v in inventories.items()}
        )

    def set_traits(self, uuid: str, traits: Iterable[str]) -> None:
        """Replace a provider's traits; makes the custom ones."""
        wanted = sorted(traits)
        for name in wanted:
            if name.startswith("CUSTOM_"):
                self._call("PUT", f"/traits/{name}")
        self._put_under_generation(uuid, "traits", wanted)

    def create_class(self, name: str) -> None:
        """A custom resource class; harmless where it exists."""
        self._call("PUT", f"/resource_classes/{name}")

    def create_child(self, parent: str, name: str) -> str:
        """A child provider of somebody else's."""
        uuid = str(uuidlib.uuid4())
        body = {"name": name, "uuid": uuid, "parent_provider_uuid": parent}
        self._call("POST", "/resource_providers", body)
        return uuid

    def delete_provider(self, uuid: str) -> None:
        self._call("DELETE", f"/resource_providers/{uuid}")

    # Below them all

    def _providers(self, path: str) -> dict[str, Provider]:
        found = self._get(path)["resource_providers"]
        return {raw["name"]: self._fill(raw) for raw in found}

    def _fill(self, raw: Mapping[str, Any]) -> Provider:
        uuid = raw["uuid"]
        return Provider(
            uuid=uuid,
            name=raw["name"],
            generation=raw["generation"],
            parent=raw["parent_provider_uuid"],
            inventories=self.inventories(uuid),
            traits=self.traits(uuid),
            usages=self.usages(uuid),
        )

    def _put_under_generation(
        self, uuid: str, what: str, value: object
    ) -> None:
        """As everyone must: read the generation, write, again on a 409."""
        for _ in range(_ATTEMPTS):
            provider = self._get(f"/resource_providers/{uuid}")
            body = {
                what: value,
                "resource_provider_generation": provider["generation"],
            }
            path = f"/resource_providers/{uuid}/{what}"
            answer = self._send("PUT", path, body)
            if not _is_concurrent_update(answer):
                break
        _checked(answer)

    def _get(self, path: str) -> Any:
        return self._call("GET", path).json()

    def _call(
        self, method: str, path: str, body: object = None
    ) -> requests.Response:
        """Placement's own advice on concurrent updates is to try again."""
        for _ in range(_ATTEMPTS):
            answer = self._send(method, path, body)
            if not _is_concurrent_update(answer):
                break
        return _checked(answer)

    def _send(
        self, method: str, path: str, body: object = None
    ) -> requests.Response:
        more = {} if body is None else {"json": body}
        answer: requests.Response = self._adapter.request(
            path, method, raise_exc=False, **more
        )
        return answer


def _capacity(inventory: Mapping[str, Any]) -> int:
    free = inventory["total"] - inventory["reserved"]
    return int(free * inventory["allocation_ratio"])


def _group(
    suffix: str, resources: Resources, required: Iterable[str]
) -> dict[str, str]:
    """Query parameters of one request group; none for an empty one."""
    query = {}
    amounts = ",".join(f"{name}:{n}" for name, n in resources.items())
    if amounts:
        query[f"resources{suffix}"] = amounts
    traits = ",".join(required)
    if traits:
        query[f"required{suffix}"] = traits
    return query


def _candidate(request: Mapping[str, Any]) -> Candidate:
    return Candidate(
        {
            provider: dict(allocation["resources"])
            for provider, allocation in request["allocations"].items()
        }
    )


def _names_something_unknown(answer: requests.Response) -> bool:
    """To a VM's owner, Nova turns this 400 into NoValidHost."""
    return answer.status_code == 400 and any(
        words in answer.text
        for words in ("No such trait", "Invalid resource class")
    )


def _is_concurrent_update(answer: requests.Response) -> bool:
    return (
        answer.status_code == 409
        and "placement.concurrent_update" in answer.text
    )


def _checked(answer: requests.Response) -> requests.Response:
    if answer.status_code >= 400:
        raise Refused(answer)
    return answer
