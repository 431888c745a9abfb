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
"""nova.conf as Nova reads it: several files, by oslo.config itself."""

import collections.abc
import dataclasses
import os
import pathlib

from oslo_config import cfg

from mig_placement import exception
from mig_placement.conf import sources
from mig_placement.nova import device_spec

_ADDRESSES = "device_addresses"
# Names and former names after nova.conf.devices, .pci and .scheduler.
_DEVICES = [
    cfg.ListOpt(
        "enabled_mdev_types", default=[], deprecated_name="enabled_vgpu_types"
    )
]
_PCI = [
    cfg.MultiStrOpt(
        "alias",
        default=[],
        deprecated_name="pci_alias",
        deprecated_group="DEFAULT",
    ),
    cfg.MultiStrOpt(
        "device_spec",
        default=[],
        deprecated_opts=[
            cfg.DeprecatedOpt("passthrough_whitelist", group="pci"),
            cfg.DeprecatedOpt("pci_passthrough_whitelist", group="DEFAULT"),
        ],
    ),
    cfg.BoolOpt("report_in_placement", default=False),
]
_SCHEDULER = [
    cfg.BoolOpt("pci_in_placement", default=False),
    cfg.ListOpt("enabled_filters"),
]


@dataclasses.dataclass(frozen=True, slots=True)
class MdevSection:
    """What is said of an enabled mdev type.

    :ivar name: for example ``nvidia-699``.
    :ivar exists: whether the files have its section.
    :ivar max_instances: None is no limit.
    """

    name: str
    exists: bool = False
    addresses: tuple[str, ...] = ()
    mdev_class: str = "VGPU"
    max_instances: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """The options of nova.conf that slices depend on.

    :ivar mdev_types: the enabled ones, in their order and as often as they
        are.
    :ivar enabled_filters: the scheduler's; None where the files do not say,
        which may not be its own.
    """

    mdev_types: tuple[MdevSection, ...] = ()
    device_specs: tuple[device_spec.DeviceSpec, ...] = ()
    aliases: tuple[device_spec.Alias, ...] = ()
    report_in_placement: bool = False
    pci_in_placement: bool = False
    enabled_filters: tuple[str, ...] | None = None


def read(paths: collections.abc.Iterable[str]) -> Found:
    """The files, later ones before earlier ones.

    :param paths: files, and directories as of --config-dir, in the order
        that Nova is given them.
    :raises ConfigError: one cannot be read or parsed, or has a value that
        Nova does not start with.
    """
    arguments = list(paths)
    sources.check(_files(arguments))
    try:
        return _found(_parsed(arguments))
    except (cfg.Error, ValueError, OSError) as error:
        # Without the cause: it quotes the line, which may be a password's.
        raise exception.ConfigError(
            sources.error_text(error),
            where=", ".join(arguments),
            mend=sources.mend(error),
        ) from None
    except exception.ConfigError as error:
        raise exception.ConfigError(
            error.what,
            where=f"{', '.join(arguments)}: {error.where}",
            mend=error.mend,
        ) from error


def _parsed(paths: list[str]) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf.register_opts(_DEVICES, group="devices")
    conf.register_opts(_PCI, group="pci")
    conf.register_opts(_SCHEDULER, group="filter_scheduler")
    _refuse_closed(paths)
    # Of this host's own /etc/nova nothing is read unless it was named.
    conf(
        [f"--config-{_kind(path)}={path}" for path in paths],
        project="nova",
        default_config_files=[],
        default_config_dirs=[],
    )
    for name in conf.devices.enabled_mdev_types:
        conf.register_opts(_mdev_options(name), group=f"mdev_{name}")
    return conf


def _files(paths: list[str]) -> list[pathlib.Path]:
    kinds = {path: _kind(path) for path in paths}
    return sources.found(
        (path for path in paths if kinds[path] == "file"),
        (path for path in paths if kinds[path] == "dir"),
    )


def _kind(path: str) -> str:
    # Not pathlib's, which raises where this user may not look.
    return "dir" if os.path.isdir(path) else "file"


def _refuse_closed(paths: list[str]) -> None:
    """Neither pathlib nor oslo.config tells a directory that may not be
    listed from an empty one."""
    closed = [
        path
        for path in paths
        if _kind(path) == "dir"
        and not os.access(path, os.R_OK, effective_ids=True)
    ]
    if closed:
        raise cfg.ConfigFilesPermissionDeniedError(closed)


def _mdev_options(name: str) -> list[cfg.Opt]:
    # mdev_class without Nova's pattern: a wrong one is a difference.
    return [
        cfg.ListOpt(_ADDRESSES, default=[], deprecated_group=f"vgpu_{name}"),
        cfg.StrOpt("mdev_class", default="VGPU"),
        cfg.IntOpt("max_instances", min=1),
    ]


def _found(conf: cfg.ConfigOpts) -> Found:
    sections = frozenset(conf.list_all_sections())
    filters = conf.filter_scheduler.enabled_filters
    return Found(
        mdev_types=tuple(
            _mdev_section(name, conf[f"mdev_{name}"], sections)
            for name in conf.devices.enabled_mdev_types
        ),
        device_specs=tuple(
            each
            for text in conf.pci.device_spec
            for each in device_spec.device_specs(text)
        ),
        aliases=tuple(map(device_spec.alias, conf.pci.alias)),
        report_in_placement=conf.pci.report_in_placement,
        pci_in_placement=conf.filter_scheduler.pci_in_placement,
        enabled_filters=None if filters is None else tuple(filters),
    )


def _mdev_section(
    name: str, group: cfg.ConfigOpts.GroupAttr, sections: frozenset[str]
) -> MdevSection:
    return MdevSection(
        name=name,
        exists=not sections.isdisjoint({f"mdev_{name}", f"vgpu_{name}"}),
        addresses=tuple(group[_ADDRESSES]),
        mdev_class=group.mdev_class,
        max_instances=group.max_instances,
    )
