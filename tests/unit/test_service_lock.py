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
"""Locks are plain files of ours, and nothing in their place does harm."""

import fcntl
import os
import pathlib
import stat
import threading
import time

import pytest

from mig_placement import exception
from mig_placement.service import lock


def test_a_lock_that_is_held_is_seen(tmp_path: pathlib.Path) -> None:
    assert not lock.agent_runs(tmp_path)
    with lock.agent(tmp_path):
        assert lock.agent_runs(tmp_path)
        with (
            pytest.raises(exception.ConfigError, match="another agent runs"),
            lock.agent(tmp_path),
        ):
            pass
    assert not lock.agent_runs(tmp_path)


def test_who_only_looks_is_in_nobodys_way(tmp_path: pathlib.Path) -> None:
    with lock.agent(tmp_path):
        pass
    # As agent_runs does, at the moment at which an agent starts.
    look = (tmp_path / "agent.lock").open()
    fcntl.flock(look, fcntl.LOCK_SH | fcntl.LOCK_NB)
    threading.Timer(0.05, look.close).start()
    with lock.agent(tmp_path):
        assert look.closed


def test_who_tells_of_what_it_sees_is_not_disturbed(
    tmp_path: pathlib.Path,
) -> None:
    told = threading.Event()

    def tell() -> None:
        with lock.undisturbed(tmp_path):
            started.set()
            # Longer than whoever only looks.
            time.sleep(1.0)
            told.set()

    started = threading.Event()
    threading.Thread(target=tell).start()
    started.wait()
    assert not lock.apply_runs(tmp_path)
    with lock.apply(tmp_path):
        assert told.is_set()


def test_who_tells_knows_that_the_geometry_changes(
    tmp_path: pathlib.Path,
) -> None:
    with lock.apply(tmp_path), lock.undisturbed(tmp_path) as is_free:
        assert lock.apply_runs(tmp_path)
        assert not is_free
    with lock.undisturbed(tmp_path) as is_free:
        assert not lock.apply_runs(tmp_path)
        assert is_free


def test_who_is_woken_finds_the_lock_free(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    utime = os.utime

    def woken(file: int) -> None:
        utime(file)
        found.append(lock.apply_runs(tmp_path))

    monkeypatch.setattr(os, "utime", woken)
    with lock.apply(tmp_path):
        pass
    assert found == [False]


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_lock_is_for_owner_and_group_whatever_the_umask(
    tmp_path: pathlib.Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        with lock.apply(tmp_path):
            pass
    finally:
        os.umask(before)
    path = lock.apply_path(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_pipe_in_place_of_a_lock_does_not_hang(
    tmp_path: pathlib.Path,
) -> None:
    os.mkfifo(lock.apply_path(tmp_path))
    assert not lock.apply_runs(tmp_path)
    lock.check(tmp_path)
    with (
        pytest.raises(exception.ConfigError, match="not a plain file"),
        lock.apply(tmp_path),
    ):
        pass
