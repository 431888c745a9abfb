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

"""A headless Chromium, spoken to over a pipe: no driver, no library."""

import base64
import fcntl
import json
import os
import pathlib
import select
import shutil
import subprocess
from types import TracebackType
from typing import Any
from typing import Self

_NAMES = (
    "chromium",
    "chromium-headless-shell",
    "chromium-browser",
    "google-chrome",
)
_SECONDS = 30.0


def path() -> str | None:
    """CHROMIUM names it, or it is where such things are."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """A browser for the time of a ``with`` block, with one page open.

    :param folder: for its profile.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        found = path()
        assert found
        ours, theirs = _pipe(), _pipe()
        self._to, self._from = ours[1], theirs[0]
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}',
                *("bash", found, "--headless", "--no-sandbox"),
                *("--disable-gpu", "--remote-debugging-pipe"),
                f"--user-data-dir={folder / 'profile'}",
                "about:blank",
            ],
            pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._buffer = b""
        self._last = 0
        self._session = ""
        #: What it said by itself, in its order.
        self.events: list[Any] = []

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")
        self._session = self.call(
            "Target.attachToTarget",
            targetId=target["targetId"],
            flatten=True,
        )["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._to)
        os.close(self._from)
        self._process.terminate()
        self._process.wait(_SECONDS)

    def call(self, method: str, **parameters: Any) -> Any:
        """A method of the DevTools protocol; its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> Any:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], _SECONDS)
            read = os.read(self._from, 1 << 20) if ready else b""
            assert read, "Chromium says nothing"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, page: pathlib.Path) -> None:
        """Open a page and wait until it is there."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(
            each.get("method") == "Page.loadEventFired" for each in self.events
        ):
            self.events.append(self._receive())

    def value(self, script: str) -> Any:
        """What an expression of the page's is, a promise's value too."""
        found = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def requested(self) -> list[str]:
        """URLs that were asked for since the page was opened."""
        return [
            each["params"]["request"]["url"]
            for each in self.events
            if each.get("method") == "Network.requestWillBeSent"
        ]

    def screenshot(self, to: pathlib.Path) -> None:
        """A picture of what a person sees."""
        found = self.call("Page.captureScreenshot", format="png")
        to.write_bytes(base64.b64decode(found["data"]))


def _pipe() -> tuple[int, int]:
    """None of the ends is 3 or 4, which are the browser's."""
    made = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in made]
    for end in made:
        os.close(end)
    return moved[0], moved[1]
