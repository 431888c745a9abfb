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
OURS = "node1_mig_0000_41_00_0"
# What the clients print, by the start of the command.
ANSWERS = {
    "flavor list": [
        {"Name": "m1.tiny", "Properties": {}},
        {
            "Name": "mig.1g.5gb",
            "Properties": {"resources_MIG:CUSTOM_MIG_1G_5GB": "1"},
        },
    ],
    "image list": "cirros-id",
    "server create": SERVER,
    "resource provider allocation show": [
        {"resource_provider": "root", "resources": {"VCPU": 1}},
        {"resource_provider": "gpu", "resources": {"CUSTOM_MIG_1G_5GB": 1}},
    ],
    "resource provider show gpu": OURS,
    "resource provider show root": "node1",
}


def _smoke(
    tmp_path: pathlib.Path, **answers: object
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script with a client that has these answers.

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
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
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


@pytest.mark.parametrize(
    ("command", "answer", "reason"),
    [
        ("flavor_list", [{"Name": "tiny", "Properties": {}}], "no flavor"),
        ("image_list", "", "there is no image"),
        ("server_create", None, "did not boot"),
        ("resource_provider_allocation_show", [], "holds no MIG slice"),
        (
            "resource_provider_allocation_show",
            [{"resource_provider": "root", "resources": {"VCPU": 1}}],
            "holds no MIG slice",
        ),
        ("resource_provider_allocation_show", None, "refused"),
        (
            "resource_provider_show_gpu",
            "node1_pci_0000_41_00_4",
            "not of the agent's",
        ),
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
