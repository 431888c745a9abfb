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
"""What upstream runs on the DevStack plugin: the jobs, the smoke script."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from mig_placement.nova import flavors
from mig_placement.placement import names

ROOT = pathlib.Path(__file__).parents[2]
PLUGIN = ROOT / "devstack"
SMOKE = PLUGIN / "smoke.sh"


def _calls(calls: list[str], start: str) -> list[str]:
    return [call for call in calls if call.startswith(start)]


def test_the_jobs_set_nothing_that_the_plugin_does_not_know() -> None:
    settings = (PLUGIN / "settings").read_text()
    text = (ROOT / ".zuul.yaml").read_text()
    jobs = [each["job"] for each in yaml.safe_load(text) if "job" in each]
    assert jobs
    for job in jobs:
        for path in (job.get("run"), job.get("post-run")):
            assert path is None or (ROOT / path).is_file()
        for variables in (
            job.get("vars", {}),
            *job.get("group-vars", {}).values(),
        ):
            for name in variables.get("devstack_localrc", {}):
                if name.startswith("MIG_PLACEMENT_"):
                    assert f"\n{name}=" in settings


SERVER = "11111111-2222-4333-8444-555555555555"
CLASS = "CUSTOM_MIG_1G_5GB"
ROOT_NAME = "node1.example.org"
_PF = "0000:41:00.0"
OURS = names.provider_name(ROOT_NAME, _PF)
FUNCTION = names.mdev_provider_name(ROOT_NAME, "0000:41:00.4")
GPU = names.pci_provider_name(ROOT_NAME, _PF)


def _flavors(attach: str) -> list[dict[str, object]]:
    """What the client lists: a small one, and the one of the agent's."""
    (made,) = flavors.flavors(
        ["1g.5gb"], attach, {}, flavors.Size(1, 256, 1), "mig."
    )
    return [
        {"ID": "1", "Name": "m1.tiny", "Properties": {}},
        {"ID": "2", "Name": made.name, "Properties": dict(made.extra_specs)},
    ]


def _allocations(**held: str) -> list[dict[str, object]]:
    """A root, and by provider the class of which one unit is held."""
    return [
        {"resource_provider": provider, "resources": {name: 1}}
        for provider, name in {"root": "VCPU", **held}.items()
    ]


# What the clients print, by the start of the command.
ANSWERS = {
    "flavor list": _flavors("none"),
    "image list": "cirros-id",
    "server create": SERVER,
    "resource provider allocation show": _allocations(ours=CLASS),
    "resource provider show ours": OURS,
    "resource provider show function": FUNCTION,
    "resource provider show gpu": GPU,
    "resource provider show root": ROOT_NAME,
}


def _smoke(
    tmp_path: pathlib.Path, flavor: str = "", /, **answers: object
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script with a client that has these answers.

    :param flavor: FLAVOR.
    :param answers: instead of ANSWERS; underscores for blanks.
    """
    given: dict[str, object] = dict(ANSWERS)
    for start, answer in answers.items():
        given[start.replace("_", " ")] = answer
    calls = tmp_path / "calls"
    client = tmp_path / "openstack"
    client.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "words = sys.argv[1:]\n"
        "if words[0] == '--os-compute-api-version':\n"
        "    del words[:2]\n"
        "command = ' '.join(words)\n"
        f"open({str(calls)!r}, 'a').write(command + '\\n')\n"
        f"answers = json.loads({json.dumps(given)!r})\n"
        "found = [a for s, a in answers.items() if command.startswith(s)]\n"
        "if found == [None]:\n"
        "    sys.exit('refused')\n"
        "if found:\n"
        "    text = isinstance(found[0], str)\n"
        "    print(found[0] if text else json.dumps(found[0]))\n"
    )
    client.chmod(0o755)
    done = subprocess.run(
        [str(SMOKE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "FLAVOR": flavor,
        },
    )
    made = calls.read_text().splitlines() if calls.exists() else []
    return done, made


def test_the_smoke_script_finds_a_slice_of_ours_and_deletes_the_server(
    tmp_path: pathlib.Path,
) -> None:
    done, calls = _smoke(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"1 CUSTOM_MIG_1G_5GB of {OURS}" in done.stdout
    created = _calls(calls, "server create")
    assert len(created) == 1
    assert "--flavor mig.1g.5gb" in created[0]
    assert len(_calls(calls, "server delete")) == 1
    # After the last look and not before.
    assert calls[-1].startswith("server delete")


VGPU = names.vgpu_class("1g.5gb")
HELD = {
    "none": {"ours": CLASS},
    "mdev": {"function": CLASS},
    "vfio": {"ours": CLASS, "gpu": VGPU},
}


@pytest.mark.parametrize("attach", HELD)
def test_the_smoke_script_knows_what_each_way_to_attach_gives(
    tmp_path: pathlib.Path, attach: str
) -> None:
    for other, held in HELD.items():
        done, calls = _smoke(
            tmp_path,
            flavor_list=_flavors(attach),
            resource_provider_allocation_show=_allocations(**held),
        )
        assert len(_calls(calls, "server delete")) == 1
        if other == attach:
            assert done.returncode == 0, done.stderr
        else:
            assert done.returncode == 1
            assert f"not what attach = {attach} gives" in done.stderr
        (tmp_path / "calls").unlink()


def test_properties_may_come_as_text(tmp_path: pathlib.Path) -> None:
    # As older clients give them.
    listed = _flavors("mdev")
    listed[1]["Properties"] = ", ".join(
        f"{key}='{value}'"
        for key, value in flavors.extra_specs("1g.5gb", "mdev", {}).items()
    )
    done, _ = _smoke(
        tmp_path,
        flavor_list=listed,
        resource_provider_allocation_show=_allocations(function=CLASS),
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("chosen", ["3", "mine"])
def test_a_flavor_can_be_chosen(tmp_path: pathlib.Path, chosen: str) -> None:
    listed = _flavors("none")
    listed.append({**listed[1], "ID": "3", "Name": "mine"})
    done, calls = _smoke(tmp_path, chosen, flavor_list=listed)
    assert done.returncode == 0, done.stderr
    assert "--flavor mine " in _calls(calls, "server create")[0]


@pytest.mark.parametrize(
    ("command", "answer", "reason"),
    [
        ("flavor_list", _flavors("none")[:1], "no flavor"),
        ("image_list", "", "there is no image"),
        ("server_create", None, "did not boot"),
        ("resource_provider_allocation_show", [], "holds no MIG slice"),
        (
            "resource_provider_allocation_show",
            _allocations(),
            "holds no MIG slice",
        ),
        ("resource_provider_allocation_show", None, "refused"),
        ("resource_provider_show_ours", ROOT_NAME, "unknown instead of"),
    ],
)
def test_the_smoke_script_fails_without_one_and_cleans_up_all_the_same(
    tmp_path: pathlib.Path, command: str, answer: object, reason: str
) -> None:
    done, calls = _smoke(tmp_path, **{command: answer})
    assert done.returncode == 1
    assert reason in done.stderr
    created = len(_calls(calls, "server create"))
    assert len(_calls(calls, "server delete")) == created
