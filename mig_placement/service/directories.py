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
import dataclasses
import os
import pathlib
import pwd
import stat

from mig_placement import exception

_SERVICE_USER = "mig-placement"


@dataclasses.dataclass(frozen=True, slots=True)
class Trusted:
    """User ids that may own a directory, groups whose members may write."""

    uids: frozenset[int]
    gids: frozenset[int]


def check(path: pathlib.Path, option: str, trusted: Trusted) -> None:
    """Refuse a directory in which another user could put or swap files.

    :param option: what it is configured with, for the error.
    :raises ConfigError: another user owns it or may write to it, or may
        swap it.
    """
    wanted = pathlib.Path(os.path.realpath(path))
    # Besides where it is, the links on the way there, and who can swap them.
    for each in (wanted, *wanted.parents, path, *path.parents):
        found = _status(each)
        what = found and objection(found, trusted, is_itself=each == wanted)
        if what:
            raise exception.ConfigError(
                f"{what}, and could put files of their own there",
                where=f"[agent] {option}: {each}",
                mend="give it to the agent's user and let nobody else write"
                " there (chmod go-w), or name another directory",
            )


def objection(
    found: os.stat_result, trusted: Trusted, *, is_itself: bool
) -> str:
    """What speaks against a directory, one above it, or a link to it."""
    theirs = found.st_uid not in trusted.uids
    if stat.S_ISLNK(found.st_mode):
        return "another user made the link" if theirs else ""
    if theirs:
        return f"user {found.st_uid} owns it"
    # In /tmp nobody but its owner can swap what another user has made.
    if found.st_mode & stat.S_ISVTX and not is_itself:
        return ""
    if found.st_mode & stat.S_IWOTH:
        return "any user may write to it"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in trusted.gids:
        return f"group {found.st_gid} may write to it"
    return ""


def _status(path: pathlib.Path) -> os.stat_result | None:
    """None where there is nothing yet: it is made below what is checked."""
    with contextlib.suppress(OSError):
        return path.lstat()
    return None


def trusted(
    configuration: collections.abc.Iterable[pathlib.Path],
) -> Trusted:
    """Who may own the agent's directories: root, its user, and whoever can
    tell it by its configuration what to do; and the groups of these."""
    uids = {0, os.geteuid()}
    with contextlib.suppress(KeyError):
        # The agent as root, in the directories of one that was not.
        uids.add(pwd.getpwnam(_SERVICE_USER).pw_uid)
    uids.update(path.stat().st_uid for path in configuration)
    gids = {0, os.getegid(), *_primary_groups(uids)}
    return Trusted(frozenset(uids), frozenset(gids))


def _primary_groups(
    uids: collections.abc.Iterable[int],
) -> collections.abc.Iterator[int]:
    """Where each user has a group of its own, its files are the group's."""
    for uid in uids:
        with contextlib.suppress(KeyError):
            yield pwd.getpwuid(uid).pw_gid
