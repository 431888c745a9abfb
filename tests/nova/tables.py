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
"""What Placement's tables say of a host, in a fraction of its API's time."""

import collections
import contextlib
import pathlib
import sqlite3
from collections.abc import Iterable
from typing import Any

from tests.functional import cloud as clouds

_PROVIDERS = """
select provider.id, provider.uuid, provider.name, provider.generation,
       parent.uuid
from resource_providers provider
join resource_providers root on root.id = provider.root_provider_id
left join resource_providers parent on parent.id = provider.parent_provider_id
where root.name = ?
"""
_INVENTORIES = """
select resource_provider_id, class.name, total, reserved, allocation_ratio
from inventories
join resource_classes class on class.id = resource_class_id
"""
_TRAITS = """
select resource_provider_id, traits.name from resource_provider_traits
join traits on traits.id = trait_id
"""
_USAGES = """
select resource_provider_id, class.name, sum(used) from allocations
join resource_classes class on class.id = resource_class_id
group by resource_provider_id, class.name
"""
_FIELDS = ("total", "reserved", "allocation_ratio")


def tree(database: pathlib.Path, root_name: str) -> dict[str, clouds.Provider]:
    """The providers below a root and itself, by name; none without it.

    :param database: Placement's SQLite file.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as opened:
        # All of one moment.
        opened.execute("begin")
        inventories = _by_provider(
            (id_, (name, dict(zip(_FIELDS, fields, strict=True))))
            for id_, name, *fields in opened.execute(_INVENTORIES)
        )
        traits = _by_provider(opened.execute(_TRAITS))
        usages = _by_provider(
            (id_, (name, used)) for id_, name, used in opened.execute(_USAGES)
        )
        return {
            name: clouds.Provider(
                uuid=uuid,
                name=name,
                generation=generation,
                parent=parent,
                inventories=dict(inventories[id_]),
                traits=frozenset(traits[id_]),
                usages=dict(usages[id_]),
            )
            for id_, uuid, name, generation, parent in opened.execute(
                _PROVIDERS, [root_name]
            )
        }


def names(database: pathlib.Path) -> dict[str, str]:
    """The names of all providers, by uuid."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as opened:
        return dict(
            opened.execute("select uuid, name from resource_providers")
        )


def _by_provider(
    rows: Iterable[tuple[int, Any]],
) -> collections.defaultdict[int, list[Any]]:
    found: collections.defaultdict[int, list[Any]] = collections.defaultdict(
        list
    )
    for provider, value in rows:
        found[provider].append(value)
    return found
