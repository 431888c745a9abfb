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

"""The host gate: nova-compute's service is disabled while the gate is closed.

Nova has no compare-and-set for a service. So the service is read right
before each write, and what is not known to be ours is left alone.
"""

import dataclasses
import enum
from typing import Any

from mig_placement import exception
from mig_placement import remote
from mig_placement import shapes
from mig_placement.nova.connection import SERVICE

# Of our own: Nova's libvirt driver enables what carries Nova's.
PREFIX = "mig-placement: "
_NOVAS_PREFIX = "AUTO: "

_BINARY = "nova-compute"
_MAX_REASON = 255


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    """nova-compute's service as Nova's API shows it.

    :ivar reason: why it is disabled, empty where nobody said it.
    """

    uuid: str
    enabled: bool
    reason: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is disabled, and by us."""
        return not self.enabled and self.reason.startswith(PREFIX)

    def __str__(self) -> str:
        if self.enabled:
            return "enabled"
        if self.is_ours:
            return "disabled by us"
        who = (
            "Nova" if self.reason.startswith(_NOVAS_PREFIX) else "an operator"
        )
        return (
            f"disabled by {who} ({_ascii(self.reason) or 'no reason given'})"
        )


class Action(enum.Enum):
    """What is to be done to a service."""

    ENABLE = "enable"
    DISABLE = "disable"


def reason_text(reason: str) -> str:
    """The reason to disable a service with, as long as Nova takes it."""
    text = _ascii(reason) or "the gate is closed"
    return f"{PREFIX}{text}"[:_MAX_REASON]


def _ascii(text: str) -> str:
    """One line that every database and terminal takes."""
    line = " ".join(text.split())
    return "".join(c if " " <= c <= "~" else "?" for c in line)


def decide(service: Service, wanted_open: bool, reason: str) -> Action | None:
    """What is to be done, or None where nothing is.

    What an operator or Nova itself disabled stays so, whatever we want.

    :param reason: as reason_text makes it; one that is new is told too.
    """
    if wanted_open:
        return Action.ENABLE if service.is_ours else None
    if service.enabled or (service.is_ours and service.reason != reason):
        return Action.DISABLE
    return None


class HostGate:
    """Keeps the service of one host as the gate is.

    :param adapter: keystoneauth's, to the compute API.
    :param host: nova.conf's ``host``, not the hypervisor's name.
    """

    def __init__(self, adapter: remote.Adapter, host: str) -> None:
        self._adapter = adapter
        self._host = host
        #: As last read or written; None before.
        self.service: Service | None = None

    def keep(self, wanted_open: bool, reason: str) -> str:
        """Read the service and bring it in step; the trouble, if any.

        :param reason: why the gate is closed.
        """
        try:
            self._keep(wanted_open, reason_text(reason))
        except exception.MigPlacementError as error:
            self.service = None
            return str(error)
        return ""

    def _keep(self, wanted_open: bool, reason: str) -> None:
        self.service = self._read()
        action = decide(self.service, wanted_open, reason)
        if action is not None:
            self.service = self._write(self.service, action, reason)

    def _read(self) -> Service:
        query = {"binary": _BINARY, "host": self._host}
        answer = self._ask("/os-services", "GET", params=query)
        with SERVICE.validated("/os-services"):
            # The answer is looked at as well: there are proxies that lose
            # a query, and another host's service is not to be touched.
            found = [
                _service(item)
                for item in shapes.items(answer["services"])
                if (item["binary"], item["host"]) == (_BINARY, self._host)
            ]
        if len(found) != 1:
            raise exception.ServiceNotFound(
                f"Nova has {len(found)} nova-compute services of host"
                f" {self._host}, not one",
                where="[agent] host",
                mend="set it to the host that 'openstack compute service"
                " list' shows, or start nova-compute",
            )
        return found[0]

    def _write(self, service: Service, action: Action, reason: str) -> Service:
        if action is Action.ENABLE:
            body = {"status": "enabled"}
        else:
            body = {"status": "disabled", "disabled_reason": reason}
        url = f"/os-services/{service.uuid}"
        answer = self._ask(url, "PUT", json=body)
        with SERVICE.validated(url):
            return _service(answer["service"])

    def _ask(self, url: str, method: str, **kwargs: Any) -> Any:
        response = SERVICE.ask(self._adapter, url, method, **kwargs)
        SERVICE.check(response, url)
        with SERVICE.validated(url):
            return response.json()


def _service(item: Any) -> Service:
    if item["status"] not in ("enabled", "disabled"):
        raise ValueError("no status of a service")
    reason = item["disabled_reason"]
    if not isinstance(reason, str | None):
        raise TypeError("not a reason")
    return Service(
        shapes.uuid(item["id"]), item["status"] == "enabled", reason or ""
    )
