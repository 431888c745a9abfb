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
"""Small files: whole or not at all, and safe against a hostile user."""

import os
import pathlib
import stat

import pytest

from mig_placement import exception
from mig_placement.service import files


def test_a_written_file_is_read_back(tmp_path: pathlib.Path) -> None:
    files.write_json(tmp_path / "new" / "a.json", {"a": [1, None]})
    assert files.read_json(tmp_path / "new" / "a.json") == {"a": [1, None]}


def test_no_file_is_none(tmp_path: pathlib.Path) -> None:
    assert files.read_json(tmp_path / "a.json") is None


def test_a_file_is_for_owner_and_group_alone(tmp_path: pathlib.Path) -> None:
    files.write_json(tmp_path / "a.json", 1)
    mode = stat.S_IMODE((tmp_path / "a.json").stat().st_mode)
    assert mode == 0o640


def test_a_link_is_replaced_and_never_written_through(
    tmp_path: pathlib.Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.json").symlink_to(victim)
    files.write_json(tmp_path / "a.json", 1)
    assert victim.read_text() == "precious"
    assert files.read_json(tmp_path / "a.json") == 1


def test_a_link_is_not_read_through(tmp_path: pathlib.Path) -> None:
    (tmp_path / "secret").write_text("1")
    (tmp_path / "a.json").symlink_to(tmp_path / "secret")
    with pytest.raises(exception.ConfigError, match="cannot be read"):
        files.read_json(tmp_path / "a.json")


def test_a_pipe_does_not_block_a_reader(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(exception.ConfigError, match="not a plain file"):
        files.read_json(tmp_path / "a.json")


def test_a_huge_file_is_refused(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(exception.ConfigError, match="too large"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 100_000])
def test_a_broken_file_is_one_clear_error(
    tmp_path: pathlib.Path, text: str
) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(exception.ConfigError) as caught:
        files.read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.json") in str(caught.value)


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(exception.ConfigError, match="cannot write"):
        files.write_json(tmp_path / "a.json", 1)
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_replaced_file_has_another_signature(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "a.json"
    assert files.signature(path) is None
    files.write_json(path, 1)
    before = files.signature(path)
    files.write_json(path, 2)
    assert files.signature(path) != before


def test_a_text_is_written_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.conf"
    assert files.write_text(path, "a = 1\n")
    before = files.signature(path)
    assert not files.write_text(path, "a = 1\n")
    assert files.signature(path) == before
    assert files.write_text(path, "a = 2\n")
    assert path.read_text() == "a = 2\n"
    assert [each.name for each in tmp_path.iterdir()] == ["a.conf"]


def test_a_new_text_is_as_open_as_the_user_s_files(
    tmp_path: pathlib.Path,
) -> None:
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a.conf", "a")
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE((tmp_path / "a.conf").stat().st_mode) == 0o640


def test_a_text_that_is_there_keeps_its_mode(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("old")
    path.chmod(0o604)
    assert files.write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_text_that_is_there_keeps_its_owner(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("old")
    os.chown(path, 65534, 65534)
    assert files.write_text(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_text_is_written_over_a_plain_file_alone(
    tmp_path: pathlib.Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link").symlink_to(victim)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "nowhere/a.conf", "victim/a.conf", "."):
        with pytest.raises(exception.ConfigError, match="cannot write"):
            files.write_text(tmp_path / name, "new")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("umask", [0, 0o077])
def test_directories_are_for_owner_and_group_whatever_the_umask(
    tmp_path: pathlib.Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        files.make_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_directory_that_is_there_keeps_its_mode(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o2770)
    files.make_directory(tmp_path / "a")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o2770


def test_the_group_of_a_directory_above_is_inherited(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o2750)
    files.make_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o2750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_reads_no_file_of_a_user_who_does_not_own_the_directory(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, 1)
    os.chown(path, 65534, 65534)
    with pytest.raises(exception.ConfigError, match="owned by another user"):
        files.read_json(path)
    os.chown(tmp_path, 65534, 65534)
    assert files.read_json(path) == 1


@pytest.mark.parametrize("name", ["gone", "a\0b", "x" * 300])
def test_what_cannot_be_looked_at_has_no_signature(
    tmp_path: pathlib.Path, name: str
) -> None:
    assert files.signature(tmp_path / name) is None
