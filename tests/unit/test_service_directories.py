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
import stat

import pytest

from mig_placement import exception
from mig_placement.service import directories

US = frozenset({0, 1000})


def _status(mode: int, uid: int) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "is_itself", "objection"),
    [
        (stat.S_IFDIR | 0o2750, 1000, True, ""),
        (stat.S_IFDIR | 0o2770, 0, True, ""),
        (stat.S_IFDIR | 0o0750, 1001, True, "user 1001 owns it"),
        (stat.S_IFDIR | 0o0752, 0, True, "any user may write to it"),
        (stat.S_IFDIR | 0o1777, 0, True, "any user may write to it"),
        (stat.S_IFDIR | 0o1777, 0, False, ""),
        (stat.S_IFDIR | 0o0777, 0, False, "any user may write to it"),
        (stat.S_IFDIR | 0o0755, 1001, False, ""),
        (stat.S_IFLNK | 0o0777, 1000, False, ""),
        (stat.S_IFLNK | 0o0777, 1001, False, "another user made the link"),
    ],
)
def test_a_directory_is_judged_by_owner_and_mode(
    mode: int, uid: int, is_itself: bool, objection: str
) -> None:
    found = directories.objection(_status(mode, uid), US, is_itself=is_itself)
    assert found == objection


def test_who_owns_the_configuration_is_trusted(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("")
    if os.geteuid() == 0:
        os.chown(path, 4711, -1)
    trusted = directories.trusted([path])
    assert trusted >= {0, os.geteuid(), path.stat().st_uid}
    assert 4712 not in trusted


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
