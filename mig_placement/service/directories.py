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
"""Whether a directory of the agent's own is nobody else's."""

import collections.abc
import contextlib
import os
import pathlib
import pwd
import stat

from mig_placement import exception

_SERVICE_USER = "mig-placement"

Uids = frozenset[int]


def check(path: pathlib.Path, option: str, trusted: Uids) -> None:
    """Refuse a directory in which another user could put or swap files.

    :param option: what it is configured with, for the error.
    :param trusted: user ids that may own it.
    :raises ConfigError: another user owns it or may write to it, or may
        swap it.
    """
    wanted = pathlib.Path(os.path.realpath(path))
    for each in (wanted, *wanted.parents, *_links(path)):
        found = _status(each)
        what = found and objection(found, trusted, is_itself=each == wanted)
        if what:
            raise exception.ConfigError(
                f"{what}, and could put files of their own there",
                where=f"[agent] {option}: {each}",
                mend="give it to the agent's user and let nobody else write"
                " there (chmod o-w), or name another directory",
            )


def objection(found: os.stat_result, trusted: Uids, *, is_itself: bool) -> str:
    """What speaks against a directory, one above it, or a link to it."""
    if stat.S_ISLNK(found.st_mode):
        return "" if found.st_uid in trusted else "another user made the link"
    # In /tmp nobody can swap what another user has made.
    swappable = is_itself or not found.st_mode & stat.S_ISVTX
    if found.st_mode & stat.S_IWOTH and swappable:
        return "any user may write to it"
    if is_itself and found.st_uid not in trusted:
        return f"user {found.st_uid} owns it"
    return ""


def _links(path: pathlib.Path) -> list[pathlib.Path]:
    return [each for each in (path, *path.parents) if each.is_symlink()]


def _status(path: pathlib.Path) -> os.stat_result | None:
    """None where there is nothing yet: it is made below what is checked."""
    with contextlib.suppress(OSError):
        return path.lstat()
    return None


def trusted(
    configuration: collections.abc.Iterable[pathlib.Path],
) -> Uids:
    """Who may own the agent's directories: root, its user, and whoever can
    tell it by its configuration what to do."""
    uids = {0, os.geteuid()}
    with contextlib.suppress(KeyError):
        # The agent as root, in the directories of one that was not.
        uids.add(pwd.getpwnam(_SERVICE_USER).pw_uid)
    uids.update(path.stat().st_uid for path in configuration)
    return frozenset(uids)
