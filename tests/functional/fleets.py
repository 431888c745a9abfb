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

"""Fleets for tests, written to a real Placement as agents write them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mig_placement.placement import names
from tests.functional import cloud as clouds

SMALL = "CUSTOM_MIG_1G_5GB"
LARGE = "CUSTOM_MIG_3G_20GB"


@dataclasses.dataclass
class Builder:
    """Makes nodes of one GPU each."""

    cloud: clouds.Cloud

    def node(
        self,
        name: str,
        classes: Mapping[str, int],
        *,
        reasons: tuple[str, ...] = (),
        layout: str = "all-1g.5gb",
        ready: bool = True,
    ) -> str:
        """Closed where there are reasons.

        :returns: the GPU provider's uuid.
        """
        is_open = ready and not reasons
        own = (names.NODE_READY,) if is_open else ()
        root = self.cloud.create_root(name, traits=("COMPUTE_NODE", *own))
        return self.gpu(root, name, classes, reasons=reasons, layout=layout)

    def gpu(
        self,
        root: str,
        name: str,
        classes: Mapping[str, int],
        *,
        reasons: tuple[str, ...] = (),
        layout: str = "all-1g.5gb",
        address: str = "0000:41:00.0",
    ) -> str:
        gpu = self.cloud.create_child(root, names.provider_name(name, address))
        inventories = {
            each: _inventory(total, closed=bool(reasons))
            for each, total in classes.items()
        }
        self.cloud.set_inventories(gpu, inventories)
        gate = [names.blocked(each) for each in reasons] or [names.READY]
        label = f"{names.LAYOUT}{names.layout_symbol(layout)}"
        self.cloud.set_traits(gpu, [names.OWNER, label, *gate])
        return gpu


def _inventory(total: int, *, closed: bool) -> dict[str, Any]:
    reserved = total if closed else 0
    return {"total": total, "max_unit": total, "reserved": reserved}
