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
"""What mig-placement-status thinks of what it is shown."""

import configparser
import importlib
import os
import pathlib
import tempfile

import pytest
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from mig_placement.cmd import upgrade
from mig_placement.hardware import model
from mig_placement.nova import difference
from tests.unit import pictures

_CODE = upgradecheck.Code
_ROOT = pathlib.Path(__file__).parents[2]
_NOBODY = 65534


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ((1, 39), _CODE.SUCCESS),
        ((1, 40), _CODE.SUCCESS),
        ((2, 0), _CODE.SUCCESS),
        ((1, 38), _CODE.FAILURE),
        ((1, 4), _CODE.FAILURE),
        ((0, 99), _CODE.FAILURE),
    ],
)
def test_versions_are_compared_as_numbers(
    found: tuple[int, int], code: upgradecheck.Code
) -> None:
    assert upgrade.judged_version(found).code is code


def test_an_old_placement_is_to_be_upgraded_first() -> None:
    details = upgrade.judged_version((1, 36)).details
    assert details is not None
    assert "1.36" in details
    assert "upgrade Placement first" in details


@pytest.mark.parametrize(
    ("gpus", "code", "said"),
    [
        ((pictures.gpu(0),), _CODE.SUCCESS, ""),
        ((), _CODE.WARNING, "no GPU of this node can do MIG"),
        ((pictures.gpu(0, mig_capable=False),), _CODE.WARNING, "can do MIG"),
        ((pictures.gpu(0), pictures.gpu(1, fault="lost")), 1, "lost"),
    ],
)
def test_what_is_worth_a_word_of_the_hardware(
    gpus: tuple[model.Gpu, ...], code: int, said: str
) -> None:
    result = upgrade.judged_hardware(model.Node("580", gpus))
    assert result.code == code
    assert said in (result.details or "")


def _as_nobody(checks: upgrade.Checks) -> int:
    """The last check's code for another user; in a process of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = -1
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        result = upgrade._nova(checks)
        if "run as one who may" in (result.details or ""):
            code = int(result.code)
    finally:
        os._exit(code & 0xFF)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(
    ("folder_mode", "mode"), [(0o750, 0o644), (0o755, 0o640)]
)
@pytest.mark.parametrize(
    ("named", "code"), [(False, _CODE.WARNING), (True, _CODE.FAILURE)]
)
def test_a_nova_conf_for_novas_group_alone_is_a_warning_unless_named(
    folder_mode: int,
    mode: int,
    named: bool,
    code: upgradecheck.Code,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = cfg.ConfigOpts()
    options.register_cli_opt(upgrade._OPTION)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "nova.conf"
        path.write_text("[DEFAULT]\n")
        path.chmod(mode)
        path.parent.chmod(folder_mode)
        monkeypatch.setattr(upgrade, "_NOVA_CONF", str(path))
        options([f"--nova-conf={path}"] if named else [])
        assert _as_nobody(upgrade.Checks(options)) == code


def _difference(why: str) -> difference.Difference:
    return difference.Difference("mdev_x", "mdev_class", "CUSTOM_A", "b", why)


def test_a_shared_class_weighs_more_than_any_difference() -> None:
    files = ["a.conf", "b.conf"]
    other = _difference("not enabled")
    shared = _difference(difference.SHARED)
    assert upgrade.judged_nova((), files).code is _CODE.SUCCESS
    assert upgrade.judged_nova((other,), files).code is _CODE.WARNING
    result = upgrade.judged_nova((other, shared), files)
    assert result.code is _CODE.FAILURE
    assert result.details is not None
    assert "[mdev_x] mdev_class = CUSTOM_A" in result.details
    assert "nova-config --check a.conf b.conf" in result.details


def test_every_command_that_is_installed_is_there() -> None:
    parser = configparser.ConfigParser()
    parser.read(_ROOT / "setup.cfg")
    lines = parser["entry_points"]["console_scripts"].split("\n")
    targets = dict(line.split(" = ") for line in lines if line)
    assert "mig-placement-status" in targets
    for target in targets.values():
        module, _, function = target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
