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
"""Topic "fleet": what reading a whole fleet takes."""

import collections.abc
import itertools
import time
import uuid
from typing import Any

import openstack

from bench import figure
from mig_placement.demo import placement_server
from mig_placement.placement import client as clients
from mig_placement.placement import fleet
from mig_placement.placement import fleet_reader
from mig_placement.placement import names
from mig_placement.placement import refusals

_GPUS = 8
_CLASS = "CUSTOM_MIG_1G_5GB"
_LAYOUT = f"{names.LAYOUT}ALL_1G_5GB"
# Those in bulk: four, one layout, one reason.
_BULK = 6
# Of the nodes, one in so many is blocked.
_BLOCKED = 20


class _Counting:
    """An adapter that counts what goes through it."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self._numbers = itertools.count(1)
        self.count = 0

    def request(self, url: str, method: str, **kwargs: Any) -> Any:
        self.count = next(self._numbers)
        return self._adapter.request(url, method, **kwargs)


def report(options: figure.Options) -> figure.Report:
    """Of as many nodes as asked for, which are written first."""
    with placement_server.PlacementProcess() as placement:
        adapter = _adapter(placement.url)
        _make(adapter, options.nodes)
        return figure.Report(tuple(_figures(adapter, options.nodes)))


def _adapter(url: str) -> Any:
    return openstack.connect(
        auth_type="admin_token",
        auth={"endpoint": url, "token": placement_server.ADMIN_TOKEN},
        placement_default_microversion=refusals.SERVICE.microversion,
        load_yaml_config=False,
        load_envvars=False,
    ).placement


def _make(adapter: Any, nodes: int) -> None:
    """Nodes as agents leave them, one in twenty on hold."""
    blocked = names.blocked("HOLD")
    for name in (names.OWNER, names.READY, names.NODE_READY, _LAYOUT, blocked):
        adapter.put(f"/traits/{name}")
    adapter.put(f"/resource_classes/{_CLASS}")
    for number in range(nodes):
        is_open = number % _BLOCKED != 0
        traits = [names.NODE_READY] if is_open else []
        root = _provider(adapter, f"gpu{number}.example.org", traits)
        gate = names.READY if is_open else blocked
        for gpu in range(_GPUS):
            name = names.provider_name(
                f"gpu{number}.example.org", f"0000:{0x41 + gpu:02x}:00.0"
            )
            made = _provider(adapter, name, [names.OWNER, _LAYOUT, gate], root)
            _stock(adapter, made, reserved=0 if is_open else 7)


def _provider(
    adapter: Any, name: str, traits: list[str], parent: str | None = None
) -> str:
    made = str(uuid.uuid4())
    body = {"name": name, "uuid": made}
    more = {"parent_provider_uuid": parent} if parent else {}
    adapter.post("/resource_providers", json={**body, **more})
    adapter.put(
        f"/resource_providers/{made}/traits",
        json={"resource_provider_generation": 0, "traits": traits},
    )
    return made


def _stock(adapter: Any, provider: str, reserved: int) -> None:
    units = {"total": 7, "max_unit": 7, "reserved": reserved}
    adapter.put(
        f"/resource_providers/{provider}/inventories",
        json={
            "resource_provider_generation": 1,
            "inventories": {_CLASS: units},
        },
    )


def _figures(
    adapter: Any, nodes: int
) -> collections.abc.Iterator[figure.Figure]:
    counting = _Counting(adapter)
    reader = fleet_reader.Reader(clients.Client(counting))
    started = time.perf_counter()
    found = reader.read()
    seconds = time.perf_counter() - started
    assert len(found.nodes) == nodes
    yield figure.Figure(
        f"fleet of {nodes} nodes with {_GPUS} GPUs, for each node",
        (counting.count - _BULK) / nodes,
        "requests",
        goal=2 * _GPUS,
    )
    yield figure.Figure(f"fleet of {nodes} nodes", seconds, "s")
    before = counting.count
    blocked = reader.read(fleet.Filter(blocked=True))
    yield figure.Figure(
        f"fleet --blocked, {len(blocked.nodes)} of {nodes} nodes",
        counting.count - before,
        "requests",
        goal=_BULK + 2 * len(blocked.gpus),
    )
