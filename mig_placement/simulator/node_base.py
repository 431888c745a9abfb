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
"""A change of a simulated node: read, changed, checked and written."""

import collections.abc
import contextlib
import os

from mig_placement.simulator import codes
from mig_placement.simulator import parse
from mig_placement.simulator import state as states
from mig_placement.simulator import store


class Base:
    """What the parts of a simulated node share: its state file.

    :param path: the state file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._store = store.Store(path, lambda state: state)

    @property
    def path(self) -> str:
        """The state file's absolute path."""
        return self._store.path

    @contextlib.contextmanager
    def _change(self) -> collections.abc.Iterator[states.State]:
        try:
            with self._store.change() as state:
                yield state
        except codes.Refused as error:
            raise codes.SimulatorError(f"refused: {error.why}") from error
        except OSError as error:
            raise codes.SimulatorError(f"refused: {error.strerror}") from error


def settle(state: states.State) -> None:
    """Refuse what the file may not hold, before it is written."""
    try:
        parse.state(state.encoded())
    except parse.Malformed as error:
        raise codes.SimulatorError(str(error)) from error
