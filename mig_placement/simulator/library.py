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

"""The object that stands in for the loaded NVML library."""

import functools
import threading
from typing import Any

import pynvml

from mig_placement.simulator import changes
from mig_placement.simulator import codes
from mig_placement.simulator import driver as drivers
from mig_placement.simulator import events
from mig_placement.simulator import mig
from mig_placement.simulator import outputs
from mig_placement.simulator import queries
from mig_placement.simulator import vgpu_queries


class Library:
    """NVML's C entry points as attributes, of one simulated node.

    An entry point that is not simulated is no attribute, which pynvml
    reports as it does for a library that is too old: FUNCTION_NOT_FOUND.
    """

    def __init__(self, path: str) -> None:
        self._driver = drivers.Driver(path)
        self.nvmlErrorString = _error_string
        for group in (
            queries.SystemQueries,
            queries.DeviceQueries,
            mig.GpuInstanceQueries,
            mig.ComputeInstanceQueries,
            mig.MigDeviceQueries,
            vgpu_queries.VgpuQueries,
            changes.Changes,
            events.Events,
        ):
            for name, function in group(self._driver).entries().items():
                setattr(self, name, _entry(function))

    def close(self) -> None:
        """End all waiting and let the node go."""
        self._driver.close()


def _entry(function: queries.Entry) -> queries.Entry:
    """A function that returns the code of what it raises."""

    # A function and not a method: pynvml sets attributes on it.
    @functools.wraps(function)
    def entry(*arguments: Any) -> int:
        try:
            return function(*arguments)
        except codes.Refused as refusal:
            return refusal.code

    return entry


def _error_string(code: Any) -> bytes:
    text = codes.TEXTS.get(outputs.number(code), "Unknown Error")
    return text.encode()


_lock = threading.Lock()
_installed: list[Library] = []
_before: list[Any] = []


def install(path: str) -> None:
    """See mig_placement.simulator.install."""
    uninstall()
    with _lock:
        _before.append(pynvml.nvmlLib)
        _installed.append(Library(path))
        _put_in_place(_installed[-1])


def uninstall() -> None:
    """See mig_placement.simulator.uninstall."""
    with _lock:
        if _installed:
            _installed.pop().close()
            _put_in_place(_before.pop())


def _put_in_place(library: Any) -> None:
    with pynvml.libLoadLock:
        pynvml.nvmlLib = library
        pynvml._nvmlGetFunctionPointer_cache.clear()
