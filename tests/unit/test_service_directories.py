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
"""Which directories are the agent's alone."""

import os
import pathlib
import pwd
import stat

import pytest

from mig_placement import exception
from mig_placement.service import directories

US = directories.Trusted(frozenset({0, 1000}), frozenset({0, 1000}))


def _status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "is_itself", "objection"),
    [
        (stat.S_IFDIR | 0o2750, 1000, 1000, True, ""),
        (stat.S_IFDIR | 0o2750, 1000, 1001, True, ""),
        (stat.S_IFDIR | 0o2770, 0, 0, True, ""),
        (stat.S_IFDIR | 0o2770, 0, 1000, True, ""),
        (stat.S_IFDIR | 0o2770, 0, 1001, True, "group 1001 may write to it"),
        (stat.S_IFDIR | 0o3770, 0, 1001, True, "group 1001 may write to it"),
        (stat.S_IFDIR | 0o0775, 0, 1001, False, "group 1001 may write to it"),
        (stat.S_IFDIR | 0o1775, 0, 1001, False, ""),
        (stat.S_IFDIR | 0o0775, 1000, 1000, False, ""),
        (stat.S_IFDIR | 0o0750, 1001, 0, True, "user 1001 owns it"),
        (stat.S_IFDIR | 0o0752, 0, 0, True, "any user may write to it"),
        (stat.S_IFDIR | 0o1777, 0, 0, True, "any user may write to it"),
        (stat.S_IFDIR | 0o1777, 0, 0, False, ""),
        (stat.S_IFDIR | 0o0777, 0, 0, False, "any user may write to it"),
        (stat.S_IFDIR | 0o0755, 1001, 0, False, "user 1001 owns it"),
        (stat.S_IFDIR | 0o1777, 1001, 0, False, "user 1001 owns it"),
        (stat.S_IFLNK | 0o0777, 1000, 0, False, ""),
        (stat.S_IFLNK | 0o0777, 1001, 0, False, "another user made the link"),
    ],
)
def test_a_directory_is_judged_by_owner_and_mode(
    mode: int, uid: int, gid: int, is_itself: bool, objection: str
) -> None:
    status = _status(mode, uid, gid)
    assert directories.objection(status, US, is_itself=is_itself) == objection


def test_who_owns_the_configuration_is_trusted(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("")
    if os.geteuid() == 0:
        os.chown(path, 4711, -1)
    trusted = directories.trusted([path])
    assert trusted.uids >= {0, os.geteuid(), path.stat().st_uid}
    assert 4712 not in trusted.uids
    assert trusted.gids >= {0, os.getegid()}
    assert 4712 not in trusted.gids


def test_a_link_of_our_own_is_followed_to_what_is_checked(
    tmp_path: pathlib.Path,
) -> None:
    trusted = directories.trusted([])
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    directories.check(tmp_path / "link" / "run", "run_dir", trusted)
    (tmp_path / "real").chmod(0o777)
    with pytest.raises(exception.ConfigError, match=f"{tmp_path}/real"):
        directories.check(tmp_path / "link" / "run", "run_dir", trusted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_nothing_lies_below_what_is_another_users(
    tmp_path: pathlib.Path,
) -> None:
    trusted = directories.trusted([])
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    (tmp_path / "ours").mkdir(mode=0o750)
    (theirs / "link").symlink_to(tmp_path / "ours")
    (theirs / "ours").mkdir(mode=0o750)
    os.chown(theirs, 4712, 4712)
    for name in ("ours", "link", "none/yet"):
        with pytest.raises(
            exception.ConfigError, match=f"{theirs}: user 4712 owns it"
        ):
            directories.check(theirs / name, "run_dir", trusted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_users_own_group_is_trusted_with_the_user(
    tmp_path: pathlib.Path,
) -> None:
    user = pwd.getpwnam("nobody")
    (tmp_path / "a.conf").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o775)
    for name in ("a.conf", "run"):
        os.chown(tmp_path / name, user.pw_uid, user.pw_gid)
    trusted = directories.trusted([tmp_path / "a.conf"])
    directories.check(tmp_path / "run", "run_dir", trusted)
    with pytest.raises(exception.ConfigError, match="owns it"):
        directories.check(tmp_path / "run", "run_dir", directories.trusted([]))
