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
"""python -m bench.nova_requests: what nova-compute asks of Placement.

Run by an interpreter that has Nova (tests/nova/run makes one). Prints one
line of JSON.
"""

import collections.abc
import json
import logging
import sys
import time
import unittest
import warnings

from bench import recording
from bench import ticking
from tests.functional import placement_app
from tests.nova import base
from tests.nova import gpu_host

GPUS = 8
PER_GPU = 7
_WARM = 5
_CYCLES = 20

# Before the test, which has a folder of its own for temporary files.
_placement = recording.RecordedPlacement()
_counts: dict[str, float] = {}


class Requests(base.RealNovaTest):
    """A nova-compute with many providers, and then our agent beside it."""

    attach = "mdev"

    def tcp_server(self) -> placement_app.TcpServer:
        return placement_app.TcpServer(_placement)

    def test_requests(self) -> None:
        host = self.make_host(gpus=GPUS, per_gpu=PER_GPU)
        self.start_nova_compute()
        _counts["providers"] = len(self.providers()) - 1
        self._refresh()
        _counts["update"] = self._count(self.run_periodics)
        _counts["refresh"] = self._count(self._refresh)
        _counts["restart"] = self._count(self._restart)
        # The first run writes, the second is a restart.
        self._ticks(host)
        ticks = self._ticks(host)
        _counts["cycle"] = (
            len(ticks.steady_cycles(_placement.log)) / ticks.count
        )
        _counts["agent_restart"] = len(ticks.first_cycle(_placement.log))
        # What our providers add to Nova's.
        self._refresh()
        _counts["update_with_ours"] = self._count(self.run_periodics)
        _counts["refresh_with_ours"] = self._count(self._refresh)

    def _refresh(self) -> None:
        """A periodic update with caches that are old (5 minutes)."""
        self.expire_nova_caches()
        self.run_periodics()

    def _restart(self) -> None:
        # Not at the top: Nova's tests are to patch it first.
        from nova.scheduler.client import report

        # The services of this process share one client, which a restart of
        # nova-compute alone would not take away here.
        report.PLACEMENTCLIENT = None
        self.restart_nova_compute()

    def _ticks(self, host: gpu_host.GpuHost) -> ticking.Ticks:
        return ticking.run(host.config, steady=_CYCLES, warm=_WARM)

    def _count(self, action: collections.abc.Callable[[], None]) -> int:
        began = time.monotonic()
        action()
        return sum(map(_is_novas, _placement.log.between(began)))


def _is_novas(request: recording.Request) -> bool:
    """Nova's tests look for the root by its name, Nova does not."""
    return not request.query.startswith("name=")


def main() -> int:
    warnings.simplefilter("ignore")
    logging.getLogger("nova.thread_pool_factory").setLevel(logging.WARNING)
    with _placement:
        test = Requests("test_requests")
        result = unittest.TextTestRunner(sys.stderr).run(test)
    if not result.wasSuccessful():
        return 1
    print(json.dumps(_counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
