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
"""What systemd is told, and what it is asked."""

import collections.abc
import contextlib
import os
import socket
import subprocess
import threading
import time

_PATIENCE = 5


def notify(*assignments: str) -> None:
    """Send READY=1 and the like, as sd_notify(3); nothing without systemd.

    Never raises: a lost notification must not end the agent.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    text = "\n".join(map(_one_line, assignments))
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        sender.sendto(text.encode(), name)


def _one_line(assignment: str) -> str:
    """A status may quote others: a line of theirs would be an assignment."""
    return "".join(c if c.isprintable() else "?" for c in assignment)


def watchdog_period() -> float | None:
    """Seconds within which WATCHDOG=1 is due, or None."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or int(microseconds) == 0:
        return None
    pid = os.environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    return int(microseconds) / 1e6


@contextlib.contextmanager
def busy(most: float) -> collections.abc.Iterator[None]:
    """Feed the watchdog while the block does work that takes long.

    :param most: seconds after which the watchdog may bite nevertheless.
    """
    period = watchdog_period()
    done = threading.Event()
    feeder = threading.Thread(
        target=_feed, args=(period or 0.0, most, done), daemon=True
    )
    if period:
        feeder.start()
    try:
        yield
    finally:
        done.set()
        if period:
            feeder.join()


def _feed(period: float, most: float, done: threading.Event) -> None:
    until = time.monotonic() + most
    while not done.wait(period / 3) and time.monotonic() < until:
        notify("WATCHDOG=1")


def host_is_stopping() -> bool:
    """Whether the host goes down, and not the agent alone."""
    try:
        answer = subprocess.run(
            ["systemctl", "is-system-running"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == "stopping"
