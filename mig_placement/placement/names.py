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
"""The names that things of ours have in Placement."""

import collections.abc
import functools
import re
import uuid

from mig_placement import exception
from mig_placement.hardware import model

OWNER = "CUSTOM_OWNER_MIG_PLACEMENT"
READY = "CUSTOM_MIG_READY"
NODE_READY = "CUSTOM_MIG_NODE_READY"
BLOCKED = "CUSTOM_MIG_BLOCKED_"
UNFIT = "CUSTOM_MIG_UNFIT_"
PROFILE = "CUSTOM_MIG_PROFILE_"
PRODUCT = "CUSTOM_MIG_PRODUCT_"
ARCHITECTURE = "CUSTOM_MIG_ARCH_"
DRIVER = "CUSTOM_MIG_DRIVER_"
LAYOUT = "CUSTOM_MIG_LAYOUT_"
# On Nova's devices that are virtual functions of ours, by nova.conf.
FUNCTION = "CUSTOM_MIG_VF"
_CLASS = "CUSTOM_MIG_"
_VGPU = "CUSTOM_VGPU_"
COMPUTE_CAPABILITY = "CUSTOM_MIG_CUDA_COMPUTE_CAPABILITY_"
_STANDARD_COMPUTE_CAPABILITY = "HW_GPU_CUDA_COMPUTE_CAPABILITY_"

# A trait of ours that is not wanted any more is known by these; every
# other trait on our providers is somebody else's and stays.
_OURS = (
    BLOCKED,
    UNFIT,
    PROFILE,
    PRODUCT,
    ARCHITECTURE,
    DRIVER,
    LAYOUT,
    COMPUTE_CAPABILITY,
    _STANDARD_COMPUTE_CAPABILITY,
)
_DESCRIBING = _OURS[2:]

_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]+")
# No id of nvidia-smi's: it stands for another profile on another model.
_PROFILE = re.compile(r"([0-9]+c\.)?[0-9]+g\.[0-9]+gb([+-][a-z.]+)?")
_VGPU_CLASS = re.compile(
    rf"{_VGPU}([0-9]+C_)?[0-9]+G_[0-9]+GB(_[A-Z][A-Z0-9_]*)?"
)
_MAX_NAME = 255
_MAX_PROVIDER_NAME = 200


def is_custom(name: str) -> bool:
    """Whether Placement takes the name for a custom class or trait."""
    return len(name) <= _MAX_NAME and bool(_CUSTOM.fullmatch(name))


def is_profile(text: str) -> bool:
    """Whether a text is written as a profile's name is."""
    return bool(_PROFILE.fullmatch(text))


def is_compute_profile(profile: str) -> bool:
    """Whether a profile is a compute instance's: ``1c.3g.20gb``."""
    return "c." in profile


