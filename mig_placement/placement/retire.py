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
"""From a provider that is of no more use to none at all; pure.

A child that Nova has cached must not be deleted: every build on the host
fails until Nova reads its tree again. So a provider is emptied, taken from
under its root, left alone for longer than Nova's cache lasts, and only
then deleted; and never one that VMs have allocations of.
"""

import collections.abc
import dataclasses

from mig_placement.hardware import model as hardware
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import plan

# Of Nova's refresh: it notes the time of one after its last request, and
# a busy host is late.
_MARGIN_FACTOR = 1.2
_MARGIN = 5.0
NEVER = float("inf")


@dataclasses.dataclass(frozen=True, slots=True)
class Delete:
    """Delete a provider; Placement refuses where it is in use."""

    provider: model.Provider

    def request(self) -> plan.Request:
        url = f"/resource_providers/{self.provider.uuid}"
        return plan.Request("DELETE", url)

    def __str__(self) -> str:
        return f"delete provider {self.provider.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Keep:
    """VMs have allocations; the provider stays, wholly reserved."""

    provider: model.Provider

    def __str__(self) -> str:
        return f"VMs hold {held(self.provider)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Nova may have it cached for so long (seconds)."""

    provider: model.Provider
    seconds: float

    def __str__(self) -> str:
        if self.seconds == NEVER:
            return "delete it when nova-compute was restarted"
        return f"delete it in {self.seconds:.0f} s"


@dataclasses.dataclass(frozen=True, slots=True)
class Back:
    """Somebody put it back under a root: it is wanted again."""

    provider: model.Provider

    def __str__(self) -> str:
        return (
            "it was put back under a root: stop the agent of that host, and"
            " begin again"
        )


Write = plan.PutInventories | plan.PutParent | Delete
Left = Keep | Wait | Back
Step = Write | Keep | Wait


def held(provider: model.Provider) -> str:
    """What VMs hold of a provider; empty where nothing."""
    return ", ".join(
        f"{units} of {name}"
        for name, units in sorted(provider.used.items())
        if units
    )


def wait(nova_refresh: float) -> float:
    """How long to wait for Nova to forget a provider (seconds).

    :param nova_refresh: nova.conf's [compute]
        resource_provider_association_refresh; 0 is never.
    """
    return nova_refresh * _MARGIN_FACTOR + _MARGIN if nova_refresh else NEVER


def next_step(provider: model.Provider, waited: float, needed: float) -> Step:
    """What is to be done with a provider that is to be retired.

    :param waited: seconds since it was taken from under its root.
    :param needed: seconds that it has to wait so.
    """
    if any(provider.used.values()):
        return kept(provider)
    if provider.inventories:
        return plan.PutInventories(plan.Stage.CLOSE, provider, {})
    if provider.parent_uuid is not None:
        return plan.PutParent(plan.Stage.CLOSE, provider, None)
    if waited < needed:
        return Wait(provider, needed - waited)
    return Delete(provider)


def kept(provider: model.Provider) -> plan.PutInventories | Keep:
    """What keeps a provider's classes, and offers none of them."""
    closed = {k: v.closed() for k, v in provider.inventories.items()}
    if closed == provider.inventories:
        return Keep(provider)
    return plan.PutInventories(plan.Stage.CLOSE, provider, closed)


def gone(tree: model.Tree, node: hardware.Node) -> tuple[model.Provider, ...]:
    """GPU providers under the root whose GPU is not in the node any more.

    A GPU that does not answer is in the node; one that does not even tell
    its address may be any of them.
    """
    if not all(gpu.pci_address for gpu in node.gpus):
        return ()
    there = {
        names.provider_name(tree.root.name, gpu.pci_address)
        for gpu in node.gpus
        if gpu.mig_capable or gpu.fault
    }
    return tuple(each for each in tree.gpus if each.name not in there)


def of_host(
    providers: collections.abc.Iterable[model.Provider], root_name: str
) -> tuple[model.Provider, ...]:
    """Those of a host's GPUs, under its root or not.

    :param providers: that carry our owner trait. By its name alone a host
        may be called as another one's GPU provider is.
    """
    found = (p for p in providers if names.is_gpu_provider(p.name, root_name))
    return tuple(sorted(found, key=lambda each: each.name))
