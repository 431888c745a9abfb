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
"""An operator's hold: a file, so that it outlives the agent and a reboot."""

import dataclasses
import datetime
import pathlib

from mig_placement import exception
from mig_placement.service import files

_NAME = "hold.json"
_MAX_REASON = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Hold:
    """Why the gate is closed by hand, and since when (ISO 8601, UTC)."""

    reason: str
    since: str

    def __str__(self) -> str:
        return f"{self.reason} (since {self.since})"


def path(state_dir: pathlib.Path) -> pathlib.Path:
    return state_dir / _NAME


def read(state_dir: pathlib.Path) -> Hold | None:
    """The hold that is in force. A file that cannot be read is one."""
    try:
        value = files.read_json(path(state_dir))
    except exception.ConfigError as error:
        return Hold(str(error), "unknown")
    if value is None:
        return None
    if not isinstance(value, dict):
        return Hold(f"{path(state_dir)} is no hold file", "unknown")
    return Hold(_text(value.get("reason")), _text(value.get("since")))


def _text(value: object) -> str:
    text = value if isinstance(value, str) else "unknown"
    shown = "".join(char for char in text if char.isprintable())
    return shown[:_MAX_REASON] or "unknown"


def place(state_dir: pathlib.Path, reason: str) -> Hold:
    """:raises ConfigError: the state directory cannot be written to."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    hold = Hold(_text(reason), now)
    files.write_json(path(state_dir), dataclasses.asdict(hold))
    return hold


def release(state_dir: pathlib.Path) -> bool:
    """Take the hold away; whether there was one.

    :raises ConfigError: it cannot be removed.
    """
    try:
        path(state_dir).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise exception.ConfigError(
            f"cannot be removed ({error.strerror})",
            where=str(path(state_dir)),
            mend="run 'mig-placement release' as the agent's user or root",
        ) from error
    return True
