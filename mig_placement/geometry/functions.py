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
"""Which virtual function carries which vGPU type, and should; pure."""

import collections
import collections.abc
import dataclasses
import enum

from mig_placement import exception
from mig_placement.geometry import layout as layouts
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model

Overrides = collections.abc.Mapping[str, str]
# Addresses in one line.
_SHOWN = 3


class Attach(enum.StrEnum):
    """How a VM gets its slice: [nova] attach."""

    NONE = "none"
    MDEV = "mdev"
    VFIO = "vfio"


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """The way of attaching, with the operator's choices.

    :ivar vgpu_types: vGPU type names by profile.
    """

    attach: Attach = Attach.NONE
    vgpu_types: Overrides = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What one virtual function is for.

    :ivar profile: of the GPU instance that its vGPU is to have.
    """

    pci_address: str
    profile: str
    vgpu_type: model.VgpuType


def needs_functions(declared: layouts.GpuLayout, way: Way) -> bool:
    """Whether a GPU's layout can be attached through functions alone."""
    return (
        way.attach is not Attach.NONE
        and declared.mig_enabled
        and bool(declared.instances)
    )


def wanted(
    gpu: model.Gpu, declared: layouts.GpuLayout, overrides: Overrides
) -> tuple[Wanted, ...]:
    """The functions that a GPU's layout needs: as many as GPU instances.

    Always the lowest ones, profile by profile in the order of their names,
    so that nova.conf stays right over reboots.

    :param overrides: vGPU type names by profile.
    :raises LayoutError: a profile has no vGPU type, or there are more
        instances than functions.
    """
    counts = collections.Counter(each.profile for each in declared.instances)
    if not counts:
        return ()
    profiles = sorted(counts.elements())
    if gpu.sriov is None or gpu.sriov.total < len(profiles):
        total = gpu.sriov.total if gpu.sriov else 0
        raise exception.LayoutError(
            f"{len(profiles)} instances need as many virtual functions, and"
            f" it has {total}",
            where=str(gpu),
            mend="switch SR-IOV on in the firmware, or set [nova] attach"
            " = none",
        )
    types = {each: vgpu_type(gpu, each, overrides) for each in counts}
    # Not strict: there may be more functions than instances.
    return tuple(
        Wanted(address, name, types[name])
        for address, name in zip(addresses(gpu), profiles, strict=False)
    )


def addresses(gpu: model.Gpu) -> tuple[str, ...]:
    """Of all functions that a GPU has, or will have with SR-IOV on."""
    if gpu.sriov is None:
        return ()
    sriov = gpu.sriov
    return tuple(
        sriov.functions[index].pci_address
        if index < len(sriov.functions)
        else model.function_address(
            gpu.pci_address, sriov.offset + index * sriov.stride
        )
        for index in range(max(sriov.total, len(sriov.functions)))
    )


def needed(
    gpu: model.Gpu, declared: layouts.GpuLayout, way: Way
) -> tuple[Wanted, ...]:
    """As ``wanted``, proven to be attachable in a way.

    :raises LayoutError: it is not.
    """
    if not needs_functions(declared, way):
        return ()
    _check_undivided(gpu, declared)
    if way.attach is Attach.VFIO:
        _check_one_profile(gpu, declared)
    return wanted(gpu, declared, way.vgpu_types)


def _check_one_profile(gpu: model.Gpu, declared: layouts.GpuLayout) -> None:
    """Refuse what Nova cannot have where it passes functions through.

    It has one provider for all functions of a GPU, and nova-compute does
    not start where they differ in class or traits
    (PlacementPciMixedResourceClassException).

    :raises LayoutError: the GPU is to have more than one profile.
    """
    profiles = sorted({each.profile for each in declared.instances})
    if len(profiles) > 1:
        raise exception.LayoutError(
            f"{' and '.join(profiles)} on one GPU: with [nova] attach = vfio"
            " Nova takes one class for all functions of a GPU",
            where=str(gpu),
            mend="declare one profile for each GPU, or set attach = mdev",
        )


