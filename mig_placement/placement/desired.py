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
"""What Placement should say, decided from the picture of the node alone."""

import collections.abc
import dataclasses
import enum

from mig_placement.geometry import functions
from mig_placement.geometry import layout
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model as hardware
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import nova_devices


class Scope(enum.StrEnum):
    """How far a mismatch of one GPU closes the gate."""

    NODE = "node"
    GPU = "gpu"


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """The operator's choices that shape what is reported.

    :ivar classes: resource class by profile, where not the derived one.
    :ivar traits: extra traits for every GPU provider.
    :ivar way: how VMs get their slices.
    """

    scope: Scope = Scope.NODE
    classes: collections.abc.Mapping[str, str] = dataclasses.field(
        default_factory=dict
    )
    traits: frozenset[str] = frozenset()
    way: functions.Way = dataclasses.field(default_factory=functions.Way)


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """The node and the verdict on it at one moment.

    :ivar node: None where it could not be observed; the verdict then has
        a finding for the node.
    :ivar label: the layout's label, where a layout is known.
    :ivar against: what ``weighed`` found, by the GPU's index.
    :ivar left_over: what Nova has of instances that are gone, in lines.
    :ivar wanted: what the verdict compared the node with.
    :ivar ailments: what XIDs made unfit.
    """

    verdict: verdicts.Verdict
    node: hardware.Node | None = None
    label: str | None = None
    against: collections.abc.Mapping[int, tuple[verdicts.Finding, ...]] = (
        dataclasses.field(default_factory=dict)
    )
    left_over: tuple[str, ...] = ()
    wanted: layout.NodeLayout | None = None
    ailments: frozenset[hardware.Ailment] = frozenset()

    @property
    def is_held(self) -> bool:
        """Whether an operator closed the node."""
        found = self.verdict.findings
        return any(each.reason is verdicts.Reason.HOLD for each in found)

    def gpu_verdict(self, gpu: hardware.Gpu) -> verdicts.GpuVerdict | None:
        return next(
            (each for each in self.verdict.gpus if each.index == gpu.index),
            None,
        )

    def units(self, gpu: hardware.Gpu) -> dict[str, int]:
        """Instances of a GPU fit to be offered, by profile."""
        judged = self.gpu_verdict(gpu)
        return dict(judged.units) if judged else {}

    def declares_mig(self, gpu: hardware.Gpu) -> bool:
        """Whether the layout gives the GPU instances."""
        judged = self.gpu_verdict(gpu)
        return (
            judged is not None
            and judged.declared
            and bool(judged.units or judged.findings)
        )


def blocking(
    gpu: hardware.Gpu | None, picture: Picture, scope: Scope
) -> tuple[verdicts.Finding, ...]:
    """Why a GPU is closed; empty where it is open.

    :param gpu: None is a GPU that Placement knows and the node has not.
    """
    own = _own_findings(gpu, picture)
    if picture.verdict.findings or own:
        return (*picture.verdict.findings, *own)
    if scope is Scope.NODE and not picture.verdict.matches:
        return (_OTHER_GPU,)
    return ()


_OTHER_GPU = verdicts.Finding(
    verdicts.Reason.OTHER_GPU, "another GPU of the node is not as declared"
)
_GONE = verdicts.Finding(
    verdicts.Reason.GPU_LOST, "Placement knows the GPU, the node has none"
)
_UNDECLARED = verdicts.Finding(
    verdicts.Reason.UNDECLARED, "the layout does not name it"
)
_NOT_JUDGED = verdicts.Finding(
    verdicts.Reason.STARTING, "not observed and compared yet"
)


def _own_findings(
    gpu: hardware.Gpu | None, picture: Picture
) -> tuple[verdicts.Finding, ...]:
    if gpu is None:
        return () if picture.node is None else (_GONE,)
    judged = picture.gpu_verdict(gpu)
    if judged is None:
        return () if picture.verdict.findings else (_NOT_JUDGED,)
    own = (*judged.findings, *picture.against.get(gpu.index, ()))
    if not judged.declared and not own:
        return (_UNDECLARED,)
    # With the last of its instances a GPU has nothing to be ready with.
    is_spent = judged.unfit and not any(picture.units(gpu).values())
    return own or (judged.unfit if is_spent else ())


def weighed(tree: model.Tree, picture: Picture, rules: Rules) -> Picture:
    """The picture with what Placement itself says against it; pure.

    A class in use that no profile of its GPU has any more, because
    [mapping] resource_classes was changed: those VMs hold instances that
    their new class would offer a second time. And functions that Nova has
    and the layout has not.
    """
    gpus = _gpus_by_provider(tree.root.name, picture.node)
    against = {
        gpu.index: (
            *_unmapped(gpu, tree.gpu(name), rules),
            *nova_devices.in_excess(
                tree, nova_devices.Card(gpu, picture.units(gpu)), rules.way
            ),
        )
        for name, gpu in gpus.items()
    }
    node = picture.node
    return dataclasses.replace(
        picture,
        against={k: v for k, v in against.items() if v},
        left_over=nova_devices.stale(tree, node, rules.classes)
        if node
        else (),
    )


