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
"""A real Placement that notes each request that it answers, and when."""

import argparse
import collections.abc
import dataclasses
import io
import json
import logging
import pathlib
import sys
import time
from typing import Any
from wsgiref.types import StartResponse
from wsgiref.types import WSGIApplication
from wsgiref.types import WSGIEnvironment

from mig_placement.demo import placement_server
from mig_placement.demo import serving

_POLL = 0.002
_PATIENCE = 60.0
_START = 120.0


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request and the status of its answer.

    :ivar at: when the answer was ready, by the monotonic clock, which all
        processes of a machine share.
    """

    at: float
    method: str
    path: str
    query: str
    status: int
    body: str

    @property
    def is_write(self) -> bool:
        return self.method not in ("GET", "HEAD")

    @property
    def done(self) -> bool:
        """Whether Placement did what was asked."""
        return self.status < 400

    def json(self) -> Any:
        return json.loads(self.body)


class RequestLog:
    """The requests so far, oldest first; reads on where it stopped."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._offset = 0
        self._requests: list[Request] = []

    def all(self) -> list[Request]:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        # The last line may be half written.
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._requests += [
            Request(**json.loads(line)) for line in whole.splitlines()
        ]
        return self._requests

    def between(
        self, begin: float, end: float = float("inf")
    ) -> list[Request]:
        return [each for each in self.all() if begin <= each.at < end]

    def wait_for(
        self, wanted: collections.abc.Callable[[Request], bool], since: float
    ) -> Request:
        """The first such request that is answered after a time.

        Placement itself is left in peace: asking it would delay the one
        that is waited for.
        """
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            for each in self._fresh(since):
                if wanted(each):
                    return each
            time.sleep(_POLL)
        raise RuntimeError(f"not within {_PATIENCE:g} s")

    def _fresh(self, since: float) -> list[Request]:
        found = []
        for each in reversed(self.all()):
            if each.at < since:
                break
            found.append(each)
        return found[::-1]


class RecordedPlacement(placement_server.PlacementProcess):
    """A Placement process, and the log of what it was asked."""

    def __init__(self) -> None:
        # On a machine that does other things as well it may take long.
        super().__init__(time_limit=_START)
        # The same server, run by this file.
        self._module = "bench.recording"
        self._path = self.folder / "requests.jsonl"
        self._path.touch()
        self.log = RequestLog(self._path)

    def arguments(self) -> collections.abc.Sequence[str]:
        return [
            "--database",
            str(self.database),
            "--requests",
            str(self._path),
        ]


class _Recorder:
    """Writes a line for each answer, before the client has it."""

    def __init__(
        self, application: WSGIApplication, path: pathlib.Path
    ) -> None:
        self._application = application
        self._file = path.open("ab", buffering=0)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> collections.abc.Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        environ["wsgi.input"] = io.BytesIO(body)
        status = ""

        def noting(text: str, *more: Any) -> Any:
            nonlocal status
            status = text
            return start_response(text, *more)

        answer = list(self._application(environ, noting))
        self._note(environ, int(status.split()[0]), body)
        return answer

    def _note(
        self, environ: WSGIEnvironment, status: int, body: bytes
    ) -> None:
        request = Request(
            at=time.monotonic(),
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            query=environ.get("QUERY_STRING", ""),
            status=status,
            body=body.decode(errors="replace"),
        )
        line = json.dumps(dataclasses.asdict(request))
        # One call: threads write whole lines.
        self._file.write(f"{line}\n".encode())


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.recording")
    parser.add_argument("--database", type=pathlib.Path, required=True)
    parser.add_argument("--requests", type=pathlib.Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--owner-folder", type=pathlib.Path)
    return parser.parse_args()


def main() -> int:
    """Serve until SIGTERM, as placement_server does."""
    args = _parsed()
    ready = serving.claim_stdout()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    application = placement_server.load_application(
        f"sqlite:///{args.database.resolve()}"
    )
    serving.serve(
        _Recorder(application, args.requests),
        args.port,
        ready=ready,
        owner_folder=args.owner_folder,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