# A cycle asks for the same few hundreds of times.
@functools.lru_cache(1024)
def _symbol(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")


def profile_symbol(profile: str) -> str:
    """The part of a class or trait name that stands for a profile.

    ``-me`` becomes ``_NO_ME``: without the word it would be ``+me``.
    """
    return _symbol(profile.replace("-", "_no_"))


def class_name(
    profile: str, overrides: collections.abc.Mapping[str, str]
) -> str:
    """The resource class of a profile."""
    return overrides.get(profile) or f"{_CLASS}{profile_symbol(profile)}"


def class_names(
    profiles: collections.abc.Iterable[str],
    overrides: collections.abc.Mapping[str, str],
) -> dict[str, str]:
    """Resource class by profile.

    :raises ConfigError: two profiles would share a class.
    """
    classes: dict[str, str] = {}
    owners: dict[str, str] = {}
    for profile in sorted(set(profiles)):
        name = class_name(profile, overrides)
        other = owners.setdefault(name, profile)
        if other != profile:
            raise exception.ConfigError(
                f"profiles {other} and {profile} share the class {name}",
                where="[mapping] resource_classes",
                mend="give one of them a class of its own",
            )
        classes[profile] = name
    return classes


def check_overrides(overrides: collections.abc.Mapping[str, str]) -> None:
    """Refuse class overrides that Placement or the promise cannot bear.

    :raises ConfigError: a name is no profile or no custom class.
    """
    for profile, name in overrides.items():
        if not _PROFILE.fullmatch(profile):
            raise exception.ConfigError(
                f"{profile!r} is no MIG profile",
                where="[mapping] resource_classes",
                mend="write it as in '1g.5gb:CUSTOM_SMALL'",
            )
        if not is_custom(name):
            raise exception.ConfigError(
                f"{name!r} for {profile} is no custom resource class",
                where="[mapping] resource_classes",
                mend="use CUSTOM_ and then A-Z, 0-9 and _",
            )


def check_extra_traits(traits: collections.abc.Iterable[str]) -> None:
    """Refuse extra traits that are no traits or would speak for the gate.

    :raises ConfigError: a name is neither custom nor standard, or ours.
    """
    for name in traits:
        if not is_custom(name) and name not in _standard_traits():
            raise exception.ConfigError(
                f"{name!r} is neither a custom nor a standard trait",
                where="[mapping] traits",
                mend="use CUSTOM_ and then A-Z, 0-9 and _",
            )
        if is_ours(name) or name == NODE_READY or _is_reserved(name):
            raise exception.ConfigError(
                f"{name} is set by mig_placement or Nova itself",
                where="[mapping] traits",
                mend="take it out",
            )


def _is_reserved(name: str) -> bool:
    # Nova deletes or filters providers that carry these.
    return name in {"COMPUTE_MANAGED_PCI_DEVICE", "OWNER_NOVA"}


def is_ours(trait: str) -> bool:
    """Whether a trait on a GPU provider is for us to set and to remove."""
    return trait in {OWNER, READY} or trait.startswith(_OURS)


def is_describing(trait: str) -> bool:
    """Whether a trait of ours tells of the GPU, not of the gate."""
    return trait.startswith(_DESCRIBING)


def blocked(reason: str) -> str:
    return f"{BLOCKED}{_symbol(reason)}"


def unfit(reason: str) -> str:
    return f"{UNFIT}{_symbol(reason)}"


def layout_symbol(label: str) -> str:
    """What stands for a label behind LAYOUT in a trait."""
    return _symbol(label)[: _MAX_NAME - len(LAYOUT)]


def describing(
    gpu: model.Gpu, driver_version: str, label: str | None
) -> frozenset[str]:
    """Traits that tell what the GPU is and what lies on it."""
    named = {
        PRODUCT: gpu.product,
        ARCHITECTURE: gpu.architecture,
        DRIVER: driver_version.split(".")[0],
        LAYOUT: label or "",
    }
    traits = {
        f"{prefix}{_symbol(text)}"[:_MAX_NAME]
        for prefix, text in named.items()
        if _symbol(text)
    }
    profiles = {instance.profile for instance in gpu.instances}
    traits.update(f"{PROFILE}{profile_symbol(name)}" for name in profiles)
    if gpu.compute_capability:
        traits.add(_compute_capability(*gpu.compute_capability))
    return frozenset(traits)


@functools.cache
def _standard_traits() -> frozenset[str]:
    # A twentieth of a command's start, and few commands need it.
    import os_traits

    return frozenset(os_traits.get_traits())


@functools.cache
def _compute_capability(major: int, minor: int) -> str:
    standard = f"{_STANDARD_COMPUTE_CAPABILITY}V{major}_{minor}"
    if standard in _standard_traits():
        return standard
    return f"{COMPUTE_CAPABILITY}V{major}_{minor}"


def vgpu_class(profile: str) -> str:
    """The class of Nova's own that attaches a virtual function (vfio).

    Another than ours of that profile: one class on a provider of ours and
    of Nova's makes builds fail.
    """
    return f"{_VGPU}{profile_symbol(profile)}"


def is_own_class(
    name: str, overrides: collections.abc.Mapping[str, str]
) -> bool:
    """Whether a class is one of ours, whatever GPUs a node has."""
    return name.startswith(_CLASS) or name in overrides.values()


def is_vgpu_class(name: str) -> bool:
    """Whether a class is one that vgpu_class makes.

    Not one of a whole GPU's vGPU type: ``CUSTOM_VGPU_L40S_12Q``.
    """
    return bool(_VGPU_CLASS.fullmatch(name))


def alias(profile: str) -> str:
    """The [pci] alias of a profile, for ``pci_passthrough:alias``."""
    return f"mig-{profile_symbol(profile).lower().replace('_', '-')}"


def mdev_provider_name(root_name: str, pci_address: str) -> str:
    """The name of Nova's provider of a virtual function (mdev)."""
    return f"{root_name}_pci_{_underscored(pci_address)}"


def pci_provider_name(root_name: str, pci_address: str) -> str:
    """The name of Nova's provider of a GPU whose functions it passes
    through (vfio): by the GPU's address, not by theirs, in capitals."""
    return f"{root_name}_{pci_address.upper()}"


def is_mdev_provider(name: str, root_name: str) -> bool:
    """Whether a name is one that mdev_provider_name makes."""
    return _address_after(name, f"{root_name}_pci_", _UNDERSCORED) is not None


def is_pci_provider(name: str, root_name: str) -> bool:
    """Whether a name is one that pci_provider_name makes."""
    return _address_after(name, f"{root_name}_", _ADDRESS) is not None


def gpu_address(name: str, root_name: str) -> str | None:
    """The PCI address in the name of a provider of ours."""
    return _address_after(name, f"{root_name}_mig_", _UNDERSCORED)


def split_provider_name(name: str) -> tuple[str, str] | None:
    """Root's name and PCI address in any root's GPU provider's name."""
    return _split(name, "_mig_")


def split_mdev_provider_name(name: str) -> tuple[str, str] | None:
    """Likewise of Nova's provider of a virtual function (mdev)."""
    return _split(name, "_pci_")


def _split(name: str, between: str) -> tuple[str, str] | None:
    root_name, _, _ = name.rpartition(between)
    address = _address_after(name, f"{root_name}{between}", _UNDERSCORED)
    return (root_name, address) if root_name and address else None


_ADDRESS = re.compile(r"([0-9A-F]{4,8}):([0-9A-F]{2}):([0-9A-F]{2})\.([0-7])")
_UNDERSCORED = re.compile(
    r"([0-9a-f]{4,8})_([0-9a-f]{2})_([0-9a-f]{2})_([0-7])"
)


def _underscored(pci_address: str) -> str:
    return re.sub("[:.]", "_", pci_address)


def _address_after(
    name: str, prefix: str, pattern: re.Pattern[str]
) -> str | None:
    match = pattern.fullmatch(name.removeprefix(prefix))
    if not name.startswith(prefix) or match is None:
        return None
    domain, bus, device, function = match.groups()
    return f"{domain}:{bus}:{device}.{function}"


def provider_name(root_name: str, pci_address: str) -> str:
    """The name of a GPU's provider; unlike any that Nova makes.

    :raises ConfigError: it would be longer than Placement takes.
    """
    name = f"{root_name}_mig_{_underscored(pci_address)}"
    if len(name) > _MAX_PROVIDER_NAME:
        raise exception.ConfigError(
            f"the provider name {name} is over {_MAX_PROVIDER_NAME} long",
            where="[agent] hypervisor_hostname",
            mend="use a shorter host name",
        )
    return name


def is_gpu_provider(name: str, root_name: str) -> bool:
    """Whether a provider's name is one that provider_name makes."""
    return gpu_address(name, root_name) is not None


def provider_uuid(root_uuid: str, name: str) -> str:
    """The same for the same root and GPU, on every node and at any time."""
    return str(uuid.uuid5(uuid.UUID(root_uuid), name))
