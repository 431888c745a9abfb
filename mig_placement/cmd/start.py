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

"""The commands, from before their imports on: these take a while."""

import gc
import importlib
import signal
import sys
import types
from typing import Any

# oslo.config imports them for types of options that ours seldom have. They
# take a tenth of the time that a command does: rfc3986 compiles its patterns.
_SELDOM_USED = ("netaddr", "rfc3986")


# keystoneauth takes it where Nova has brought it, for traces that nobody
# starts here; webob, paste and oslo.concurrency come with it (40 ms).
_NOT_USED = ("osprofiler",)


def tool(argv: list[str] | None = None) -> int:
    """mig-placement"""
    return int(_imported("mig_placement.cmd.tool").main(argv))


def agent(argv: list[str] | None = None) -> int:
    """mig-placement-agent"""
    # The default would end the agent; who asks for a report while it starts
    # gets none, and may ask again.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    return int(_imported("mig_placement.cmd.agent").main(argv))


def _imported(name: str) -> Any:
    """A module, without a search for garbage: imports make none, and it is
    a seventh of the time that they take."""
    gc.disable()
    for each in _SELDOM_USED:
        sys.modules.setdefault(each, _StandIn(each))
    for each in _NOT_USED:
        # To import it is an ImportError then.
        sys.modules.setdefault(each, None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


class _StandIn(types.ModuleType):
    """Is there for a module, which it imports when somebody looks into it.

    In the place of importlib's LazyLoader, for which the import statement
    alone is a look (Python 3.11).
    """

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)
