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
"""Configuration files: which are read, which not, which tell too much."""

import pathlib
import re
import traceback

import pytest
from oslo_config import cfg

from mig_placement import conf
from mig_placement import exception
from mig_placement.conf import sources
from mig_placement.placement import connection


def test_the_files_named_and_those_in_directories_are_found(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "d").mkdir()
    for name in ("a.conf", "d/b.conf", "d/no"):
        (tmp_path / name).write_text("")
    found = sources.found([f"{tmp_path}/a.conf", "/none"], [f"{tmp_path}/d"])
    assert found == [tmp_path / "a.conf", tmp_path / "d" / "b.conf"]


@pytest.mark.parametrize("form", ["--config-file={}", "--config-file {}"])
def test_a_huge_file_is_refused_before_it_is_read(
    tmp_path: pathlib.Path, form: str
) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[agent]\n#")
    arguments = form.format(path).split()
    conf.parse(arguments)
    with path.open("ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(exception.ConfigError, match="more than"):
        conf.parse(arguments)


def test_what_is_no_file_is_refused_and_the_null_device_is_not() -> None:
    sources.check([pathlib.Path("/dev/null")])
    with pytest.raises(exception.ConfigError, match="not a plain file"):
        sources.check([pathlib.Path("/dev/zero")])


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("password = x", 0o644, True),
        ("[a]\nService_Password=x", 0o604, True),
        ("  application_credential_secret: x", 0o644, False),
        ("application_credential_secret: x", 0o644, True),
        ("password = x", 0o640, False),
        ("#password = x", 0o644, False),
        ("password =\nusername = x", 0o644, False),
        ("username = x", 0o644, False),
    ],
)
def test_a_password_that_all_may_read_is_found(
    tmp_path: pathlib.Path, text: str, mode: int, told: bool
) -> None:
    path = tmp_path / "a.conf"
    path.write_text(text)
    path.chmod(mode)
    assert sources.told_to_all([path]) == ([path] if told else [])


@pytest.mark.parametrize(
    "line", ["password hunter2", "=hunter2", "[hunter2", "[agent]\n hunter2"]
)
def test_an_error_has_the_line_s_number_and_not_the_line(
    tmp_path: pathlib.Path, line: str
) -> None:
    path = tmp_path / "a.conf"
    path.write_text(f"[placement]\n{line}\n")
    with pytest.raises(exception.ConfigError) as caught:
        conf.parse([f"--config-file={path}"])
    assert f"{path}:" in str(caught.value)
    assert "hunter2" not in str(caught.value)


KNOWN = {
    "layout": {"file", "apply"},
    "gate": {"scope"},
    "nova": {"attach"},
}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[layout]\napply = native\n[gate]\nscope = gpu", []),
        (
            "[layout]\naply = native",
            ["[layout] has no option aply, did you mean apply?"],
        ),
        ("[gate]\nzzz = 1", ["[gate] has no option zzz"]),
        ("[nova]\npassword = x", []),
        (
            "[nova]\natach = vfio",
            ["[nova] has no option atach, did you mean attach?"],
        ),
        (
            "[layuot]\napply = native",
            ["[layuot] is no section, did you mean layout?"],
        ),
        ("[DEFAULT]\ndebug = true\n[oslo_reports]\nlog_dir = /tmp", []),
    ],
)
def test_a_misspelt_option_is_found(
    tmp_path: pathlib.Path, text: str, told: list[str]
) -> None:
    path = tmp_path / "a.conf"
    path.write_text(text)
    found = sources.unknown([path], KNOWN, {"nova"})
    assert found == [f"{path}: {each}" for each in told]


def test_every_option_in_the_sample_is_known(tmp_path: pathlib.Path) -> None:
    sample = pathlib.Path("etc/mig-placement/mig-placement.conf.sample")
    path = tmp_path / "a.conf"
    text = re.sub(r"(?m)^#(\w+ = .*)$", r"\1", sample.read_text())
    path.write_text(re.sub(r"(?m)^(\w+) = .*$", r"\1 = 1", text))
    parsed = cfg.ConfigOpts()
    parsed([f"--config-file={path}"])
    assert conf.misspelt(parsed) == []


def test_a_wrong_value_is_told_with_its_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[layout]\napply = natve\n")
    parsed = conf.parse([f"--config-file={path}"])
    with pytest.raises(exception.ConfigError) as caught:
        conf.settings(parsed)
    assert f"option apply in {path} is not valid" in str(caught.value)
    assert "LocationInfo" not in str(caught.value)


def test_a_missing_file_is_not_to_be_corrected(tmp_path: pathlib.Path) -> None:
    with pytest.raises(exception.ConfigError, match="a file that is there"):
        conf.parse([f"--config-file={tmp_path}/none.conf"])


@pytest.mark.parametrize("plugin", ["password", "v3password"])
@pytest.mark.parametrize("password", ["", "password = x"])
def test_a_password_that_lacks_is_a_wrong_option(
    tmp_path: pathlib.Path, plugin: str, password: str
) -> None:
    path = tmp_path / "a.conf"
    path.write_text(
        f"[placement]\nauth_type = {plugin}\n{password}\n"
        "username = u\nuser_domain_id = d\n"
        "auth_url = http://127.0.0.1:1/v3\n"
    )
    parsed = conf.parse([f"--config-file={path}"])
    if password:
        connection.connect(parsed)
        return
    with pytest.raises(exception.ConfigError, match="password is not set"):
        connection.connect(parsed)


@pytest.mark.parametrize("dollar", ["$", "${", "$group.", "$placement."])
def test_a_dollar_in_a_password_is_told_without_what_follows(
    tmp_path: pathlib.Path, dollar: str
) -> None:
    path = tmp_path / "a.conf"
    brace = "}" if "{" in dollar else ""
    path.write_text(
        "[placement]\nauth_type = password\nusername = u\n"
        "user_domain_id = d\nauth_url = http://127.0.0.1:1/v3\n"
        f"password = s3cr{dollar}hunter2{brace}\n"
    )
    parsed = conf.parse([f"--config-file={path}"])
    with pytest.raises(
        exception.ConfigError, match=r"\[placement\]: .*write \$\$ for a \$"
    ) as caught:
        connection.connect(parsed)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    assert "group" not in str(caught.value)


def test_a_dollar_in_an_option_of_ours_is_told_so(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[layout]\napply_command = tool $HUNTER2\n")
    parsed = conf.parse([f"--config-file={path}"])
    with pytest.raises(
        exception.ConfigError, match=r"write \$\$ for a \$"
    ) as caught:
        conf.settings(parsed)
    assert "HUNTER2" not in str(caught.value)
    path.write_text("[layout]\napply_command = tool $$HUNTER2\n")
    parsed = conf.parse([f"--config-file={path}"])
    assert conf.settings(parsed).apply_command == "tool $HUNTER2"
