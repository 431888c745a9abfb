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

"""A real Keystone on SQLite, with a Placement that asks it.

Everything happens in Keystone's own process: schema, keys, bootstrap and
accounts through Keystone's managers take a tenth of what keystone-manage
and the API take.
"""
# The package is there only where tests of credentials run.
# mypy: disable-error-code="import-not-found,import-untyped"

import argparse
import configparser
import dataclasses
import importlib.util
import logging
import sys
import uuid
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

from keystoneauth1 import session as ksa_session
from keystoneauth1.identity import v3

from mig_placement.demo import placement_server
from mig_placement.demo import server_process
from mig_placement.demo import serving

REGION = "RegionOne"
PROJECT = "service"
DOMAIN = "default"


@dataclasses.dataclass(frozen=True)
class Account:
    """A user with one role in the service project."""

    name: str
    role: str
    password: str = "right"

    def options(self, auth_url: str) -> dict[str, str]:
        """keystoneauth's options, as a section of a configuration file."""
        return {
            "auth_type": "password",
            "auth_url": auth_url,
            "username": self.name,
            "password": self.password,
            "project_name": PROJECT,
            "user_domain_id": DOMAIN,
            "project_domain_id": DOMAIN,
            "region_name": REGION,
        }


#: What an operator makes for the agent.
AGENT = Account("mig-placement", "service", "a-Passw0rd-in-no-log")
#: May look at the cloud, and change nothing.
READER = Account("onlooker", "reader")
#: The agent's user with a password that is not its own.
WRONG = dataclasses.replace(AGENT, password="wrong")
#: Placement's own, with which it validates tokens.
_PLACEMENT = Account("placement", "service")
_ADMIN = Account("admin", "admin")
_ACCOUNTS = (AGENT, READER, _PLACEMENT)


def is_installed() -> bool:
    return importlib.util.find_spec("keystone") is not None


class KeystoneProcess(server_process.ServerProcess):
    """A real Keystone for the time of a ``with`` block (about 2.5 s).

    :param token_seconds: how long a token is valid.
    """

    def __init__(
        self, *, token_seconds: int = 3600, time_limit: float = 60.0
    ) -> None:
        root = str(Path(__file__).parents[2])
        super().__init__(
            __name__,
            name="Keystone",
            time_limit=time_limit,
            environment={"PYTHONPATH": root},
        )
        #: The endpoint in the catalog; to be set before the start.
        self.placement_url = ""
        self._token_seconds = token_seconds

    @property
    def auth_url(self) -> str:
        return f"{self.url}/v3"

    def arguments(self) -> Sequence[str]:
        return [
            "--folder",
            str(self.folder),
            "--placement-url",
            self.placement_url,
            "--token-seconds",
            str(self._token_seconds),
        ]

    def publish(self, url: str) -> None:
        """Add Placement's endpoints to the catalog, as an operator does."""
        session = _session(self.auth_url, _ADMIN)
        catalog = {"endpoint_override": self.auth_url}
        service = {"type": "placement", "name": "placement"}
        made = session.post(
            "/services", json={"service": service}, **catalog
        ).json()["service"]
        for interface in ("public", "internal", "admin"):
            endpoint = {
                "service_id": made["id"],
                "region_id": REGION,
                "interface": interface,
                "url": url,
            }
            session.post("/endpoints", json={"endpoint": endpoint}, **catalog)

    def placement_config(self) -> dict[str, dict[str, str]]:
        """More of placement.conf: tokens are checked here."""
        return {
            "keystone_authtoken": {
                **_PLACEMENT.options(self.auth_url),
                "www_authenticate_uri": self.auth_url,
                # A test that changes a role wants to see it at once.
                "token_cache_time": "-1",
                "service_token_roles_required": "true",
            }
        }


@dataclasses.dataclass
class SecuredPlacement:
    """A Placement whose tokens come from a Keystone."""

    keystone: KeystoneProcess
    placement: placement_server.PlacementProcess

    @property
    def url(self) -> str:
        return self.placement.url

    def options(self, account: Account = AGENT) -> dict[str, str]:
        """What belongs into ``[placement]``; the catalog has the URL."""
        return account.options(self.keystone.auth_url)

    def session(
        self, account: Account = AGENT, *, auth_url: str = ""
    ) -> ksa_session.Session:
        """A session with an account's password."""
        return _session(auth_url or self.keystone.auth_url, account)


def _session(auth_url: str, account: Account) -> ksa_session.Session:
    auth = v3.Password(
        auth_url,
        username=account.name,
        password=account.password,
        project_name=PROJECT,
        user_domain_id=DOMAIN,
        project_domain_id=DOMAIN,
    )
    return ksa_session.Session(auth=auth)


