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
"""The rest of the cloud: Nova's compute roots, and VMs being scheduled."""

import collections.abc
import contextlib
import dataclasses
import random
import threading
import time
import uuid
from typing import Any

from keystoneauth1 import adapter
from keystoneauth1 import session
from keystoneauth1 import token_endpoint

from mig_placement.demo import placement_server
from mig_placement.placement import names

_SPACE = uuid.UUID("6a2f4c0e-58d1-4b39-9c77-0f3a6d1e8b25")
# Of Nova's [scheduler] max_placement_results.
_MOST_RESULTS = 1000
# Those that are there at a time; an older one is deleted for a new one.
_MOST_VMS = 20
_VERSION = "1.36"
_CLASS = "CUSTOM_MIG_1G_5GB"


def root_name(number: int) -> str:
    return f"gpu{number}.example.org"


def root_uuid(number: int) -> str:
    return str(uuid.uuid5(_SPACE, root_name(number)))


def make_roots(url: str, count: int) -> None:
    """As nova-compute does on each host."""
    api = _adapter(url)
    for number in range(count):
        made = root_uuid(number)
        api.post(
            "/resource_providers",
            json={"name": root_name(number), "uuid": made},
        )
        api.put(
            f"/resource_providers/{made}/inventories",
            json={
                "resource_provider_generation": 0,
                "inventories": {
                    "VCPU": {"total": 64},
                    "MEMORY_MB": {"total": 262144},
                },
            },
        )


def open_nodes(url: str) -> int:
    """Nodes that a flavor of ours may be scheduled to."""
    answer = _adapter(url).get(
        f"/resource_providers?required={names.NODE_READY}"
    )
    return len(answer.json()["resource_providers"])


def _adapter(url: str) -> adapter.Adapter:
    return adapter.Adapter(
        session.Session(
            auth=token_endpoint.Token(url, placement_server.ADMIN_TOKEN)
        ),
        service_type="placement",
        endpoint_override=url,
        default_microversion=_VERSION,
        raise_exc=False,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Vm:
    """A VM that got its slice.

    :ivar at: monotonic seconds.
    :ivar root: the node's root.
    """

    at: float
    root: str


class Scheduler:
    """Schedules VMs of one slice each, as Nova does, one after another.

    :param rate: VMs per second that it tries for.
    """

    def __init__(self, url: str, rate: float) -> None:
        self._api = _adapter(url)
        self._period = 1 / rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._there: list[str] = []
        self.vms: list[Vm] = []
        self.requests = 0
        self.without_host = 0
        self.refused = 0

    @contextlib.contextmanager
    def running(self) -> collections.abc.Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            self._thread.join()
            for consumer in self._there:
                self._request("DELETE", f"/allocations/{consumer}")

    def _run(self) -> None:
        while not self._stopping.wait(self._period):
            # A Placement that restarts is no reason to give up.
            with contextlib.suppress(Exception):
                self._schedule()

    def _schedule(self) -> None:
        found = self._candidates()
        if not found:
            self.without_host += 1
            return
        chosen = random.choice(found)
        consumer = str(uuid.uuid4())
        body = {
            **chosen,
            "consumer_generation": None,
            "project_id": "bench",
            "user_id": "bench",
        }
        answer = self._request("PUT", f"/allocations/{consumer}", json=body)
        if answer.status_code != 204:
            self.refused += 1
            return
        self._keep(consumer, chosen)

    def _keep(self, consumer: str, chosen: Any) -> None:
        self._there.append(consumer)
        root = next(
            uuid
            for uuid, asked in chosen["allocations"].items()
            if "VCPU" in asked["resources"]
        )
        self.vms.append(Vm(time.monotonic(), root))
        if len(self._there) > _MOST_VMS:
            self._request("DELETE", f"/allocations/{self._there.pop(0)}")

    def _candidates(self) -> list[Any]:
        answer = self._request(
            "GET",
            "/allocation_candidates?resources=VCPU:1,MEMORY_MB:1024"
            f"&required={names.NODE_READY}&resources_MIG={_CLASS}:1"
            f"&limit={_MOST_RESULTS}",
        )
        if answer.status_code != 200:
            return []
        return list(answer.json()["allocation_requests"])

    def _request(self, method: str, url: str, **kwargs: Any) -> Any:
        self.requests += 1
        return self._api.request(url, method, **kwargs)