def _unmapped(
    gpu: hardware.Gpu, provider: model.Provider | None, rules: Rules
) -> tuple[verdicts.Finding, ...]:
    used = {k: v for k, v in provider.used.items() if v} if provider else {}
    if not used or gpu.fault or not gpu.profiles:
        return ()
    known = {names.class_name(p, rules.classes) for p in _profiles(gpu)}
    held = [
        f"{units} of {name}"
        for name, units in sorted(used.items())
        if name not in known
    ]
    if not held:
        return ()
    return (
        verdicts.Finding(
            verdicts.Reason.CONFIG_INVALID,
            f"VMs hold {', '.join(held)}, which no profile of the GPU has as"
            " its class; delete those VMs, or put the class back into"
            " [mapping] resource_classes",
        ),
    )


def _profiles(gpu: hardware.Gpu) -> set[str]:
    """All that instances of the GPU may be offered as.

    Not only what exists: the geometry may have changed under the VMs.
    """
    return (
        {each.name for each in gpu.profiles}
        | {f"{n}c.{p.name}" for p in gpu.profiles for n in range(1, p.slices)}
        | {
            ci.profile
            for instance in gpu.instances
            for ci in instance.compute_instances
        }
    )


def desired(tree: model.Tree, picture: Picture, rules: Rules) -> model.Desired:
    """What the tree should be; pure.

    Every GPU that can do MIG has a provider. A provider of ours without
    its GPU stays, closed: Nova may have it cached, and deleting it breaks
    the host.
    """
    picture = weighed(tree, picture, rules)
    gpus = _gpus_by_provider(tree.root.name, picture.node)
    known = {provider.name: provider for provider in tree.gpus}
    providers = tuple(
        _provider(name, gpus.get(name), known.get(name), picture, rules)
        for name in sorted({*gpus, *known})
    )
    return model.Desired(
        root_ready=any(names.READY in each.traits for each in providers),
        gpus=providers,
        nova=_nova_devices(tree, gpus, providers, picture, rules),
    )


def _nova_devices(
    tree: model.Tree,
    gpus: collections.abc.Mapping[str, hardware.Gpu],
    providers: tuple[model.DesiredProvider, ...],
    picture: Picture,
    rules: Rules,
) -> tuple[model.DesiredProvider, ...]:
    is_open = {each.name: names.READY in each.traits for each in providers}
    if rules.way.attach is functions.Attach.MDEV:
        cards = [
            nova_devices.Card(gpu, picture.units(gpu))
            for name, gpu in gpus.items()
            if is_open[name]
        ]
        return nova_devices.marked(tree, cards, rules.way, rules.classes)
    if rules.way.attach is functions.Attach.VFIO:
        blocked = {name: not ready for name, ready in is_open.items()}
        own = {name for name, gpu in gpus.items() if picture.declares_mig(gpu)}
        return nova_devices.guarded(tree, blocked, own)
    return ()


def _gpus_by_provider(
    root_name: str, node: hardware.Node | None
) -> dict[str, hardware.Gpu]:
    return {
        names.provider_name(root_name, gpu.pci_address): gpu
        for gpu in (node.gpus if node else ())
        if gpu.mig_capable and gpu.pci_address
    }


def _provider(
    name: str,
    gpu: hardware.Gpu | None,
    current: model.Provider | None,
    picture: Picture,
    rules: Rules,
) -> model.DesiredProvider:
    current = current or model.Provider(uuid="", name=name, generation=0)
    findings = blocking(gpu, picture, rules.scope)
    inventories, waiting = _inventories(gpu, current, picture, rules)
    if findings:
        inventories = {k: v.closed() for k, v in inventories.items()}
    kept = {t for t in current.traits if not names.is_ours(t)}
    return model.DesiredProvider(
        name=name,
        inventories=inventories,
        traits=frozenset(kept)
        | _describing(gpu, current, picture)
        | _gate_traits(findings)
        | _unfit_traits(gpu, picture)
        | rules.traits,
        waiting=waiting,
    )


def _inventories(
    gpu: hardware.Gpu | None,
    current: model.Provider,
    picture: Picture,
    rules: Rules,
) -> tuple[dict[str, model.Inventory], frozenset[str]]:
    """Inventories of an open provider, and the classes that only wait."""
    judged = picture.gpu_verdict(gpu) if gpu and not gpu.fault else None
    if judged is None:
        # Nothing is known of what exists now: keep the classes, closed.
        return {k: v.closed() for k, v in current.inventories.items()}, (
            frozenset()
        )
    offered = {
        names.class_name(profile, rules.classes): model.Inventory(
            total=count, max_unit=count
        )
        for profile, count in judged.units
        # One class is never on a provider of ours and of Nova's.
        if count and rules.way.attach is not functions.Attach.MDEV
    }
    waiting = {
        name: inventory.closed()
        for name, inventory in current.inventories.items()
        if name not in offered and current.used.get(name)
    }
    return {**offered, **waiting}, frozenset(waiting)


def _describing(
    gpu: hardware.Gpu | None, current: model.Provider, picture: Picture
) -> frozenset[str]:
    if gpu is None or gpu.fault or picture.node is None:
        return frozenset(t for t in current.traits if names.is_describing(t))
    return names.describing(gpu, picture.node.driver_version, picture.label)


def _unfit_traits(
    gpu: hardware.Gpu | None, picture: Picture
) -> frozenset[str]:
    judged = picture.gpu_verdict(gpu) if gpu else None
    found = judged.unfit if judged else ()
    return frozenset(names.unfit(each.reason) for each in found)


def _gate_traits(
    findings: collections.abc.Iterable[verdicts.Finding],
) -> frozenset[str]:
    reasons = {names.blocked(finding.reason) for finding in findings}
    return frozenset({names.OWNER} | (reasons or {names.READY}))
