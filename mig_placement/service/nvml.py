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
"""NVML for as long as it is wanted: opened when needed, let go on demand."""

import pathlib
import threading

from mig_placement import conf
from mig_placement import exception
from mig_placement.hardware import model
from mig_placement.hardware import session
from mig_placement.hardware import sysfs


def choose_library(settings: conf.Settings) -> None:
    """Put the library that the configuration names under pynvml.

    :raises HardwareError: there is no such library or simulated node.
    """
    if settings.simulate:
        # Imported where it is used: a node with GPUs starts without it.
        from mig_placement import simulator

        _refuse_missing(settings.simulate)
        simulator.install(settings.simulate)
    elif settings.library:
        session.use_library(settings.library)


def _refuse_missing(path: str) -> None:
    """Advice about a kernel driver would lead astray."""
    if not pathlib.Path(path).exists():
        raise exception.DriverNotLoaded(
            "there is no such simulated node",
            where=f"[hardware] simulate = {path}",
            mend="make it with 'mig-placement simulate create'",
        )


def functions(settings: conf.Settings) -> sysfs.Sysfs | None:
    """Where virtual functions are seen; None where nobody attaches them."""
    return None if settings.attach == "none" else all_functions(settings)


def all_functions(settings: conf.Settings) -> sysfs.Sysfs:
    """Where virtual functions are seen, whoever uses them."""
    if settings.simulate:
        from mig_placement import simulator

        node = simulator.SimulatedNode(settings.simulate)
        return sysfs.Sysfs(pathlib.Path(node.sysfs_root), node.write_sysfs)
    return sysfs.Sysfs(settings.sysfs_root)


class Nvml:
    """A session that one thread observes with and another waits on.

    After any failure it is closed, so that the next use starts anew: a
    session does not outlive a driver that was reloaded.
    """

    def __init__(self, settings: conf.Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._session: session.Session | None = None
        self._uuids: list[str] = []
        self._silent: frozenset[int] = frozenset()

    def observe(self) -> model.Node:
        """:raises HardwareError: NVML gives no usable answer."""
        try:
            node = self._opened().observe()
            if self._has_other_gpus(node):
                # Events are registered for GPUs, not for slots.
                self.let_go()
                node = self._opened().observe()
                self._has_other_gpus(node)
        except exception.HardwareError:
            self.let_go()
            raise
        return node

    def _has_other_gpus(self, node: model.Node) -> bool:
        """Whether GPUs came or went since the session was opened, or one
        answers again that did not."""
        seen = [gpu.uuid for gpu in node.gpus]
        silent = frozenset(gpu.index for gpu in node.gpus if gpu.fault)
        before, self._uuids = self._uuids, seen
        silent_before, self._silent = self._silent, silent
        return (bool(before) and before != seen) or bool(
            silent_before - silent
        )

    def _opened(self) -> session.Session:
        with self._lock:
            if self._session is None:
                choose_library(self._settings)
                self._session = session.Session(
                    with_events=True, functions=functions(self._settings)
                )
            return self._session

    def let_go(self) -> None:
        """Close the session, so that GPUs can be reset."""
        with self._lock:
            opened, self._session = self._session, None
            self._uuids = []
            self._silent = frozenset()
        if opened is not None:
            opened.close()

    def wait(self, timeout: float) -> tuple[model.Event, ...] | None:
        """Events within ``timeout`` seconds; None without a session.

        :raises HardwareError: events cannot be waited for just now.
        """
        with self._lock:
            opened = self._session
        return None if opened is None else opened.wait(timeout)
