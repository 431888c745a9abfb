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
"""The demo's Nova: makes the compute root and asks as the scheduler does."""

import time
import urllib.parse
import uuid
from collections.abc import Callable
from typing import Any

import openstack

from mig_placement.demo import placement_server
from mig_placement.placement import names
from mig_placement.placement import refusals

_PATIENCE = 20.0
_POLL = 0.005


class Cloud:
    """Reads and writes Placement through the SDK, as others do."""

    def __init__(self, url: str, root_name: str) -> None:
        self._adapter = openstack.connect(
            auth_type="admin_token",
            auth={"endpoint": url, "token": placement_server.ADMIN_TOKEN},
            placement_default_microversion=refusals.SERVICE.microversion,
            load_yaml_config=False,
            load_envvars=False,
        ).placement
        self._root_name = root_name
        self._root = str(uuid.uuid4())

    def create_root(self) -> None:
        """As nova-compute does when it starts."""
        body = {"name": self._root_name, "uuid": self._root}
        self._adapter.post("/resource_providers", json=body)
        self._adapter.put(
            f"/resource_providers/{self._root}/inventories",
            json={
                "resource_provider_generation": 0,
                "inventories": {
                    "VCPU": {"total": 64},
                    "MEMORY_MB": {"total": 262144},
                },
            },
        )

    def candidates(self, resource_class: str | None) -> int:
        """Hosts that Nova's scheduler would get for a flavor.

        :param resource_class: what one unit is asked of, as a generated
            flavor does; None is a VM without a GPU.
        """
        query = {"resources": "VCPU:1,MEMORY_MB:1024"}
        if resource_class:
            query["required"] = names.NODE_READY
            query["resources_MIG"] = f"{resource_class}:1"
        response = self._adapter.get(
            f"/allocation_candidates?{urllib.parse.urlencode(query)}",
            raise_exc=False,
        )
        # A class that nobody ever reported is a 400, and no host.
        answer = response.json() if response.status_code == 200 else {}
        return len(answer.get("allocation_requests", []))

    def inventories(self) -> dict[str, dict[str, Any]]:
        """Inventories of the first GPU's provider, by class."""
        answer = self._adapter.get(
            f"/resource_providers?in_tree={self._root}"
        ).json()
        for provider in answer["resource_providers"]:
            if names.is_gpu_provider(provider["name"], self._root_name):
                return dict(self._inventories(provider["uuid"]))
        return {}

    def _inventories(self, provider: str) -> Any:
        url = f"/resource_providers/{provider}/inventories"
        return self._adapter.get(url).json()["inventories"]

    def wait_for(
        self, resource_class: str, candidates: int, poll: float = _POLL
    ) -> float | None:
        """Seconds until that many candidates are there; None is never.

        :param poll: seconds between two looks, which Placement is busy with.
        """
        return _wait(
            lambda: self.candidates(resource_class) == candidates, poll
        )

    def wait_until_reserved(self) -> bool:
        """Whether the first GPU comes to be wholly reserved."""
        return _wait(self._is_reserved, _POLL) is not None

    def _is_reserved(self) -> bool:
        return all(
            each["reserved"] == each["total"]
            for each in self.inventories().values()
        )


def _wait(condition: Callable[[], bool], poll: float) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < _PATIENCE:
        if condition():
            return time.monotonic() - began
        time.sleep(poll)
    return None
