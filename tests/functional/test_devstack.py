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
"""The DevStack plugin: each phase, on stand-ins of DevStack's functions."""

import configparser
import itertools
import json
import os
import pathlib
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml
from oslo_config import cfg

from mig_placement import conf
from mig_placement import exception
from mig_placement import simulator
from mig_placement.conf import opts
from mig_placement.placement import names
from tests.functional import gpu_node
from tests.functional import placement_app

ROOT = pathlib.Path(__file__).parents[2]
PLUGIN = ROOT / "devstack"
STAND_INS = pathlib.Path(__file__).parent / "devstack"

CONTROL = "key,placement-api,n-api,n-sch,n-cond"
ALL_IN_ONE = f"{CONTROL},n-cpu"
SUBNODE = "n-cpu"
HOST = "node1.libvirt.example.org"

# Seven slices on each of two A100s.
TWO_GPUS = [{gpu_node.CLASS: 7}] * 2
# The virtual functions for as many slices, and what Nova is told of them.
FUNCTIONS = [
    f"0000:{bus}:{function}"
    for bus in (41, 42)
    for function in ("00.4", "00.5", "00.6", "00.7", "01.0", "01.1", "01.2")
]
VGPU_CLASS = "CUSTOM_VGPU_1G_5GB"
DEVICES = {"resource_class": VGPU_CLASS, "traits": "CUSTOM_MIG_VF"}
DEVICE_SPECS = [
    {"address": address, "managed": "no", **DEVICES} for address in FUNCTIONS
]
ALIASES = [{"name": "mig-1g-5gb", "device_type": "type-VF", **DEVICES}]


class Stack:
    """A host with DevStack, all of whose files lie below ``root``."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.calls_file = root / "calls"
        self.conf = root / "etc" / "mig-placement" / "mig-placement.conf"
        self.layout = self.conf.with_name("layout.yaml")
        self.nova_conf = root / "etc" / "nova" / "nova.conf"
        self.nova_cpu_conf = self.nova_conf.with_name("nova-cpu.conf")
        self.state = root / "data" / "mig-placement"
        self.gpus = simulator.SimulatedNode(self.state / "gpus.json")
        self.units = root / "etc" / "systemd" / "system"
        self.unit = self.units / "devstack@mig-placement-agent.service"
        for folder in (root / "bin", root / "data", self.units):
            folder.mkdir(parents=True)
        (root / "bin" / "mig-placement").symlink_to(
            STAND_INS / "mig-placement"
        )
        self.local: dict[str, str] = {
            "ENABLED_SERVICES": ALL_IN_ONE,
            "MIG_PLACEMENT_SIMULATE": "A100-40GB:2",
            "MIG_PLACEMENT_CONF_DIR": str(self.conf.parent),
        }

    def tries(
        self, script: str, **local: str
    ) -> subprocess.CompletedProcess[str]:
        """Run stack, unstack or clean.

        :param local: what local.conf says, kept for the runs to come.
        """
        self.local.update(local)
        self.calls_file.write_text("")
        return subprocess.run(
            [str(STAND_INS / "run.sh"), script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.environment(),
        )

    def runs(
        self, function: str, **local: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one function of the plugin's alone, which must succeed."""
        self.calls_file.write_text("")
        run = (
            f". {STAND_INS}/functions; . {PLUGIN}/settings;"
            f" . {PLUGIN}/lib/mig-placement; {function}"
        )
        return subprocess.run(
            ["bash", "-ec", run],
            capture_output=True,
            text=True,
            check=True,
            env={**self.environment(), **local},
        )

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ROOT": str(self.root),
            "CALLS": str(self.calls_file),
            "PLUGIN": str(PLUGIN),
            "TEST_PYTHON": sys.executable,
            **self.local,
        }

    def does(self, script: str, **local: str) -> list[str]:
        """As tries, and must succeed; the calls that were made."""
        done = self.tries(script, **local)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.calls()

    def calls(self) -> list[str]:
        text = self.calls_file.read_text()
        return text.replace(str(self.root), "ROOT").splitlines()

    def files(self) -> dict[str, bytes]:
        """What lies on the host, without what is DevStack's own."""
        apart = (self.calls_file, self.root / "bin", self.nova_conf.parent)
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and not any(map(path.is_relative_to, apart))
        }

    def settings(self) -> conf.Settings:
        return conf.settings(conf.parse([f"--config-file={self.conf}"]))

    def models(self) -> list[str]:
        return [str(gpu["model"]) for gpu in self._gpus()]

    def uuids(self) -> list[str]:
        return [str(gpu["uuid"]) for gpu in self._gpus()]

    def _gpus(self) -> list[dict[str, Any]]:
        gpus: list[dict[str, Any]] = list(self.gpus.summary()["gpus"])
        return gpus


