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
"""[metrics]: where Prometheus may read what the agent counts."""

import dataclasses
import ipaddress
import re

from oslo_config import cfg

from mig_placement import exception

GROUP = "metrics"
OPTS = [
    cfg.StrOpt(
        "listen",
        default="",
        help="Address and port, as 127.0.0.1:9421 or [::1]:9421, on which"
        " the agent serves metrics to Prometheus. Empty: none are served."
        " Needs the package prometheus-client.",
    ),
    cfg.BoolOpt(
        "allow_remote",
        default=False,
        help="Whether listen may name an address other than a loopback one."
        " Whoever reaches it reads the metrics: there is neither TLS nor a"
        " password.",
    ),
]

_WHERE = "[metrics] listen"
_LISTEN = re.compile(
    r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})"
)
_MAX_PORT = 65535


@dataclasses.dataclass(frozen=True, slots=True)
class Listen:
    """An IP address and a TCP port to listen on."""

    address: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.address

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.is_ipv6 else self.address
        return f"{host}:{self.port}"


def listen(text: str, *, allow_remote: bool) -> Listen | None:
    """What ``[metrics] listen`` asks for; None for no metrics.

    :raises ConfigError: it is no address and port, or one that others reach.
    """
    if not text:
        return None
    match = _LISTEN.fullmatch(text)
    if match is None or not 0 < int(match["port"]) <= _MAX_PORT:
        raise _no_address(text)
    try:
        address = ipaddress.ip_address(match["six"] or match["four"])
    except ValueError:
        raise _no_address(text) from None
    if not (address.is_loopback or allow_remote):
        raise exception.ConfigError(
            f"{address} is no loopback address",
            where=_WHERE,
            mend="listen on 127.0.0.1 or [::1], or set [metrics]"
            " allow_remote = true",
        )
    return Listen(str(address), int(match["port"]))


def _no_address(text: str) -> exception.ConfigError:
    return exception.ConfigError(
        f"{text[:60]!r} is no address and port",
        where=_WHERE,
        mend="write 127.0.0.1:9421 or [::1]:9421",
    )
