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
"""Serves the metrics over HTTP; whatever it meets, the agent goes on."""

import collections.abc
import importlib.util
import logging

from mig_placement import exception
from mig_placement.conf import metrics as options
from mig_placement.service import measures

LOG = logging.getLogger(__name__)


def check_package() -> None:
    """:raises ConfigError: prometheus-client is not installed."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise exception.ConfigError(
            "the package prometheus-client is not installed",
            where="[metrics] listen",
            mend="pip install 'mig-placement[metrics]', or leave listen empty",
        )


class Exporter:
    """Listens where it can.

    An address that is taken, or is not there, is logged once and tried again
    with every ``ensure``: metrics never keep the agent from its work.
    """

    def __init__(
        self, listen: options.Listen, measured: measures.Measures
    ) -> None:
        self._listen = listen
        self._measured = measured
        self._stop: collections.abc.Callable[[], None] | None = None
        self._said = ""

    def ensure(self) -> None:
        """Listen, unless that is so already; never raises."""
        if self._stop:
            return
        try:
            # Imported here: it costs memory that few agents need.
            from mig_placement.service import metrics_server

            self._stop = metrics_server.serve(self._listen, self._measured)
        except Exception as error:
            self._say(getattr(error, "strerror", None) or repr(error))
            return
        self._said = ""
        LOG.info("metrics are served on %s", self._listen)

    def _say(self, trouble: str) -> None:
        if trouble != self._said:
            self._said = trouble
            LOG.error(
                "[metrics] listen: cannot listen on %s (%s); the agent goes"
                " on without metrics and tries again; free the address, or"
                " name another",
                self._listen,
                trouble,
            )

    def stop(self) -> None:
        if self._stop:
            self._stop()
            self._stop = None
