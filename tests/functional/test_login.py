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
"""Logging in by a configuration, to a real Keystone."""

import pathlib
from collections.abc import Mapping
from typing import Any

import pytest
from keystoneauth1 import loading
from stevedore import extension

from mig_placement import conf
from mig_placement import exception
from mig_placement.demo import placement_server
from mig_placement.placement import client
from mig_placement.placement import connection
from tests.functional import keystone_server


def _connect(
    folder: pathlib.Path, **sections: Mapping[str, str]
) -> client.Client:
    path = folder / "agent.conf"
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {value}" for name, value in options.items()]
    path.write_text("\n".join(lines))
    return connection.connect(conf.parse([f"--config-file={path}"]))


def test_the_credentials_may_be_in_a_section_of_their_own(
    tmp_path: pathlib.Path, secured: keystone_server.SecuredPlacement
) -> None:
    asked = _connect(
        tmp_path,
        placement={"auth_section": "service_user"},
        service_user=secured.options(),
    )
    with pytest.raises(exception.RootNotFound):
        asked.find_root("node1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": ""}, "password is not set"),
        ({"auth_url": "http://me:secret@h/v3"}, "a user or a password in it"),
        ({"auth_type": "unheard_of"}, "unheard_of"),
    ],
)
def test_what_is_wrong_there_is_said(
    tmp_path: pathlib.Path, change: dict[str, str], said: str
) -> None:
    options = keystone_server.AGENT.options("http://127.0.0.1:1/v3")
    with pytest.raises(exception.ConfigError, match=said) as caught:
        _connect(
            tmp_path,
            placement={"auth_section": "service_user"},
            service_user={**options, **change},
        )
    assert "secret" not in str(caught.value)


def test_a_common_plugin_is_found_without_a_search(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever asks next finds those of others as well."""
    known = extension.ExtensionManager.ENTRY_POINT_CACHE
    monkeypatch.delitem(known, "keystoneauth1.plugin", raising=False)
    searched: list[str] = []
    search = extension.ExtensionManager.list_entry_points

    def counted(self: extension.ExtensionManager[Any]) -> object:
        if self.namespace not in known:
            searched.append(self.namespace)
        return search(self)

    monkeypatch.setattr(
        extension.ExtensionManager, "list_entry_points", counted
    )
    options = keystone_server.AGENT.options("http://127.0.0.1:1/v3")
    _connect(tmp_path, placement=options)
    assert searched == []
    assert "v3oidcpassword" in loading.get_available_plugin_names()
    assert searched == ["keystoneauth1.plugin"]


def test_an_endpoint_that_is_made_later_is_found_with_the_same_token(
    tmp_path: pathlib.Path,
) -> None:
    """keystoneauth keeps the catalog for as long as the token lasts."""
    keystone = keystone_server.KeystoneProcess()
    placement = placement_server.PlacementProcess(
        config=keystone.placement_config()
    )
    path = tmp_path / "agent.conf"
    options = keystone_server.AGENT.options(keystone.auth_url).items()
    path.write_text(
        "\n".join(["[placement]", *(f"{k} = {v}" for k, v in options)])
    )
    try:
        with keystone, placement:
            asked = connection.connect(conf.parse([f"--config-file={path}"]))
            with pytest.raises(
                exception.PlacementUnreachable, match="catalog"
            ):
                asked.find_root("node1")
            keystone.publish(placement.url)
            with pytest.raises(exception.RootNotFound):
                asked.find_root("node1")
    finally:
        placement.close()
