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
"""python -m bench.ticking CONFIG WARM STEADY: an agent that does not wait.

In a process of its own, so that its memory and its processor time are an
agent's and nobody else's. Prints one line of JSON.
"""

import collections
import collections.abc
import contextlib
import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import time
from typing import Any

import pynvml
from oslo_config import cfg
from oslo_log import log

from bench import recording
from mig_placement import agent
from mig_placement import conf
from mig_placement import cycle

# Not used: the service has it in memory, and its memory is measured.
from mig_placement.cmd import agent as _service  # noqa: F401
from mig_placement.service import wake
from mig_placement.service import way

# Cycles after the others: to look at each call takes time, too.
_WATCHED = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Ticks:
    """What the cycles of one agent cost.

    :ivar count: of steady cycles.
    :ivar began: by the monotonic clock, as all times here.
    :ivar first: when the first cycle was over.
    :ivar steady: from when on the cycles were steady,
    :ivar ended: and until when.
    :ivar cpu: seconds of a core, of one steady cycle.
    :ivar nvml: calls into NVML of one steady cycle, by function.
    :ivar inside: of its seconds, those within these calls.
    :ivar early: resident memory before the steady cycles, in MiB.
    :ivar late: the same after them.
    """

    count: int
    began: float
    first: float
    steady: float
    ended: float
    cpu: float
    nvml: dict[str, int]
    inside: float
    early: float
    late: float

    def first_cycle(
        self, log: recording.RequestLog
    ) -> list[recording.Request]:
        """What Placement was asked in it."""
        return log.between(self.began, self.first)

    def steady_cycles(
        self, log: recording.RequestLog
    ) -> list[recording.Request]:
        """What Placement was asked in all of them."""
        return log.between(self.steady, self.ended)


def run(config: pathlib.Path, *, warm: int, steady: int) -> Ticks:
    """The ticks of an agent in a process of its own.

    :param warm: cycles that come first, to read, import and fill caches.
    """
    command = [sys.executable, "-m", __name__, str(config)]
    done = subprocess.run(
        [*command, str(warm), str(steady)], stdout=subprocess.PIPE, check=True
    )
    return Ticks(**json.loads(done.stdout))


def _agent(config: str) -> agent.Agent:
    """As the service makes it."""
    options = cfg.ConfigOpts()
    log.register_options(options)
    options = conf.parse([f"--config-file={config}"], conf=options)
    log.setup(options, "mig_placement")
    settings = conf.settings(options)
    synchronizer = cycle.synchronizer(
        options, settings.root_name, way.way(settings).attach
    )
    return agent.Agent(settings, synchronizer, wake.Waker())


def _ticks(running: agent.Agent, warm: int, count: int) -> Ticks:
    began = time.monotonic()
    running.tick()
    first = time.monotonic()
    for _ in range(warm - 1):
        running.tick()
    early, steady, cpu = _resident(), time.monotonic(), time.process_time()
    for _ in range(count):
        running.tick()
    cpu, ended, late = time.process_time() - cpu, time.monotonic(), _resident()
    with _watched_calls() as calls:
        for _ in range(_WATCHED):
            running.tick()
    return Ticks(
        count=count,
        began=began,
        first=first,
        steady=steady,
        ended=ended,
        cpu=cpu / count,
        nvml={
            name: round(number / _WATCHED)
            for name, number in calls.numbers.items()
        },
        inside=calls.seconds / _WATCHED,
        early=early,
        late=late,
    )


def _resident() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class _Watched:
    """Stands before the library that pynvml has loaded."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.numbers = collections.Counter[str]()
        self.seconds = 0.0

    def __getattr__(self, name: str) -> collections.abc.Callable[..., Any]:
        function = getattr(self._library, name)

        def watched(*arguments: Any) -> Any:
            self.numbers[name] += 1
            began = time.thread_time()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.thread_time() - began

        return watched


@contextlib.contextmanager
def _watched_calls() -> collections.abc.Iterator[_Watched]:
    """See what is asked of an NVML that is open already."""
    library = pynvml.nvmlLib
    watched = _Watched(library)
    _load(watched)
    try:
        yield watched
    finally:
        _load(library)


def _load(library: Any) -> None:
    pynvml.nvmlLib = library
    # It remembers the functions of the one before.
    pynvml._nvmlGetFunctionPointer_cache.clear()


def main() -> int:
    config, warm, steady = sys.argv[1:]
    running = _agent(config)
    try:
        ticks = _ticks(running, int(warm), int(steady))
        print(json.dumps(dataclasses.asdict(ticks)))
    finally:
        running.let_go()
    return 0


if __name__ == "__main__":
    sys.exit(main())