def check_types_backed(
    profiles: collections.abc.Container[str], overrides: Overrides
) -> None:
    """Refuse a vGPU type for instances that nobody is going to make.

    :param profiles: of the node's layout.
    :raises ConfigError: the layout has none of an override's profile.
    """
    for profile, name in sorted(overrides.items()):
        if profile not in profiles:
            raise exception.ConfigError(
                f"vGPU type {name} is for {profile}, and the layout of this"
                " node has no such instance",
                where="[nova] vgpu_types",
                mend=f"declare {profile} in the layout, or take it out",
            )


def unfit(
    gpu: model.Gpu,
    attach: Attach,
    need: collections.abc.Iterable[Wanted],
) -> str:
    """Why the host's kernel cannot attach these; empty where it can.

    Also empty while SR-IOV is off: what has no functions shows no bus and
    no driver.
    """
    if attach is Attach.NONE or gpu.sriov is None or not gpu.sriov.functions:
        return ""
    have = {each.pci_address: each for each in gpu.sriov.functions}
    for each in need:
        function = have.get(each.pci_address)
        if function is None:
            return f"{gpu} has no function {each.pci_address}"
        why = _unfit(function, attach, each.vgpu_type)
        if why:
            return f"{each.pci_address} has {why}, which {attach} needs"
    return ""


def _unfit(
    function: model.VirtualFunction,
    attach: Attach,
    wanted_type: model.VgpuType,
) -> str:
    if attach is Attach.VFIO:
        return "" if function.is_variant else "no VFIO variant driver"
    if not function.mdev_types:
        return "no mdev bus"
    if wanted_type.type_id not in function.mdev_types:
        return f"no mdev type nvidia-{wanted_type.type_id}"
    return ""


def vgpu_type(
    gpu: model.Gpu, profile: str, overrides: Overrides
) -> model.VgpuType:
    """The vGPU type of a profile.

    By default one that has the GPU instance for itself: a compute type
    before others, and of those the one with the most memory.

    :raises LayoutError: there is none, or the configured one is another
        profile's.
    """
    of_profile = [each for each in gpu.vgpu_types if each.profile == profile]
    name = overrides.get(profile)
    if name is not None:
        of_profile = [each for each in of_profile if each.name == name]
        if not of_profile:
            raise _no_such_type(gpu, profile, name)
    if not of_profile:
        raise exception.LayoutError(
            f"the driver has no vGPU type for {profile}",
            where=str(gpu),
            mend="install NVIDIA's vGPU host driver, or set [nova] attach"
            " = none",
        )
    return min(of_profile, key=_preference)


def _preference(each: model.VgpuType) -> tuple[bool, bool, int, str]:
    return (
        each.max_per_instance != 1,
        not each.name.endswith("C"),
        -each.framebuffer_mib,
        each.name,
    )


def _no_such_type(
    gpu: model.Gpu, profile: str, name: str
) -> exception.LayoutError:
    names = sorted(e.name for e in gpu.vgpu_types if e.profile == profile)
    other = [e.profile for e in gpu.vgpu_types if e.name == name]
    why = f"needs {other[0]}" if other else "is none of the driver's"
    return exception.LayoutError(
        f"vGPU type {name} for {profile} {why} on {gpu}",
        where="[nova] vgpu_types",
        mend=f"use one of {', '.join(names)}" if names else "take it out",
    )


def _check_undivided(gpu: model.Gpu, declared: layouts.GpuLayout) -> None:
    """:raises LayoutError: a GPU instance is divided on the host."""
    for each in declared.instances:
        if each.compute_instances and each.compute_instances != (
            each.profile,
        ):
            raise exception.LayoutError(
                f"{each.profile} is divided into"
                f" {', '.join(each.compute_instances)}, and a VM gets whole"
                " GPU instances only",
                where=str(gpu),
                mend="leave the compute instances to the guest, or set"
                " [nova] attach = none",
            )


