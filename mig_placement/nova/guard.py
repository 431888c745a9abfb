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

"""The host gate beside the agent's loop, which never waits for Nova."""

import collections.abc
import dataclasses
import logging
import threading
import time

from mig_placement.nova import compute_service

LOG = logging.getLogger(__name__)

_FIRST_RETRY = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Wish:
    is_open: bool
    reason: str = ""


class Guard:
    """Follows the gate with a thread of its own.

    A Nova that hangs must not keep the agent from closing in Placement.

    :param interval: seconds after which the service is looked at again
        though nothing happened.
    :param on_change: called by the thread when ``line`` became another.
    """

    def __init__(
        self,
        gate: compute_service.HostGate,
        interval: float,
        on_change: collections.abc.Callable[[], object],
    ) -> None:
        self._gate = gate
        self._interval = interval
        self._on_change = on_change
        self._changed = threading.Condition()
        self._wish: _Wish | None = None
        self._tried: _Wish | None = None
        self._stopping = False
        self._failures = 0
        self._line = ""
        self._thread = threading.Thread(
            target=self._run, name="host-gate", daemon=True
        )

    @property
    def line(self) -> str:
        """What is known of the service: for the status."""
        return self._line

    def start(self) -> None:
        self._thread.start()

    def follow(self, is_open: bool, reason: str, *, told: bool) -> None:
        """Take note of the gate; returns at once.

        :param told: whether Placement holds it. Opening here comes last,
            and so waits for that; closing does not.
        """
        if is_open and not told:
            return
        with self._changed:
            self._wish = _Wish(is_open, "" if is_open else reason)
            self._changed.notify_all()

    def stop(self, patience: float = 0) -> None:
        """End the thread, when it has done what was last asked for.

        :param patience: seconds to wait for that, at most.
        """
        with self._changed:
            self._changed.wait_for(self._is_done, timeout=patience)
            self._stopping = True
            self._changed.notify_all()

    def _run(self) -> None:
        while (wish := self._next()) is not None:
            trouble = self._keep(wish)
            with self._changed:
                self._failures = self._failures + 1 if trouble else 0
                self._tried = wish
                self._changed.notify_all()
            self._tell(trouble or str(self._gate.service), bool(trouble))

    def _keep(self, wish: _Wish) -> str:
        try:
            return self._gate.keep(wish.is_open, wish.reason)
        except Exception as error:
            # Whatever it is, the thread must be there for the next wish.
            LOG.debug("host gate", exc_info=error)
            return f"unexpected error ({error!r})"

    def _next(self) -> _Wish | None:
        """The wish to see to, when it is due; None is the end."""
        until = time.monotonic() + self._pause()
        with self._changed:
            while not self._stopping:
                due = until - time.monotonic()
                if self._wish and (due <= 0 or self._is_new()):
                    return self._wish
                self._changed.wait(due if self._wish else None)
            return None

    def _is_new(self) -> bool:
        return self._wish != self._tried

    def _is_done(self) -> bool:
        return not self._failures and not self._is_new()

    def _pause(self) -> float:
        if not self._failures:
            return self._interval
        grown = _FIRST_RETRY * 2.0 ** min(self._failures - 1, 20)
        return min(self._interval, grown)

    def _tell(self, line: str, is_trouble: bool) -> None:
        if line == self._line:
            return
        self._line = line
        if is_trouble:
            LOG.warning(
                "compute service: %s; it is as it was, and Placement's gate"
                " holds without it",
                line,
            )
        else:
            LOG.info("compute service: %s", line)
        self._on_change()
