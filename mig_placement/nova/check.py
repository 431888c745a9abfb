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
"""What is in nova.conf against what the layout needs; pure."""

import collections.abc

from mig_placement.nova import check_mdev
from mig_placement.nova import check_pci
from mig_placement.nova import config_files
from mig_placement.nova import difference
from mig_placement.nova import needed

Difference = difference.Difference


def check(
    config: needed.NovaConfig,
    found: config_files.Found,
    parts: collections.abc.Set[needed.Part] = needed.BOTH,
) -> tuple[Difference, ...]:
    """Every difference, silent ones among them; empty where all is well."""
    return tuple(_differences(config, found, parts))


def _differences(
    config: needed.NovaConfig,
    found: config_files.Found,
    parts: collections.abc.Set[needed.Part],
) -> collections.abc.Iterator[Difference]:
    if needed.Part.COMPUTE in parts:
        yield from check_mdev.differences(config, found)
        yield from check_pci.of_compute(config, found)
    if needed.Part.SCHEDULER in parts:
        yield from check_pci.of_scheduler(config, found)
    yield from check_pci.of_both(config, found)
