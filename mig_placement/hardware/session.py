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
"""An open NVML session: opened late, shared by threads, let go on demand."""

import contextlib
import ctypes
import threading
import types
from typing import Self

import pynvml

from mig_placement import exception
from mig_placement.hardware import errors
from mig_placement.hardware import events
from mig_placement.hardware import model
from mig_placement.hardware import observe
from mig_placement.hardware import sysfs


def use_library(path: str) -> None:
    """Make pynvml load NVML from ``path`` instead of the linker's choice.

    :raises LibraryNotFound: the file cannot be loaded.
    """
    try:
        pynvml.nvmlLib = ctypes.CDLL(path)
    except OSError as error:
        raise exception.LibraryNotFound(
            f"cannot load the NVML library ({error})",
            where=f"[hardware] nvml_library = {path}",
            mend="give the path of libnvidia-ml.so.1",
        ) from error
    pynvml._nvmlGetFunctionPointer_cache.clear()


def _waiter() -> events.Waiter:
    try:
        return events.Waiter()
    except pynvml.NVMLError:
        # An open session would keep GPUs from being reset.
        pynvml.nvmlShutdown()
        raise


class Session:
    """NVML from init to shutdown; a held one blocks resets and SR-IOV work.

    :param with_events: whether ``wait`` will be used.
    :param functions: where virtual functions are seen, if they matter.
    :raises HardwareError: NVML cannot be initialised.
    """

    def __init__(
        self,
        with_events: bool = False,
        functions: sysfs.Sysfs | None = None,
    ) -> None:
        self._waiter: events.Waiter | None = None
        with errors.translated():
            pynvml.nvmlInit()
            if with_events:
                # Before the first observation, so that no change falls
                # between the two.
                self._waiter = _waiter()
        self._walk = observe.Walk(functions)
        self._closing = threading.Event()
        self._waiting = threading.Lock()

    def observe(self) -> model.Node:
        """The node as it is now.

        :raises HardwareError: NVML as a whole does not answer. A single
            GPU that does not is in the answer, with its fault.
        """
        with errors.translated():
            return self._walk.node()

    def wait(self, timeout: float) -> tuple[model.Event, ...]:
        """Block for events for at most ``timeout`` seconds.

        :raises HardwareError: events cannot be waited for just now.
        """
        with self._waiting, errors.translated("NVML events"):
            if self._closing.is_set() or self._waiter is None:
                return ()
            try:
                return self._waiter.wait(timeout)
            except pynvml.NVMLError:
                self._renew(self._waiter)
                raise

    def _renew(self, worn: events.Waiter) -> None:
        """Wait for others without a GPU that fell off the bus: with it in
        the set every wait fails, and nobody hears of the healthy ones."""
        with contextlib.suppress(pynvml.NVMLError):
            # The new one first: no event falls between the two.
            self._waiter = events.Waiter()
            worn.free()

    def close(self) -> None:
        """Let NVML go; a waiting thread returns first. Never raises."""
        if self._closing.is_set():
            return
        self._closing.set()
        with self._waiting:
            # Each may be refused where the driver went first, and what the
            # first one leaves open would block resets for ever.
            with contextlib.suppress(pynvml.NVMLError):
                if self._waiter is not None:
                    self._waiter.free()
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()
