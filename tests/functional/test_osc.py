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

"""``openstack mig``, with the real client and a real Keystone."""

import configparser
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mig_placement import exception
from mig_placement.placement import names
from tests.functional import cloud as clouds
from tests.functional import fleets
from tests.functional import keystone_server
from tests.functional import placement_app

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openstackclient") is None,
    reason="python-openstackclient is not installed (extra osc)",
)

_ROOT = pathlib.Path(__file__).parents[2]
_GROUPS = ("openstack.cli.extension", "openstack.mig.v1")

Secured = keystone_server.SecuredPlacement
Openstack = Callable[..., "subprocess.CompletedProcess[str]"]


def _install(folder: pathlib.Path) -> None:
    """The entry points of this checkout, whichever one is installed."""
    setup = configparser.ConfigParser()
    setup.read(_ROOT / "setup.cfg")
    info = folder / "mig_placement-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mig-placement\nVersion: 99.0\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]{setup['entry_points'][group]}\n" for group in _GROUPS
        )
    )


def _clouds(secured: Secured) -> dict[str, Any]:
    """One cloud for each account, as in clouds.yaml."""
    return {
        "clouds": {
            account.name: _entry(secured.options(account))
            for account in (keystone_server.AGENT, keystone_server.READER)
        }
    }


def _entry(options: dict[str, str]) -> dict[str, Any]:
    apart = ("auth_type", "region_name")
    auth = {k: v for k, v in options.items() if k not in apart}
    return {"auth": auth, "region_name": options["region_name"]}


@pytest.fixture
def openstack(tmp_path: pathlib.Path, secured: Secured) -> Openstack:
    """Runs the client as a user, the agent's or the onlooker."""
    _install(tmp_path)
    # JSON is YAML.
    path = tmp_path / "clouds.yaml"
    path.write_text(json.dumps(_clouds(secured)))
    search = [str(tmp_path), str(_ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("OS_")
    } | {
        "PYTHONPATH": os.pathsep.join(search),
        "OS_CLIENT_CONFIG_FILE": str(path),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
    }

    def run(
        *arguments: str, cloud: str = keystone_server.AGENT.name
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "openstackclient.shell"),
                *(f"--os-cloud={cloud}", *arguments),
            ],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def _admin(secured: Secured) -> clouds.Cloud:
    session = secured.session()
    return clouds.Cloud(placement_app.make_adapter(session, secured.url))


def test_fleet_is_read_with_the_user_s_own_credentials(
    openstack: Openstack, secured: Secured
) -> None:
    made = fleets.Builder(_admin(secured))
    made.node("osc1", {fleets.SMALL: 7})
    made.node("osc2", {fleets.SMALL: 7}, reasons=("HOLD",))
    done = openstack("mig", "fleet", "-f", "json")
    assert done.returncode == 0, done.stderr
    rows = {row["Node"]: row for row in json.loads(done.stdout)}
    assert rows["osc1"]["Free"] == 7
    assert rows["osc2"]["Reason"] == "HOLD"
    assert names.OWNER not in done.stdout


def test_a_user_who_may_not_read_is_told_whose_credentials_do(
    openstack: Openstack,
) -> None:
    done = openstack("mig", "fleet", cloud=keystone_server.READER.name)
    assert done.returncode == exception.EXIT_NO_PLACEMENT
    (line,) = done.stderr.splitlines()
    assert "administrator's credentials" in line


def test_flavors_of_profiles_are_printed(openstack: Openstack) -> None:
    done = openstack("mig", "flavors", "--profile", "1g.5gb")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(
        "--property resources_MIG:CUSTOM_MIG_1G_5GB=1"
        " --property trait:CUSTOM_MIG_NODE_READY=required mig.1g.5gb"
    )


def test_the_layout_may_come_from_a_configuration(
    openstack: Openstack, tmp_path: pathlib.Path
) -> None:
    layout = tmp_path / "layout.yaml"
    layout.write_text(
        "version: v1\nmig-configs:\n  a:\n    - devices: all\n"
        "      mig-enabled: true\n      mig-devices: {3g.20gb: 2}\n"
    )
    config = tmp_path / "mig-placement.conf"
    config.write_text(f"[layout]\nfile = {layout}\n")
    done = openstack(
        *("mig", "flavors", f"--config-file={config}"),
        *("--model", "A100-40GB"),
    )
    assert done.returncode == 0, done.stderr
    assert "CUSTOM_MIG_3G_20GB" in done.stdout


def test_a_cloud_without_nova_is_one_line(openstack: Openstack) -> None:
    done = openstack("mig", "flavors", "--check")
    assert done.returncode == exception.EXIT_NO_PLACEMENT
    (line,) = done.stderr.splitlines()
    assert line.startswith("mig-placement: ")


def test_nothing_can_be_created(openstack: Openstack) -> None:
    done = openstack("mig", "flavors", "--profile", "1g.5gb", "--create")
    assert done.returncode == exception.EXIT_USAGE
    assert "--create" in done.stderr
