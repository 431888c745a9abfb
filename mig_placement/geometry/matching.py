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
"""Which of the instances that exist is which declared one; pure."""

import collections.abc
import dataclasses
import functools

from mig_placement.geometry import instances
from mig_placement.geometry import profile_name
from mig_placement.hardware import model

Pair = tuple[instances.DeclaredInstance, model.GpuInstance]


@dataclasses.dataclass(frozen=True, slots=True)
class Matching:
    """As many pairs as can be, and what is left on either side."""

    pairs: tuple[Pair, ...]
    missing: tuple[instances.DeclaredInstance, ...]
    extra: tuple[model.GpuInstance, ...]


def match(
    declared: collections.abc.Iterable[instances.DeclaredInstance],
    observed: collections.abc.Iterable[model.GpuInstance],
) -> Matching:
    """Pair declared with observed instances of the same profile.

    The number of pairs is the largest possible; of such matchings it has
    the most declared placements paired with what lies there, and of those
    the most pairs whose compute instances are as declared. Three passes
    are exact: only one instance can lie at a declared placement; those
    without a placement may be any; and equality of compute instances
    divides these into classes.
    """
    left = _Left(list(declared), list(observed))
    left.pair(_placed_there)
    left.pair(_free_and_alike)
    left.pair(_free)
    return Matching(
        tuple(left.pairs), tuple(left.declared), tuple(left.observed)
    )


class _Left:
    """What has no partner yet, and the pairs."""

    def __init__(
        self,
        declared: list[instances.DeclaredInstance],
        observed: list[model.GpuInstance],
    ) -> None:
        self.declared = declared
        self.observed = observed
        self.pairs: list[Pair] = []

    def pair(
        self,
        suits: collections.abc.Callable[
            [instances.DeclaredInstance, model.GpuInstance], bool
        ],
    ) -> None:
        alone = []
        for each in self.declared:
            for at, instance in enumerate(self.observed):
                if instance.profile == each.profile and suits(each, instance):
                    del self.observed[at]
                    self.pairs.append((each, instance))
                    break
            else:
                alone.append(each)
        self.declared = alone


def _placed_there(
    declared: instances.DeclaredInstance, observed: model.GpuInstance
) -> bool:
    return declared.placement == observed.placement


def _free_and_alike(
    declared: instances.DeclaredInstance, observed: model.GpuInstance
) -> bool:
    return declared.placement is None and has_declared_cis(declared, observed)


def _free(
    declared: instances.DeclaredInstance, observed: model.GpuInstance
) -> bool:
    return declared.placement is None


def has_declared_cis(
    declared: instances.DeclaredInstance, observed: model.GpuInstance
) -> bool:
    """Whether the compute instances are as declared, or not asked for."""
    wanted = declared.compute_instances
    return wanted is None or sorted(wanted) == sorted(ci_names(observed))


def ci_names(instance: model.GpuInstance) -> tuple[str, ...]:
    """The compute instances' profiles, named as in a layout."""
    return tuple(
        _ci_name(instance.profile, ci.profile)
        for ci in instance.compute_instances
    )


@functools.lru_cache(maxsize=256)
def _ci_name(gi_profile: str, ci_profile: str) -> str:
    """NVML's name of a CI may lack its GI's attributes."""
    try:
        compute = profile_name.parse(ci_profile).compute
    except ValueError:
        return ci_profile
    return f"{compute}c.{gi_profile}" if compute else gi_profile
