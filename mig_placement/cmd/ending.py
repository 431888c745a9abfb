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
"""Lets a command that is told to end do so in order."""

import collections.abc
import contextlib
import signal
import types

# A connection that is lost, Ctrl-C, and a host that goes down.
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
# As a shell has it.
_EXIT_BY_SIGNAL = 128


@contextlib.contextmanager
def in_order() -> collections.abc.Iterator[None]:
    """Let a signal end the block by an exception, one; main thread only.

    By themselves SIGHUP and SIGTERM end Python at once: a tool in a session
    of its own goes on changing GPUs, and the lock that keeps the gate closed
    is gone. A second Ctrl-C would end what waits for steps that were begun.

    :raises SystemExit: there was one; the status is 128 and its number.
    """
    before = {each: signal.getsignal(each) for each in _SIGNALS}
    for each, handler in before.items():
        # nohup's wish.
        if handler is not signal.SIG_IGN:
            signal.signal(each, _leave)
    try:
        yield
    finally:
        for each, handler in before.items():
            # Ignored by now: told to end, the process does, with the status
            # that says so, however often it is told.
            if signal.getsignal(each) is _leave:
                signal.signal(each, handler)


def _leave(number: int, _: types.FrameType | None) -> None:
    # One is enough: of a lost connection both terminal and shell tell, and
    # who sees nothing happen presses Ctrl-C again.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(_EXIT_BY_SIGNAL + number)