@pytest.fixture
def stack(tmp_path: pathlib.Path) -> Stack:
    return Stack(tmp_path / "host")


def _ini(path: pathlib.Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string(path.read_text())
    return parser


def _made(calls: list[str], start: str) -> list[str]:
    return [call for call in calls if call.startswith(start)]


def _nova_pci(path: pathlib.Path, option: str) -> list[Any]:
    """A multi-valued option of [pci] as Nova reads it, sorted."""
    options = cfg.ConfigOpts()
    options.register_opts([cfg.MultiStrOpt(option, default=[])], group="pci")
    options([f"--config-file={path}"], default_config_dirs=[])
    values = [json.loads(value) for value in options.pci[option]]
    return sorted(values, key=str)


# Stack.


def test_stack_does_everything_in_devstacks_order(stack: Stack) -> None:
    calls = stack.does("stack")
    agent = "ROOT/bin/mig-placement-agent"
    conf_file = "ROOT/etc/mig-placement/mig-placement.conf"
    node = "ROOT/data/mig-placement/gpus.json"
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    group = subprocess.check_output(["id", "-gn"], text=True).strip()
    assert calls == [
        "define_plugin mig-placement",
        "phase stack pre-install",
        "phase stack install",
        f"setup_develop {ROOT}",
        "phase stack post-config",
        "create_service_user mig-placement service",
        f"configure_keystoneauth {conf_file} mig-placement placement",
        "mig-placement simulate create --mig --overwrite --vgpu none"
        f" {node} A100-40GB A100-40GB",
        "mig-placement profiles -f value -c GPU -c Profile -c Most",
        "mig-placement nova-config --output ROOT/etc/mig-placement/nova.conf",
        "start n-cpu",
        "phase stack extra",
        "stop_process mig-placement-agent",
        f"run_process mig-placement-agent user={user} group={group}"
        f" {agent} --config-file {conf_file}",
        "mig-placement flavors --create --vcpus 1 --ram 256 --disk 1",
        "OS_CLOUD=devstack-admin",
        "phase stack test-config",
        "mig-placement status",
    ]


def test_the_configuration_is_valid_and_says_what_was_asked_for(
    stack: Stack,
) -> None:
    stack.does("stack")
    settings = stack.settings()
    assert settings.root_name == HOST
    assert settings.simulate == stack.gpus.path
    assert settings.state_dir == stack.state
    assert settings.layout_file == stack.layout
    assert settings.apply == "native"
    section = dict(_ini(stack.conf)["placement"])
    assert section["username"] == "mig-placement"
    assert section["auth_url"] == "http://203.0.113.10/identity"
    assert section["region_name"] == "RegionOne"


def test_every_option_that_is_set_exists(stack: Stack) -> None:
    stack.does("stack", MIG_PLACEMENT_COMPUTE_SERVICE_GATE="True")
    known = {
        (group, option.dest)
        for group, options in opts.list_opts()
        for option in options
    }
    parser = _ini(stack.conf)
    set_here = {
        (group, option)
        for group in parser.sections()
        for option in parser.options(group)
        if group != "DEFAULT" and option not in parser.defaults()
    }
    assert set_here - known == set()


def _offers(placement: placement_app.TcpPlacement) -> list[dict[str, int]]:
    """What the agent's providers offer; nothing while the gate is closed."""
    providers = placement.cloud.providers()
    if names.NODE_READY not in providers[HOST].traits:
        return []
    return [providers[name].offered for name in providers if name != HOST]


@pytest.mark.parametrize(
    ("attach", "offered"),
    # With mdev Nova's own providers have the class.
    [("none", TWO_GPUS), ("mdev", [{}] * 2), ("vfio", TWO_GPUS)],
)
def test_the_agent_that_stack_starts_opens_the_gate(
    stack: Stack,
    placement_tcp: placement_app.TcpPlacement,
    tmp_path: pathlib.Path,
    attach: str,
    offered: list[dict[str, int]],
) -> None:
    calls = stack.does("stack", MIG_PLACEMENT_ATTACH=attach)
    placement_tcp.cloud.create_root(HOST)
    started = _made(calls, "run_process ")[0].replace("ROOT", str(stack.root))
    # The rest of the command line, and this Placement instead of DevStack's.
    arguments = shlex.split(started)[5:]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(
        {
            "agent": {"run_dir": str(tmp_path / "run")},
            "placement": dict(placement_tcp.options()),
        }
    )
    here = tmp_path / "here.conf"
    with here.open("w") as file:
        parser.write(file)
    agent = subprocess.Popen(
        [
            sys.executable,
            *("-m", "mig_placement.cmd.agent"),
            *arguments,
            f"--config-file={here}",
        ],
        env={**os.environ, **stack.environment()},
        stderr=subprocess.DEVNULL,
    )
    try:
        gpu_node.within(lambda: _offers(placement_tcp) == offered)
    finally:
        agent.terminate()
        agent.wait(gpu_node.PATIENCE)


def test_gpus_of_several_models_can_be_simulated(stack: Stack) -> None:
    stack.does("stack", MIG_PLACEMENT_SIMULATE="H100-80GB,A100-40GB:2")
    assert stack.models() == ["H100-80GB", "A100-40GB", "A100-40GB"]
    layout = yaml.safe_load(stack.layout.read_text())
    assert [
        (entry["devices"], entry["mig-devices"])
        for entry in layout["mig-configs"]["devstack"]
    ] == [([0], {"1g.10gb": 7}), ([1], {"1g.5gb": 7}), ([2], {"1g.5gb": 7})]


def test_compute_instances_are_left_to_the_guest_of_a_vgpu_host(
    stack: Stack,
) -> None:
    stack.does("stack", MIG_PLACEMENT_ATTACH="mdev")
    layout = yaml.safe_load(stack.layout.read_text())
    for entry in layout["mig-configs"]["devstack"]:
        assert entry["compute-instances"] is False


def test_a_layout_of_ones_own_is_used_where_it_is(
    stack: Stack, tmp_path: pathlib.Path
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(gpu_node.LAYOUT)
    stack.does(
        "stack",
        MIG_PLACEMENT_LAYOUT=str(own),
        MIG_PLACEMENT_LAYOUT_CONFIG="all-1g.5gb",
    )
    assert stack.settings().layout_file == own
    assert stack.settings().label == "all-1g.5gb"
    assert not stack.layout.exists()


def test_real_gpus_are_the_business_of_root(stack: Stack) -> None:
    # That function alone: no GPU here has profiles to make a layout of.
    stack.runs(
        "start_mig_placement", STACK_USER="nobody", MIG_PLACEMENT_SIMULATE=""
    )
    group = subprocess.check_output(["id", "-gn", "nobody"], text=True).strip()
    # Whoever waits for the gate asks for the status without sudo.
    started = _made(stack.calls(), "run_process ")[0]
    assert f"user=root group={group} " in started
    drop_in = stack.units / f"{stack.unit.name}.d" / "mig-placement.conf"
    assert _ini(drop_in)["Service"]["RuntimeDirectoryMode"] == "2750"


def test_real_gpus_have_nvidias_sriov_manage(stack: Stack) -> None:
    stack.does("stack", MIG_PLACEMENT_ATTACH="vfio")
    simulated = stack.settings().sriov_command
    tool = stack.root / "bin" / "mig-placement"
    assert simulated == f"{tool} simulate sriov {stack.gpus.path} {{index}} on"
    stack.runs("_write_mig_placement_conf", MIG_PLACEMENT_SIMULATE="")
    assert not stack.settings().simulate
    assert "/sriov-manage " in stack.settings().sriov_command


def test_host_names_are_those_that_nova_has(stack: Stack) -> None:
    stack.does("stack", NOVA_DEFAULT="host = compute-7")
    assert stack.settings().host == "compute-7"
    stack.does("stack", MIG_PLACEMENT_HYPERVISOR_HOSTNAME="node9.example.org")
    assert stack.settings().root_name == "node9.example.org"


def test_tls_brings_devstacks_certificates(stack: Stack) -> None:
    stack.does("stack", ENABLED_SERVICES=f"{ALL_IN_ONE},tls-proxy")
    cafile = _ini(stack.conf)["placement"]["cafile"]
    assert cafile == str(stack.root / "data" / "ca-bundle.pem")


def test_the_compute_service_gate_brings_an_admin(stack: Stack) -> None:
    calls = stack.does("stack", MIG_PLACEMENT_COMPUTE_SERVICE_GATE="True")
    assert _made(calls, "create_service_user") == [
        "create_service_user mig-placement service",
        "create_service_user mig-placement admin",
    ]
    parser = _ini(stack.conf)
    assert parser["gate"]["compute_service"] == "True"
    assert parser["nova"]["username"] == "mig-placement"


def test_without_it_the_agent_has_no_right_in_nova(stack: Stack) -> None:
    calls = stack.does("stack")
    users = _made(calls, "create_service_user")
    assert users == ["create_service_user mig-placement service"]
    assert "username" not in _ini(stack.conf)["nova"]


def test_at_the_next_boot_nova_compute_waits_for_a_ready_agent(
    stack: Stack,
) -> None:
    stack.does("stack")
    service = _ini(stack.units / f"{stack.unit.name}.d" / "mig-placement.conf")
    assert service["Service"]["Type"] == "notify"
    assert service["Service"]["RuntimeDirectory"] == "mig-placement"
    assert service["Service"]["RuntimeDirectoryPreserve"] == "yes"
    nova = stack.units / "devstack@n-cpu.service.d" / "mig-placement.conf"
    assert dict(_ini(nova)["Unit"]) == {
        "wants": stack.unit.name,
        "after": stack.unit.name,
    }


@pytest.mark.parametrize(
    ("attach", "keys"),
    [
        ("none", []),
        ("mdev", ["trait_MIG:CUSTOM_MIG_READY=required"]),
        ("vfio", ["pci_passthrough:alias=mig-1g-5gb:1"]),
    ],
)
def test_the_flavors_are_small_and_attach_as_nova_does(
    stack: Stack, attach: str, keys: list[str]
) -> None:
    calls = stack.does(
        "stack", MIG_PLACEMENT_ATTACH=attach, MIG_PLACEMENT_FLAVOR_RAM="512"
    )
    start = "mig-placement flavors --create "
    (made,) = _made(calls, start)
    # No cloud is here: what would be made is printed instead.
    printed = stack.runs(f"_mig_placement flavors {made.removeprefix(start)}")
    words = shlex.split(printed.stdout)
    for size in ("--vcpus 1", "--ram 512", "--disk 1"):
        assert size in printed.stdout
    properties = {
        value
        for option, value in itertools.pairwise(words)
        if option == "--property"
    }
    assert properties == {
        f"resources_MIG:{gpu_node.CLASS}=1",
        "trait:CUSTOM_MIG_NODE_READY=required",
        *keys,
    }


# Other nodes.


def test_a_subnode_uses_the_user_and_does_not_make_it(stack: Stack) -> None:
    calls = stack.does("stack", ENABLED_SERVICES=SUBNODE)
    assert not _made(calls, "create_service_user")
    assert len(_made(calls, "run_process mig-placement-agent")) == 1
    part = "mig-placement nova-config --part compute"
    assert len(_made(calls, part)) == 1
    assert _ini(stack.conf)["placement"]["username"] == "mig-placement"


def test_a_control_plane_without_compute_gets_the_user_alone(
    stack: Stack,
) -> None:
    calls = stack.does("stack", ENABLED_SERVICES=CONTROL)
    assert [call for call in calls if not call.startswith("phase")] == [
        "define_plugin mig-placement",
        "create_service_user mig-placement service",
    ]
    assert stack.files() == {}


def test_its_scheduler_is_told_of_pci_devices(stack: Stack) -> None:
    calls = stack.does(
        "stack", ENABLED_SERVICES=CONTROL, MIG_PLACEMENT_ATTACH="vfio"
    )
    part = "mig-placement nova-config --part scheduler"
    assert len(_made(calls, part)) == 1
    nova = _ini(stack.nova_conf)
    assert nova["filter_scheduler"]["pci_in_placement"] == "true"
    assert list(nova["pci"]) == ["alias"]
    assert _nova_pci(stack.nova_conf, "alias") == ALIASES
    assert not _made(calls, "run_process")
    assert not _made(calls, "mig-placement flavors")


def test_a_disabled_agent_stays_disabled(stack: Stack) -> None:
    calls = stack.does("stack", DISABLED_SERVICES="mig-placement-agent")
    assert not _made(calls, "run_process")
    assert stack.files() == {}


# Nova's part.


def test_novas_part_reaches_nova_compute(stack: Stack) -> None:
    stack.does("stack", MIG_PLACEMENT_ATTACH="mdev")
    nova = _ini(stack.nova_cpu_conf)
    assert nova["devices"]["enabled_mdev_types"] == "nvidia-463"
    assert dict(nova["mdev_nvidia-463"]) == {
        "mdev_class": gpu_node.CLASS,
        "device_addresses": ",".join(FUNCTIONS),
    }


def test_novas_part_arrives_letter_for_letter(stack: Stack) -> None:
    # Of another plugin's, and what sed would take for its own.
    device = r'{"address": {"bus": "4[1]", "slot": "\\d+"}}'
    alias = '{"name": "a & b", "product_id": "1234"}'
    stack.does(
        "stack",
        MIG_PLACEMENT_ATTACH="vfio",
        NOVA_DEFAULT=f"[pci]\ndevice_spec = {device}\nalias = {alias}",
    )
    for path in (stack.nova_conf, stack.nova_cpu_conf):
        assert _nova_pci(path, "device_spec") == sorted(
            [json.loads(device), *DEVICE_SPECS], key=str
        )
        assert _nova_pci(path, "alias") == sorted(
            [json.loads(alias), *ALIASES], key=str
        )
        nova = _ini(path)
        assert nova["pci"]["report_in_placement"] == "true"
        assert nova["filter_scheduler"]["pci_in_placement"] == "true"


@pytest.mark.parametrize(
    ("attach", "needed"), [("vfio", ",PciPassthroughFilter"), ("mdev", "")]
)
def test_functions_need_a_filter_that_devstack_lacks(
    attach: str, needed: str, stack: Stack
) -> None:
    section = "[filter_scheduler]\nenabled_filters = "
    for filters in ("ComputeFilter,SameHostFilter", f"ComputeFilter{needed}"):
        stack.does(
            "stack",
            MIG_PLACEMENT_ATTACH=attach,
            NOVA_DEFAULT=f"{section}{filters}",
        )
        for path in (stack.nova_conf, stack.nova_cpu_conf):
            found = _ini(path)["filter_scheduler"]["enabled_filters"]
            assert found == f"{filters.removesuffix(needed)}{needed}"


def test_a_part_that_is_there_is_not_added_again(stack: Stack) -> None:
    stack.does("stack", MIG_PLACEMENT_ATTACH="vfio")
    first = stack.nova_cpu_conf.read_text()
    stack.does("stack", NOVA_DEFAULT=first.removeprefix("[DEFAULT]\n"))
    assert _nova_pci(stack.nova_cpu_conf, "device_spec") == DEVICE_SPECS
    # With one name twice Nova's services do not start.
    assert _nova_pci(stack.nova_cpu_conf, "alias") == ALIASES


@pytest.mark.parametrize("attach", ["mdev", "vfio"])
def test_novas_part_is_compared_at_the_end(stack: Stack, attach: str) -> None:
    done = stack.tries("stack", MIG_PLACEMENT_ATTACH=attach)
    check = "mig-placement nova-config --check ROOT/etc/nova/nova-cpu.conf"
    assert stack.calls()[-1] == check
    assert done.returncode == 0
    assert "does not fit the layout" not in done.stderr
    # As local.conf's post-config could.
    nova = stack.nova_cpu_conf.read_text()
    stack.nova_cpu_conf.write_text(nova.replace("CUSTOM_", "CUSTOM_X_"))
    warned = stack.runs("check_mig_placement_nova").stderr
    assert "nova-cpu.conf does not fit the layout" in warned


# Again.


def test_a_second_stack_leaves_the_files_of_the_first(stack: Stack) -> None:
    stack.does("stack")
    apart = "data/mig-placement/gpus.json"
    first = stack.files()
    first.pop(apart)
    stack.does("unstack")
    stack.does("stack")
    second = stack.files()
    second.pop(apart)
    assert second == first


def test_a_second_stack_finds_the_gpus_rebooted(stack: Stack) -> None:
    stack.does("stack")
    uuids = stack.uuids()
    stack.gpus.create_instance(0, "1g.5gb", 0)
    calls = stack.does("stack")
    assert stack.uuids() == uuids
    assert stack.gpus.summary()["gpus"][0]["instances"] == []
    assert not _made(calls, "mig-placement simulate create")


def test_a_second_stack_makes_other_gpus_if_asked(stack: Stack) -> None:
    stack.does("stack")
    stack.does("stack", MIG_PLACEMENT_SIMULATE="A30-24GB")
    assert stack.models() == ["A30-24GB"]


def test_a_second_stack_makes_gpus_of_another_driver(stack: Stack) -> None:
    stack.does("stack")
    assert stack.gpus.summary()["vgpu"] == ""
    stack.does("stack", MIG_PLACEMENT_ATTACH="mdev")
    assert stack.gpus.summary()["vgpu"] == "mdev"


def test_a_second_stack_forgets_what_is_no_longer_said(stack: Stack) -> None:
    stack.does("stack", MIG_PLACEMENT_COMPUTE_SERVICE_GATE="True")
    stack.does("stack", MIG_PLACEMENT_COMPUTE_SERVICE_GATE="False")
    assert "username" not in _ini(stack.conf)["nova"]


# The end.


def test_unstack_stops_the_agent_and_nobody_waits_for_it(
    stack: Stack,
) -> None:
    stack.does("stack")
    other = stack.units / "devstack@n-cpu.service.d" / "other.conf"
    other.write_text("")
    calls = stack.does("unstack")
    assert calls[-2:] == [
        "stop_process mig-placement-agent",
        "systemctl daemon-reload",
    ]
    assert list(stack.units.rglob("*.conf")) == [other]
    assert stack.conf.exists()
    assert stack.uuids()


def test_clean_leaves_nothing(stack: Stack) -> None:
    before = {stack.calls_file, *stack.root.rglob("*")}
    stack.does("stack", MIG_PLACEMENT_ATTACH="vfio")
    stack.does("clean")
    left = set(stack.root.rglob("*")) - before
    assert {path.relative_to(stack.root).parts[:2] for path in left} == {
        ("etc", "nova")
    }


def test_clean_leaves_a_layout_of_ones_own(stack: Stack) -> None:
    own = stack.conf.with_name("own.yaml")
    own.parent.mkdir(parents=True)
    own.write_text(gpu_node.LAYOUT)
    stack.does("stack", MIG_PLACEMENT_LAYOUT=str(own))
    stack.does("clean")
    assert stack.files() == {
        "etc/mig-placement/own.yaml": gpu_node.LAYOUT.encode()
    }


def test_clean_without_stack_does_no_harm(stack: Stack) -> None:
    stack.does("clean")
    assert stack.files() == {}


# What is refused.


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MIG_PLACEMENT_ATTACH", "sriov"),
        ("MIG_PLACEMENT_APPLY", "always"),
        ("MIG_PLACEMENT_SIMULATE", "A100-40GB:two"),
        ("MIG_PLACEMENT_SIMULATE", "A100-40GB:0"),
        ("MIG_PLACEMENT_LAYOUT", "/nowhere/layout.yaml"),
        ("MIG_PLACEMENT_FLAVOR_RAM", "0.5G"),
        ("PYTHON3_VERSION", "3.10"),
    ],
)
def test_a_wrong_local_conf_ends_stack_before_anything_is_installed(
    stack: Stack, variable: str, value: str
) -> None:
    done = stack.tries("stack", **{variable: value})
    assert done.returncode == 1
    assert value in done.stderr
    assert not _made(stack.calls(), "setup_develop")
    assert stack.files() == {}


