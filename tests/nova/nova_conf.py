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
"""How a test gives a fragment of nova.conf to Nova."""

import pathlib
from collections.abc import Callable

from oslo_config import cfg


def apply(text: str, folder: pathlib.Path, flags: Callable[..., None]) -> None:
    """Make a fragment Nova's configuration, as far as it goes.

    nova-compute reads it while it starts, and so all hosts of a process
    may differ where it is applied before each start.

    :param flags: a Nova test's own.
    """
    for group, options in _parsed(text, folder / "nova.conf").items():
        for option, values in options.items():
            flags(group=group, **{option: _value(group, option, values)})
        if group == "devices":
            _register_mdev_groups()


def _parsed(text: str, path: pathlib.Path) -> dict[str, dict[str, list[str]]]:
    path.write_text(text)
    sections: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(str(path), sections).parse()
    # What makes groups comes before what is in them.
    return dict(sorted(sections.items()))


def _value(group: str, option: str, values: list[str]) -> list[str] | str:
    """An option that may be repeated has all its values, others the last."""
    import nova.conf

    found = nova.conf.CONF._get_opt_info(option, group)
    return values if found["opt"].multi else values[-1]


def _register_mdev_groups() -> None:
    """As the libvirt driver does: the types name the groups."""
    import nova.conf
    import nova.conf.devices

    nova.conf.devices.register_dynamic_opts(nova.conf.CONF)
