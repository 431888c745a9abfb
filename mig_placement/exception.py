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

"""Every exception that leaves a module of ours, under one base."""

from typing import Self

# The exit statuses of the commands; the design fixes them.
EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_MISMATCH = 3
EXIT_NO_NVML = 4
EXIT_NO_PLACEMENT = 5


def one_line(text: str) -> str:
    """The text as a log or a terminal may be given it.

    Texts of other programs (YAML, NVML, HTTP) may bring new lines, and what
    a terminal takes for a command.
    """
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else "?" for char in line)


class MigPlacementError(Exception):
    """One line for the operator: where, what, and the mend.

    :param what: what is wrong, without a full stop.
    :param where: the file, option, GPU or URL that it concerns.
    :param mend: what the operator can do about it.
    """

    exit_status = EXIT_UNEXPECTED

    def __init__(self, what: str, *, where: str, mend: str) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        line = f"{where}: {what}" if where else what
        super().__init__(one_line(f"{line}; {mend}" if mend else line))

    @classmethod
    def again(cls, line: str) -> Self:
        """An error that was one line already, in a verdict for instance."""
        return cls(line, where="", mend="")


class ConfigError(MigPlacementError):
    """A configuration option or a command's argument cannot be used."""

    exit_status = EXIT_USAGE


class NoStatus(ConfigError):
    """No agent has written a status since the boot."""

    exit_status = EXIT_MISMATCH


class LayoutError(MigPlacementError):
    """The declared layout cannot be read or cannot be had."""

    exit_status = EXIT_USAGE


class HardwareError(MigPlacementError):
    """NVML gives no usable answer."""

    exit_status = EXIT_NO_NVML


class LibraryNotFound(HardwareError):
    """There is no NVML library to load."""


class DriverNotLoaded(HardwareError):
    """The library is there, the kernel driver is not."""


class HardwarePermissionDenied(HardwareError):
    """The process may not see or change GPU instances."""


class PlacementError(MigPlacementError):
    """Placement or Keystone is not reachable or does not allow a call."""

    exit_status = EXIT_NO_PLACEMENT


class PlacementUnreachable(PlacementError):
    """No answer, or an answer that only a broken service gives."""


class PlacementUnauthorized(PlacementError):
    """The credentials are wrong (401)."""


class PlacementForbidden(PlacementError):
    """The role may not do it (403)."""


class PlacementBadAnswer(PlacementError):
    """The answer is not what Placement's API promises."""


class InUse(MigPlacementError):
    """VMs have allocations of what was to go."""

    exit_status = EXIT_MISMATCH


class NovaError(MigPlacementError):
    """Nova's API is not reachable or does not allow a call."""

    exit_status = EXIT_NO_PLACEMENT


class NovaUnreachable(NovaError):
    """No answer, or an answer that only a broken service gives."""


class NovaUnauthorized(NovaError):
    """The credentials are wrong (401)."""


class NovaForbidden(NovaError):
    """The role may not do it (403)."""


class NovaBadAnswer(NovaError):
    """The answer is not what Nova's API promises."""


class ServiceNotFound(NovaError):
    """Nova knows no nova-compute of that host."""


class RootNotFound(PlacementError):
    """nova-compute has not made the compute root provider yet."""


class PlacementConflict(PlacementError):
    """Others changed what we decided on (409), more often than is sane."""
