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
"""What is installed on a node beside the code: units, rules, cloud-init."""

import configparser
import fnmatch
import os
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from oslo_config import types

from mig_placement import conf
from mig_placement import exception
from mig_placement.cmd import tool
from mig_placement.conf import layout
from mig_placement.conf import opts

ROOT = pathlib.Path(__file__).parents[2]
ETC = ROOT / "etc"
SYSTEMD = ETC / "systemd"
AGENT = SYSTEMD / "mig-placement-agent.service"
RESTORE = SYSTEMD / "mig-placement-restore.service"
AS_ROOT = SYSTEMD / "mig-placement-agent.service.d" / "root.conf.example"
RULES = ETC / "udev" / "71-mig-placement.rules"
SYSUSERS = ETC / "sysusers.d" / "mig-placement.conf"
CLOUD_CONFIG = ETC / "cloud-init" / "mig-placement.yaml"
INSTALLATION = ROOT / "doc" / "source" / "installation.rst"

# The names of nova-compute in Debian and Ubuntu, RHEL, Kolla, devstack.
NOVA = (
    "nova-compute.service",
    "openstack-nova-compute.service",
    "kolla-nova_compute-container.service",
    "devstack@n-cpu.service",
)
DRIVER = (
    "nvidia-persistenced.service",
    "nvidia-fabricmanager.service",
    "nvidia-vgpud.service",
    "nvidia-vgpu-mgr.service",
    "nvidia-mig-manager.service",
)
DEPLOYED = (
    *sorted(path for path in SYSTEMD.rglob("*") if path.is_file()),
    RULES,
    SYSUSERS,
    CLOUD_CONFIG,
)
SECONDS = {"": 1, "s": 1, "min": 60, "h": 3600}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="there is no systemd-analyze (Debian: package systemd)",
)


def _values(path: pathlib.Path, key: str) -> list[str]:
    """A setting's assignments in a unit, in their order."""
    lines = path.read_text().splitlines()
    return [
        line.partition("=")[2] for line in lines if line.startswith(f"{key}=")
    ]


def _words(path: pathlib.Path, key: str) -> set[str]:
    return {word for value in _values(path, key) for word in value.split()}


def _seconds(path: pathlib.Path, key: str) -> float:
    found = re.fullmatch(r"(\d+)(\w*)", _values(path, key)[-1])
    assert found is not None
    return float(found[1]) * SECONDS[found[2]]


def _default(group: str, name: str) -> float | str:
    options = {option.name: option for option in dict(opts.list_opts())[group]}
    value: float | str = options[name].default
    return value