def judge(
    verdict: verdicts.Verdict,
    node: model.Node,
    layout: layouts.NodeLayout,
    way: Way,
) -> verdicts.Verdict:
    """The verdict with what is amiss with the functions.

    :raises ConfigError: there is a vGPU type for no instance.
    :raises LayoutError: the layout cannot be attached in this way.
    """
    if way.attach is Attach.NONE:
        return verdict
    profiles = {
        each.profile for gpu in layout.gpus.values() for each in gpu.instances
    }
    check_types_backed(profiles, way.vgpu_types)
    gpus = {gpu.index: gpu for gpu in node.gpus}
    return dataclasses.replace(
        verdict,
        gpus=tuple(
            _judged(each, gpus[each.index], layout.gpus[each.index], way)
            if each.index in layout.gpus
            else each
            for each in verdict.gpus
        ),
    )


def _judged(
    judged: verdicts.GpuVerdict,
    gpu: model.Gpu,
    declared: layouts.GpuLayout,
    way: Way,
) -> verdicts.GpuVerdict:
    # Nova and the driver choose the instance: it may be the unfit one.
    found = (*judged.findings, *judged.unfit, *findings(gpu, declared, way))
    return dataclasses.replace(judged, findings=found, unfit=())


def findings(
    gpu: model.Gpu, declared: layouts.GpuLayout, way: Way
) -> tuple[verdicts.Finding, ...]:
    """What is amiss with a GPU's functions.

    :raises LayoutError: the layout cannot be attached in this way.
    """
    if gpu.fault or not needs_functions(declared, way):
        return ()
    need = needed(gpu, declared, way)
    if gpu.sriov is None or not gpu.sriov.functions:
        return (
            verdicts.Finding(
                verdicts.Reason.SRIOV_DISABLED,
                "SR-IOV is off, so that there is no virtual function",
            ),
        )
    why = unfit(gpu, way.attach, need)
    if why:
        return (verdicts.Finding(verdicts.Reason.ATTACH_UNSUPPORTED, why),)
    return _untyped(gpu, need) if way.attach is Attach.VFIO else ()


def occupied(gpu: model.Gpu, need: collections.abc.Collection[Wanted]) -> str:
    """What the operator has to take away first; empty where nothing is.

    The driver gives no type to a function that has one (EPERM), and whose a
    type without GPU instance is nobody tells: NVML knows running VMs alone.
    While MIG is off, any such vGPU is in the way of it.
    """
    backed = {each.type_id for each in gpu.vgpu_types}
    ours = {each.pci_address for each in need}
    amiss = [
        address
        for address, each in _by_address(gpu).items()
        if each.current_type
        and each.current_type not in backed
        and (address in ours or not gpu.mig_mode)
    ]
    if not need or not amiss:
        return ""
    return (
        f"waiting for {_some(amiss)} to lose a vGPU type that no GPU instance"
        " carries: end its VM and write 0 to nvidia/current_vgpu_type"
    )


def are_usable(sriov: model.Sriov | None, way: Way) -> bool:
    """Whether functions exist and show what their way needs."""
    if sriov is None or not sriov.functions:
        return False
    if way.attach is Attach.VFIO:
        return all(each.is_variant for each in sriov.functions)
    return all(each.mdev_types for each in sriov.functions)


def _by_address(gpu: model.Gpu) -> dict[str, model.VirtualFunction]:
    functions = gpu.sriov.functions if gpu.sriov else ()
    return {each.pci_address: each for each in functions}


def _untyped(
    gpu: model.Gpu, need: collections.abc.Collection[Wanted]
) -> tuple[verdicts.Finding, ...]:
    """Nova offers a function whether or not it has a vGPU type."""
    there = _by_address(gpu)
    amiss = [
        each
        for each in need
        if each.pci_address not in there
        or there[each.pci_address].current_type != each.vgpu_type.type_id
    ]
    if not amiss:
        return ()
    names = " and ".join(sorted({each.vgpu_type.name for each in amiss}))
    where = _some([each.pci_address for each in amiss])
    return (
        verdicts.Finding(
            verdicts.Reason.VGPU_TYPE_MISSING,
            f"{len(amiss)} of {len(need)} virtual functions have not the vGPU"
            f" type {names} ({where})",
        ),
    )


def _some(addresses: collections.abc.Sequence[str]) -> str:
    more = ", ..." if len(addresses) > _SHOWN else ""
    return ", ".join(addresses[:_SHOWN]) + more
