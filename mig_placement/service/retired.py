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
"""Since when GPUs are gone and providers wait to be deleted, on disk."""

import collections.abc
import dataclasses
import logging
import pathlib
import time
from typing import Any
from urllib import parse

from mig_placement import exception
from mig_placement.service import files

LOG = logging.getLogger(__name__)

_NAME = "retire.json"
# What a file of another shape leads to.
_WRONG = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
)
_BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """A time that no clock change moves.

    :ivar boot: which boot of the host; empty where that is not known.
    :ivar seconds: since that boot, suspension included.
    """

    boot: str
    seconds: float


def moment() -> Moment:
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return Moment(boot, time.clock_gettime(time.CLOCK_BOOTTIME))


@dataclasses.dataclass(frozen=True, slots=True)
class Records:
    """What is remembered, by the provider's uuid.

    :ivar gone: when a GPU was first seen gone (seconds of the calendar,
        since it may be gone for weeks, over reboots).
    :ivar orphans: when a provider was taken from under its root; None
        where that is about to be, or nobody knows when it was.
    """

    gone: collections.abc.Mapping[str, float] = dataclasses.field(
        default_factory=dict
    )
    orphans: collections.abc.Mapping[str, Moment | None] = dataclasses.field(
        default_factory=dict
    )

    def with_orphan(self, uuid: str, since: Moment | None) -> "Records":
        return dataclasses.replace(self, orphans={**self.orphans, uuid: since})

    def without_orphans(
        self, uuids: collections.abc.Container[str]
    ) -> "Records":
        kept = {k: v for k, v in self.orphans.items() if k not in uuids}
        return dataclasses.replace(self, orphans=kept)

    def with_gone(
        self, uuids: collections.abc.Iterable[str], now: float
    ) -> "Records":
        """Exactly these are gone now.

        A clock that was put back makes them gone only now: never early.
        """
        known = self.gone
        return dataclasses.replace(
            self, gone={uuid: min(known.get(uuid, now), now) for uuid in uuids}
        )


def waited(since: Moment | None, now: Moment, after_reboot: float) -> float:
    """Seconds that a provider is without a root for.

    :param after_reboot: what a reboot since then counts for.
    """
    if since is None:
        return 0.0
    if since.boot and now.boot and since.boot != now.boot:
        return after_reboot
    return max(0.0, now.seconds - since.seconds)


def path(state_dir: pathlib.Path, other_host: str = "") -> pathlib.Path:
    """:param other_host: root name, where it is not this host's."""
    if not other_host:
        return state_dir / _NAME
    return state_dir / f"retire-{parse.quote(other_host, safe='')}.json"


def read(where: pathlib.Path) -> Records | None:
    """What is remembered; None where nothing is.

    What is lost is begun anew, which takes longer and does no harm.
    """
    try:
        value = files.read_json(where)
        return None if value is None else _records(value)
    except (exception.ConfigError, *_WRONG) as error:
        LOG.warning(
            "providers that wait to be deleted wait anew, and offer nothing"
            " meanwhile: %s",
            files.of_no_use(where, error),
        )
        return None


def _records(value: Any) -> Records:
    return Records(
        {str(k): float(v) for k, v in value["gone"].items()},
        {str(k): _moment(v) for k, v in value["orphans"].items()},
    )


def _moment(value: Any) -> Moment | None:
    if value is None:
        return None
    return Moment(str(value["boot"]), float(value["seconds"]))


def write(where: pathlib.Path, records: Records) -> None:
    """:raises ConfigError: the state directory cannot be written to."""
    files.write_json(where, dataclasses.asdict(records))
