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
"""The configuration: oslo.config groups, read into one frozen value."""

import argparse
import collections.abc
import dataclasses
import pathlib
import socket

from oslo_config import cfg

from mig_placement import exception
from mig_placement import version
from mig_placement.conf import agent
from mig_placement.conf import gate
from mig_placement.conf import hardware
from mig_placement.conf import health
from mig_placement.conf import layout
from mig_placement.conf import mapping
from mig_placement.conf import metrics
from mig_placement.conf import nova
from mig_placement.conf import reports
from mig_placement.conf import sources

PROJECT = "mig-placement"
GROUPS = (
    agent,
    hardware,
    layout,
    mapping,
    gate,
    health,
    nova,
    metrics,
    reports,
)

# Leaves room for "_mig_" and a PCI address within Placement's 200.
_MAX_HOST = 180


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The options of all groups but [placement], validated.

    :ivar host: the compute service's host.
    :ivar root_name: name of the compute root provider.
    :ivar root_guessed: it is the host's own name, by its resolver.
    :ivar interval: seconds; so are boot_fence_timeout, retire_after and
        nova_refresh.
    :ivar library: path of the NVML library, empty for the linker's choice.
    :ivar simulate: state file of a simulated node, empty for real GPUs.
    """

    host: str
    root_name: str
    root_guessed: bool
    interval: float
    run_dir: pathlib.Path
    state_dir: pathlib.Path
    retire_after: float
    nova_refresh: float
    library: str
    simulate: str
    layout_file: pathlib.Path
    label: str
    apply: str
    apply_command: str
    apply_timeout: float
    allow_gpu_reset: bool
    reset_command: str
    sriov_command: str
    classes: collections.abc.Mapping[str, str]
    traits: frozenset[str]
    scope: str
    compute_service: bool
    boot_fence_timeout: float
    ignored_xids: frozenset[int]
    sysfs_root: pathlib.Path
    attach: str
    vgpu_types: collections.abc.Mapping[str, str]
    metrics_listen: metrics.Listen | None


def parse(
    arguments: collections.abc.Sequence[str],
    prog: str | None = None,
    conf: cfg.ConfigOpts | None = None,
) -> cfg.ConfigOpts:
    """Read the configuration files.

    :param arguments: --config-file and --config-dir options.
    :param conf: with more options registered (oslo.log's) if need be.
    :raises ConfigError: a file cannot be read or parsed.
    """
    sources.check(_named(arguments, prog))
    conf = conf or cfg.ConfigOpts()
    for module in GROUPS:
        conf.register_opts(module.OPTS, group=module.GROUP)
    try:
        conf(
            list(arguments),
            project=PROJECT,
            prog=prog,
            version=version.version(),
        )
    except (cfg.Error, OSError, ValueError) as error:
        # Without the cause: it quotes the line, which may be a password's.
        raise exception.ConfigError(
            sources.error_text(error),
            where="configuration",
            mend=sources.mend(error),
        ) from None
    return conf


def _named(
    arguments: collections.abc.Sequence[str], prog: str | None
) -> list[pathlib.Path]:
    """What will be read, before oslo.config reads it whole."""
    parser = argparse.ArgumentParser(add_help=False)
    for name in ("file", "dir"):
        parser.add_argument(f"--config-{name}", action="append")
    given, _ = parser.parse_known_args(arguments)
    return sources.found(
        given.config_file or cfg.find_config_files(PROJECT, prog),
        given.config_dir or cfg.find_config_dirs(PROJECT, prog),
    )


def read_from(conf: cfg.ConfigOpts) -> list[pathlib.Path]:
    """The files that the options came from."""
    return sources.found(conf.config_file or (), conf.config_dir or ())


def misspelt(conf: cfg.ConfigOpts) -> list[str]:
    """Options in our sections of the files that are none.

    [nova] has those of its user's plugin as well.
    """
    known = {
        module.GROUP: {option.dest for option in module.OPTS}
        for module in GROUPS
    }
    return sources.unknown(read_from(conf), known, {nova.GROUP})


def settings(conf: cfg.ConfigOpts) -> Settings:
    """:raises ConfigError: an option's value cannot be used."""
    try:
        return Settings(
            host=_host("host", conf.agent.host or socket.gethostname()),
            root_name=root_name(conf),
            root_guessed=not conf.agent.hypervisor_hostname,
            interval=conf.agent.interval,
            run_dir=_directory("run_dir", conf.agent.run_dir),
            state_dir=_directory("state_dir", conf.agent.state_dir),
            retire_after=conf.agent.retire_after,
            nova_refresh=conf.agent.nova_refresh,
            library=conf.hardware.nvml_library,
            simulate=conf.hardware.simulate,
            layout_file=pathlib.Path(conf.layout.file),
            label=conf.layout.config,
            apply=conf.layout.apply,
            apply_command=_command(conf),
            apply_timeout=conf.layout.apply_timeout,
            allow_gpu_reset=conf.layout.allow_gpu_reset,
            reset_command=_braced_command(conf, "reset_command"),
            sriov_command=_braced_command(conf, "sriov_command"),
            classes=dict(conf.mapping.resource_classes),
            traits=frozenset(conf.mapping.traits),
            scope=conf.gate.scope,
            compute_service=conf.gate.compute_service,
            boot_fence_timeout=conf.gate.boot_fence_timeout,
            ignored_xids=frozenset(conf.health.ignored_xids),
            sysfs_root=pathlib.Path(conf.hardware.sysfs_root),
            attach=conf.nova.attach,
            vgpu_types=dict(conf.nova.vgpu_types),
            metrics_listen=metrics.listen(
                conf.metrics.listen, allow_remote=conf.metrics.allow_remote
            ),
        )
    except (cfg.Error, ValueError) as error:
        raise exception.ConfigError(
            sources.error_text(error),
            where="configuration",
            mend=sources.mend(error, "correct the option"),
        ) from None


def _command(conf: cfg.ConfigOpts) -> str:
    command: str = conf.layout.apply_command
    if conf.layout.apply == "command" and not command.strip():
        raise exception.ConfigError(
            "apply = command, and no command",
            where="[layout] apply_command",
            mend="give the command line of the tool",
        )
    return command


def _braced_command(conf: cfg.ConfigOpts, option: str) -> str:
    command: str = conf.layout[option]
    try:
        command.format(pci_address="0000:00:00.0", index=0)
    except (LookupError, ValueError) as error:
        raise exception.ConfigError(
            f"{command!r} has other braces than {{pci_address}} and {{index}}",
            where=f"[layout] {option}",
            mend="write {{ and }} for braces of the command's own",
        ) from error
    return command


def root_name(conf: cfg.ConfigOpts) -> str:
    """:raises ConfigError: the name cannot be a provider's."""
    return _host(
        "hypervisor_hostname",
        conf.agent.hypervisor_hostname or guessed_root_name(),
    )


def guessed_root_name() -> str:
    """The host's name; short where the resolver does not answer."""
    return socket.getfqdn()


def _host(option: str, name: str) -> str:
    if not name.isprintable() or " " in name or len(name) > _MAX_HOST:
        raise exception.ConfigError(
            f"{name[:40]!r} is no host name",
            where=f"[agent] {option}",
            mend=f"give a name of at most {_MAX_HOST} characters",
        )
    return name


def _directory(option: str, path: str) -> pathlib.Path:
    if not path.startswith("/"):
        raise exception.ConfigError(
            f"{path!r} is no absolute path",
            where=f"[agent] {option}",
            mend="give a path that starts with /",
        )
    return pathlib.Path(path)