def _run(
    *command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def installed(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory as /etc/systemd/system, nova-compute's units in it."""
    units = tmp_path / "system"
    shutil.copytree(SYSTEMD, units)
    command = shutil.which("true")
    assert command is not None
    for name in NOVA:
        (units / name).write_text(f"[Service]\nExecStart={command}\n")
    # The commands are not where systemd looks for them in a test.
    for path in units.glob("mig-placement*.service"):
        text = path.read_text()
        path.write_text(
            re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={command}", text)
        )
    return units


def _verified(units: pathlib.Path, name: str) -> None:
    done = _run(
        "systemd-analyze",
        "verify",
        "--man=no",
        str(units / name),
        SYSTEMD_UNIT_PATH=f"{units}:",
    )
    complaints = [
        line
        for line in done.stderr.splitlines()
        # Of the distribution's own units, others may complain.
        if "mig-placement" in line or name in line or str(units) in line
    ]
    assert (done.returncode, complaints) == (0, [])


@needs_systemd
@pytest.mark.parametrize("name", [AGENT.name, RESTORE.name, *NOVA])
def test_systemd_accepts_unit_and_drop_in(
    installed: pathlib.Path, name: str
) -> None:
    _verified(installed, name)


@needs_systemd
def test_systemd_accepts_the_agent_as_root(installed: pathlib.Path) -> None:
    example = installed / AS_ROOT.relative_to(SYSTEMD)
    example.rename(example.with_suffix(""))
    _verified(installed, AGENT.name)


def test_what_needs_root_is_the_same_wherever_it_is_told() -> None:
    (apply,) = (each for each in layout.OPTS if each.name == "apply")
    assert isinstance(apply.type, types.String)
    for text in (
        str(apply.type.choices),
        _said(AS_ROOT),
        _said(INSTALLATION),
    ):
        for what in ("MIG mode", "SR-IOV", "vGPU types"):
            assert what in text


@needs_systemd
def test_an_error_in_a_drop_in_is_found(installed: pathlib.Path) -> None:
    drop_in = installed / f"{NOVA[0]}.d" / "mig-placement.conf"
    drop_in.write_text(drop_in.read_text() + "Watns=no\n")
    with pytest.raises(AssertionError, match="Watns"):
        _verified(installed, NOVA[0])


@needs_systemd
@pytest.mark.parametrize(("unit", "most"), [(AGENT, 2.0), (RESTORE, 5.0)])
def test_a_unit_is_exposed_little(
    installed: pathlib.Path, unit: pathlib.Path, most: float
) -> None:
    done = _run(
        "systemd-analyze",
        "security",
        "--offline=true",
        "--no-pager",
        str(installed / unit.name),
        SYSTEMD_UNIT_PATH=f"{installed}:",
    )
    rated = re.search(r"exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert rated is not None, done.stderr
    assert float(rated[1]) < most


@pytest.mark.parametrize("unit", [AGENT, RESTORE])
def test_no_core_with_the_password_is_left(unit: pathlib.Path) -> None:
    assert _values(unit, "LimitCORE") == ["0"]


def test_the_restore_may_do_what_it_is_for() -> None:
    # It makes instances, resets GPUs, and may be first to load the driver.
    assert _words(RESTORE, "CapabilityBoundingSet") == {
        *_words(AS_ROOT, "CapabilityBoundingSet"),
        "CAP_SYS_MODULE",
    }
    assert _words(RESTORE, "SystemCallFilter") == {
        "@system-service",
        "@module",
    }
    for key in ("ProtectKernelTunables", "ProtectKernelModules"):
        assert not _values(RESTORE, key)


@pytest.mark.parametrize("unit", [AGENT, RESTORE])
def test_a_unit_runs_after_the_driver_and_before_nova_compute(
    unit: pathlib.Path,
) -> None:
    assert _words(unit, "After") >= {*DRIVER, "network-online.target"}
    assert _words(unit, "Before") >= set(NOVA)


@pytest.mark.parametrize("name", NOVA)
def test_nova_compute_waits_for_the_agent_and_does_not_require_it(
    name: str,
) -> None:
    drop_in = SYSTEMD / f"{name}.d" / "mig-placement.conf"
    assert _words(drop_in, "Wants") == {AGENT.name}
    assert _words(drop_in, "After") == {AGENT.name}
    for key in ("Requires", "Requisite", "BindsTo", "PartOf"):
        assert not _values(drop_in, key)


def test_the_agent_is_started_again_whatever_it_ended_with() -> None:
    assert _values(AGENT, "Restart") == ["always"]
    assert _values(AGENT, "StartLimitIntervalSec") == ["0"]
    assert not _values(AGENT, "RestartPreventExitStatus")


def test_the_restore_is_not_repeated_where_only_an_operator_helps() -> None:
    assert _words(RESTORE, "RestartPreventExitStatus") == {
        str(exception.EXIT_USAGE),
        str(exception.EXIT_MISMATCH),
    }


def test_systemd_waits_longer_than_the_agent_may_take() -> None:
    fence = float(_default("gate", "boot_fence_timeout"))
    restoring = float(_default("layout", "apply_timeout"))
    assert _seconds(AGENT, "TimeoutStartSec") > fence + restoring
    assert _seconds(AGENT, "WatchdogSec") > restoring


def test_nothing_in_the_sandbox_hides_the_gpus() -> None:
    assert _values(AGENT, "PrivateDevices") == ["no"]
    assert _values(AGENT, "ProcSubset") == ["all"]
    # Each is a list of devices that NVML's are not on.
    for key in ("DeviceAllow", "DevicePolicy", "ProtectClock"):
        assert not _values(AGENT, key)


def test_all_sockets_that_the_agent_opens_are_allowed() -> None:
    # Netlink: openstacksdk lists the network interfaces when it starts.
    assert _words(AGENT, "RestrictAddressFamilies") == {
        "AF_INET",
        "AF_INET6",
        "AF_NETLINK",
        "AF_UNIX",
    }


def test_the_directories_are_those_of_the_configuration() -> None:
    for option, key, parent in (
        ("run_dir", "RuntimeDirectory", "/run"),
        ("state_dir", "StateDirectory", "/var/lib"),
    ):
        assert f"{parent}/{_values(AGENT, key)[0]}" == _default(
            "agent", option
        )


def test_a_stop_removes_neither_marks_nor_a_lock_that_is_held() -> None:
    assert _values(AGENT, "RuntimeDirectoryPreserve") == ["yes"]


def test_the_user_of_the_agent_is_made() -> None:
    users = {
        line.split()[1]
        for line in SYSUSERS.read_text().splitlines()
        if line.startswith("u ")
    }
    assert users == {*_values(AGENT, "User"), *_values(AGENT, "Group")}
    assert users == {
        word
        for line in re.findall(r"chgrp (\S+)", RULES.read_text())
        for word in line.split()
    }


def _scripts() -> set[str]:
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg")
    scripts = parsed["entry_points"]["console_scripts"].strip().splitlines()
    return {line.partition("=")[0].strip() for line in scripts}


@pytest.mark.parametrize(
    "path", [INSTALLATION, CLOUD_CONFIG], ids=lambda path: path.name
)
def test_every_command_is_linked_where_a_shell_looks(
    path: pathlib.Path,
) -> None:
    found = re.search(r"(?s)ln -s.*? /usr/local/bin/", path.read_text())
    assert found is not None
    assert {re.sub(r'.*/|"', "", each) for each in found[0].split()} >= (
        _scripts()
    )


def test_every_link_is_taken_away() -> None:
    _, _, removal = INSTALLATION.read_text().partition("\nRemoval\n")
    removed = re.findall(r"/usr/local/bin/([a-z-]+)", removal)
    assert set(removed) == _scripts()


def test_the_commands_of_the_units_exist() -> None:
    installed = _scripts()
    program, *arguments = shlex.split(_values(AGENT, "ExecStart")[0])
    assert program in installed
    assert arguments == []
    program, *arguments = shlex.split(_values(RESTORE, "ExecStart")[0])
    assert program in installed
    assert " ".join(arguments) in tool.Tool().command_manager.commands


def test_a_restore_without_an_agent_is_a_command_that_exists() -> None:
    text = INSTALLATION.read_text()
    found = re.search(r"ExecStart=\S+/mig-placement (.+)", text)
    assert found is not None
    app = tool.Tool()
    words = shlex.split(found[1])
    command, name, arguments = app.command_manager.find_command(words)
    parsed = command(app, None).get_parser(name).parse_args(arguments)
    assert parsed.without_placement


def _said(path: pathlib.Path) -> str:
    """A file's text, without what breaks a comment into lines."""
    return re.sub(r"\n\s*#?\s*", " ", path.read_text())


@pytest.mark.parametrize(
    "path", [*DEPLOYED, INSTALLATION], ids=lambda path: path.name
)
def test_every_option_that_is_named_exists(path: pathlib.Path) -> None:
    known = {
        (group, option.dest)
        for group, options in opts.list_opts()
        for option in options
    }
    named = re.findall(r"\[([a-z_]+)\][\s`]+([a-z_]+)", _said(path))
    assert set(named) <= known


def test_the_example_configuration_can_be_parsed(
    tmp_path: pathlib.Path,
) -> None:
    files = {item["path"]: item for item in _cloud_config()["write_files"]}
    config = tmp_path / "mig-placement.conf"
    config.write_text(
        files["/etc/mig-placement/mig-placement.conf"]["content"]
    )
    parsed = conf.parse([f"--config-file={config}"])
    settings = conf.settings(parsed)
    assert str(settings.layout_file) in files


def _cloud_config() -> Any:
    text = CLOUD_CONFIG.read_text()
    assert text.startswith("#cloud-config\n")
    return yaml.safe_load(text)


def test_what_cloud_init_runs_is_a_shell_script_that_it_wrote(
    tmp_path: pathlib.Path,
) -> None:
    config = _cloud_config()
    files = {item["path"]: item for item in config["write_files"]}
    for command in config["runcmd"]:
        script = tmp_path / "script"
        script.write_text(files[command[0]]["content"])
        done = _run("sh", "-n", str(script))
        assert (done.returncode, done.stderr) == (0, "")
        assert files[command[0]]["permissions"] == "0755"


@pytest.mark.skipif(
    shutil.which("cloud-init") is None,
    reason="there is no cloud-init (Debian: package cloud-init)",
)
def test_cloud_init_accepts_the_example() -> None:
    done = _run("cloud-init", "schema", "--config-file", str(CLOUD_CONFIG))
    assert done.returncode == 0, done.stderr


def _rules() -> Iterator[list[str]]:
    """The rules, each as its key-operator-value terms."""
    term = r'[A-Z]+(?:\{[^}]*\})?(?:==|!=|\+=|:=|=)"(?:[^"\\]|\\.)*"'
    for line in RULES.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        assert re.fullmatch(f"{term}(?:, {term})*", line), line
        yield re.findall(term, line)


def test_a_udev_rule_that_jumps_has_where_to() -> None:
    terms = [term for rule in _rules() for term in rule]
    targets = {term[5:] for term in terms if term.startswith("GOTO=")}
    labels = {term[6:] for term in terms if term.startswith("LABEL=")}
    assert targets == labels != set()


def test_what_udev_runs_are_programs_and_valid_shell() -> None:
    started = [
        shlex.split(term.partition("+=")[2].strip('"').replace("$$", "$"))
        for rule in _rules()
        for term in rule
        if term.startswith("RUN")
    ]
    assert started
    for program, *arguments in started:
        assert program.startswith("/")
        if program == "/bin/sh":
            done = _run("sh", "-n", *arguments)
            assert (done.returncode, done.stderr) == (0, "")


def test_udev_accepts_the_rules() -> None:
    if shutil.which("udevadm") is None:
        pytest.skip("there is no udevadm (Debian: package udev)")
    if _run("udevadm", "verify", "--help").returncode:
        pytest.skip("this udevadm has no verify (systemd 254 has it)")
    done = _run("udevadm", "verify", "--resolve-names=never", str(RULES))
    assert done.returncode == 0, done.stderr


def test_all_of_it_is_shipped() -> None:
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg")
    lines = parsed["files"]["data_files"].splitlines()
    shipped = [line.rpartition("=")[2].strip() for line in lines]
    for path in DEPLOYED:
        name = str(path.relative_to(ROOT))
        assert any(fnmatch.fnmatch(name, pattern) for pattern in shipped)
