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

"""The thread that hears of events and changed files."""

import pathlib
import threading

from mig_placement import conf
from mig_placement.hardware import model
from mig_placement.service import nvml
from mig_placement.service import watch

_EVENT = model.Event("GPU-1", 94, 3)


class _Strange(nvml.Nvml):
    """An NVML that first answers what nobody can read, and then tells."""

    answers = 0

    def wait(self, timeout: float) -> tuple[model.Event, ...] | None:
        self.answers += 1
        if self.answers == 1:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")
        return (_EVENT,) if self.answers == 2 else None


def test_what_nobody_expects_does_not_deafen_the_watcher(
    tmp_path: pathlib.Path,
) -> None:
    config = tmp_path / "a.conf"
    config.write_text("")
    settings = conf.settings(conf.parse([f"--config-file={config}"]))
    heard = threading.Event()
    watcher = watch.Watcher(_Strange(settings), (), heard.set)
    watcher.ensure()
    try:
        assert heard.wait(5), "the loop is to look"
        heard.clear()
        assert heard.wait(5)
        assert watcher.take() == (_EVENT,)
    finally:
        watcher.stop()