@pytest.mark.skipif(
    pathlib.Path("/proc/driver/nvidia/version").exists(),
    reason="this machine has NVIDIA's driver",
)
def test_a_machine_without_gpus_is_told_of_simulated_ones(
    stack: Stack,
) -> None:
    done = stack.tries("stack", MIG_PLACEMENT_SIMULATE="")
    assert done.returncode == 1
    assert "set MIG_PLACEMENT_SIMULATE=" in done.stderr


@pytest.mark.skipif(
    pathlib.Path("/proc/driver/nvidia/version").exists(),
    reason="this machine has NVIDIA's driver",
)
def test_a_control_plane_is_to_be_told_of_the_gpus(stack: Stack) -> None:
    done = stack.tries(
        "stack",
        ENABLED_SERVICES=CONTROL,
        MIG_PLACEMENT_ATTACH="vfio",
        MIG_PLACEMENT_SIMULATE="",
    )
    assert done.returncode == 1
    assert "set MIG_PLACEMENT_SIMULATE to their models" in done.stderr
    assert not _made(stack.calls(), "setup_develop")


def test_a_model_that_cannot_be_simulated_ends_stack(stack: Stack) -> None:
    done = stack.tries("stack", MIG_PLACEMENT_SIMULATE="A1000000")
    assert done.returncode == exception.EXIT_USAGE
    assert not _made(stack.calls(), "run_process")


def test_a_gate_that_stays_closed_ends_stack(stack: Stack) -> None:
    done = stack.tries("stack", GATE="3", MIG_PLACEMENT_WAIT="1")
    assert done.returncode == 1
    assert "gate is not open after 1 s" in done.stderr


def test_nobody_waits_for_a_gate_that_somebody_else_opens(
    stack: Stack,
) -> None:
    stack.does("stack", GATE="3", MIG_PLACEMENT_APPLY="none")