def running_pair() -> Iterator[SecuredPlacement]:
    """For a fixture: both servers, ended with it."""
    keystone = KeystoneProcess()
    config = keystone.placement_config()
    placement = placement_server.PlacementProcess(config=config)
    # Each needs the other's URL, which is known before the start.
    keystone.placement_url = placement.url
    try:
        with keystone, placement:
            yield SecuredPlacement(keystone, placement)
    finally:
        placement.close()  # also where Keystone did not start


# Below: in Keystone's own process.


def _write_config(folder: Path, token_seconds: int) -> Path:
    keys = {"key_repository": str(folder / "fernet-keys")}
    sections: Mapping[str, Mapping[str, str]] = {
        "database": {
            "connection": f"sqlite:///{folder / 'keystone.sqlite'}",
            "sqlite_synchronous": "false",
        },
        "token": {"expiration": str(token_seconds)},
        "fernet_tokens": keys,
        "fernet_receipts": keys,
        "credential": {"key_repository": str(folder / "credential-keys")},
        # The least that bcrypt takes: 1 ms in place of 200.
        "identity": {"password_hash_rounds": "4"},
        "cache": {"enabled": "false"},
    }
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(sections)
    path = folder / "keystone.conf"
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)
    return path


def _prepare(folder: Path) -> None:
    """What keystone-manage db_sync, fernet_setup, credential_setup do."""
    from keystone.common import fernet_utils
    from keystone.common.sql import upgrades

    upgrades.offline_sync_database_to_version()
    for name, group in (
        ("fernet-keys", "fernet_tokens"),
        ("credential-keys", "credential"),
    ):
        repository = folder / name
        repository.mkdir(mode=0o700, exist_ok=True)
        if not any(repository.iterdir()):
            fernet_utils.FernetUtils(
                str(repository), 3, group
            ).initialize_key_repository()


def _bootstrap(url: str) -> None:
    """What keystone-manage bootstrap does; again is allowed."""
    from keystone.cmd import bootstrap

    strapper = bootstrap.Bootstrapper()
    strapper.admin_username = _ADMIN.name
    strapper.admin_password = _ADMIN.password
    strapper.admin_role_name = _ADMIN.role
    strapper.project_name = PROJECT
    strapper.region_id = REGION
    strapper.service_name = "keystone"
    strapper.public_url = strapper.internal_url = strapper.admin_url = url
    strapper.bootstrap()


def _add_accounts() -> None:
    from keystone.common import provider_api

    apis = provider_api.ProviderAPIs
    known = {user["name"] for user in apis.identity_api.list_users(DOMAIN)}
    project = apis.resource_api.get_project_by_name(PROJECT, DOMAIN)
    roles = {r["name"]: r["id"] for r in apis.role_api.list_roles()}
    for account in _ACCOUNTS:
        if account.name in known:
            continue
        user = apis.identity_api.create_user(
            {
                "name": account.name,
                "password": account.password,
                "domain_id": DOMAIN,
                "enabled": True,
            }
        )
        apis.assignment_api.add_role_to_user_and_project(
            user["id"], project["id"], roles[account.role]
        )


def _add_placement(url: str) -> None:
    from keystone.common import provider_api

    catalog = provider_api.ProviderAPIs.catalog_api
    if any(s["type"] == "placement" for s in catalog.list_services()):
        return
    service: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "type": "placement",
        "name": "placement",
        "enabled": True,
    }
    catalog.create_service(service["id"], service)
    for interface in ("public", "internal", "admin"):
        endpoint = {
            "id": uuid.uuid4().hex,
            "service_id": service["id"],
            "region_id": REGION,
            "interface": interface,
            "url": url,
            "enabled": True,
        }
        catalog.create_endpoint(endpoint["id"], endpoint)


def _load_application(args: argparse.Namespace) -> serving.Serialized:
    import keystone.server
    from keystone.server.flask import core

    config = _write_config(args.folder, args.token_seconds)
    keystone.server.configure(config_files=[str(config)])
    _prepare(args.folder)
    _bootstrap(f"http://{serving.LOOPBACK}:{args.port}/v3")
    _add_accounts()
    if args.placement_url:
        _add_placement(args.placement_url)
    application: WSGIApplication = core.setup_app_middleware(
        core.application.application_factory("public")
    )
    return serving.Serialized(application)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--owner-folder", type=Path)
    parser.add_argument("--placement-url", default="")
    parser.add_argument("--token-seconds", type=int, default=3600)
    args = parser.parse_args(argv)
    ready = serving.claim_stdout()
    # Keystone parses the process's own arguments.
    del sys.argv[1:]
    logging.captureWarnings(True)
    application = _load_application(args)
    serving.serve(
        application, args.port, ready=ready, owner_folder=args.owner_folder
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
