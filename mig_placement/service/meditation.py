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
"""The guru meditation report on SIGUSR2: what the agent sees and does."""

import collections.abc
import contextlib
import datetime
import functools
import json
import logging
import os
import pathlib
import signal
import sys
import threading
from typing import Any

from oslo_config import cfg

from mig_placement import version
from mig_placement.conf import reports
from mig_placement.service import measures

LOG = logging.getLogger(__name__)

_NAME = "mig-placement-agent_gurumeditation_"
_MODE = 0o640


class Reporter:
    """Writes a report in a thread of its own, also while a cycle hangs.

    The handler of the signal does no more than write a byte to a pipe: it
    runs between any two steps of the main thread, which may hold any lock.

    :ivar options: the configuration that the report shows.
    """

    def __init__(
        self, options: cfg.ConfigOpts, measured: measures.Measures
    ) -> None:
        self.options = options
        self._measured = measured

    @contextlib.contextmanager
    def listening(self) -> collections.abc.Iterator[None]:
        """Report on SIGUSR2 while the block runs; in the main thread."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.signal(signal.SIGUSR2, lambda *_: _ask(writer))
        thread = threading.Thread(
            target=self._run, args=(reader,), name="reporter", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            signal.signal(signal.SIGUSR2, before)
            # The thread, who may be writing, ends after it and closes its end.
            os.close(writer)

    def _run(self, reader: int) -> None:
        while os.read(reader, 4096):
            try:
                self._write()
            except ImportError as error:
                LOG.error(
                    "no report on SIGUSR2 (%s); the agent goes on; pip install"
                    " 'mig-placement[reports]'",
                    error,
                )
            except Exception:
                LOG.exception(
                    "no report on SIGUSR2; the agent goes on; see that its"
                    " user may write to [oslo_reports] log_dir"
                )
        os.close(reader)

    def _write(self) -> None:
        text = report(self.options, self._measured)
        folder = self.options[reports.GROUP].log_dir
        if not folder:
            print(text, file=sys.stderr, flush=True)
            return
        LOG.info("report written to %s", _new_file(folder, text))


def _ask(writer: int) -> None:
    # A full pipe has asked for a report already.
    with contextlib.suppress(BlockingIOError):
        os.write(writer, b"\0")


def _new_file(folder: str, text: str) -> pathlib.Path:
    """:raises OSError: there is such a file or link, or no directory."""
    moment = datetime.datetime.now(datetime.UTC)
    path = pathlib.Path(folder) / f"{_NAME}{moment:%Y%m%d%H%M%S%f}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _MODE), "w") as file:
        file.write(text)
    return path


def report(options: cfg.ConfigOpts, measured: measures.Measures) -> str:
    """The report, secrets left out.

    :raises ImportError: oslo.reports is not installed.
    """
    # Imported here: they are needed once in a year, if at all.
    from oslo_reports import report as reports_of_oslo
    from oslo_reports.generators import conf
    from oslo_reports.generators import process
    from oslo_reports.generators import threading as threads

    # Not TextGuruMeditation: that one shows the options of cfg.CONF, where
    # we have none, and not those of the agent.
    made = reports_of_oslo.TextReport("Guru Meditation")
    for title, text in _sections(measured):
        made.add_section(title, functools.partial(str, text))
    made.add_section("Threads", threads.ThreadReportGenerator())
    made.add_section("Processes", process.ProcessReportGenerator())
    made.add_section("Configuration", conf.ConfigReportGenerator(options))
    return str(made.run())


def _sections(
    measured: measures.Measures,
) -> collections.abc.Iterator[tuple[str, str]]:
    yield "Package", f"mig-placement {version.version()}\n"
    status = measured.status
    if status is None:
        yield "Verdict", "no cycle has ended yet\n"
    else:
        yield "Verdict", _text({key: status[key] for key in _VERDICT})
        yield "Layout", _text(status["layout"])
        yield "GPUs", _text(status["gpus"])
    yield "Last plan", _lines(measured.plan)


_VERDICT = ("updated", "gate", "placement", "compute_service", "restore")


def _text(value: Any) -> str:
    return json.dumps(value, indent=1) + "\n"


def _lines(lines: tuple[str, ...]) -> str:
    return "\n".join(lines or ("nothing was planned",)) + "\n"
