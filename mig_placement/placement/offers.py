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

"""Which resource classes the nodes have, whether they are free or not."""

import collections.abc

from mig_placement.placement import client as clients
from mig_placement.placement import names


def offered(
    client: clients.Client, classes: collections.abc.Iterable[str]
) -> frozenset[str]:
    """Those of the classes that some provider has an inventory of.

    What has room is found with one request for each class. The rest may
    be in use or behind a closed gate: for those the trees that we have a
    provider in are walked, until all are found.

    :raises PlacementError: Placement cannot be read.
    """
    wanted = frozenset(classes) & client.classes()
    found = {name for name in wanted if client.with_room(name)}
    if found != wanted:
        found |= _in_our_trees(client, wanted - found)
    return frozenset(found)


def _in_our_trees(client: clients.Client, wanted: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for uuid in _children(client):
        found.update(wanted.intersection(client.inventories(uuid)))
        if found == wanted:
            break
    return found


def _children(client: clients.Client) -> collections.abc.Iterator[str]:
    """Our providers, and Nova's beside them."""
    if names.OWNER not in client.known_traits({names.OWNER}):
        return
    roots = {gpu.parent_uuid for gpu in client.with_trait(names.OWNER)}
    for root in sorted(uuid for uuid in roots if uuid):
        for provider in client.tree(root):
            if provider.parent_uuid:
                yield provider.uuid
