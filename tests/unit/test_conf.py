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
"""The configuration: validated, with the option named in the error."""

import pathlib

import pytest

from mig_placement import conf
from mig_placement import cycle
from mig_placement import exception
from mig_placement.conf import opts


def _settings(tmp_path: pathlib.Path, text: str) -> conf.Settings:
    path = tmp_path / "mig-placement.conf"
    path.write_text(text)
    return conf.settings(conf.parse([f"--config-file={path}"]))


def test_defaults_are_the_designs(tmp_path: pathlib.Path) -> None:
    settings = _settings(tmp_path, "")
    assert settings.scope == "node"
    assert settings.ignored_xids == {13, 31, 43, 45, 68, 109}
    assert str(settings.layout_file) == "/etc/mig-placement/layout.yaml"
    assert settings.host
    assert settings.root_name


def test_host_and_root_may_differ(tmp_path: pathlib.Path) -> None:
    text = "[agent]\nhost = h\nhypervisor_hostname = h.example.org\n"
    settings = _settings(tmp_path, text)
    assert (settings.host, settings.root_name) == ("h", "h.example.org")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[gate]\nscope = rack\n", "scope"),
        ("[agent]\ninterval = soon\n", "interval"),
        ("[agent]\ninterval = 0\n", "interval"),
        ("[agent]\nrun_dir = here\n", "run_dir"),
        ("[agent]\nhypervisor_hostname = a b\n", "hypervisor_hostname"),
        (f"[agent]\nhost = {'x' * 300}\n", "host"),
        ("[gate]\nboot_fence_timeout = -1\n", "boot_fence_timeout"),
        ("[health]\nignored_xids = 13,all\n", "ignored_xids"),
        ("[mapping]\nresource_classes = 1g.5gb\n", "resource_classes"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_option(
    text: str, named: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(exception.ConfigError, match=named) as caught:
        _settings(tmp_path, text)
    assert caught.value.exit_status == exception.EXIT_USAGE
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[mapping]\ntraits = lower\n",
        "[mapping]\nresource_classes = 1g.5gb:X\n",
    ],
)
def test_names_that_placement_would_refuse_are_refused(
    text: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(exception.ConfigError, match=r"\[mapping\]"):
        cycle.rules(_settings(tmp_path, text))


def test_a_missing_file_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(exception.ConfigError, match="nowhere"):
        conf.parse([f"--config-file={tmp_path}/nowhere.conf"])


def test_every_option_is_in_the_sample_file() -> None:
    listed = {
        (group, option.name)
        for group, options in opts.list_opts()
        for option in options
    }
    assert ("agent", "hypervisor_hostname") in listed
    assert ("placement", "auth-url") in listed
    assert ("nova", "auth-url") in listed
    assert ("gate", "compute_service") in listed
    assert len(listed) > 40
