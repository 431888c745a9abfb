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

"""A real Placement on SQLite, served on a free loopback port.

``python -m mig_placement.demo.placement_server --database FILE --port 0``
prints one line of JSON, ``{"url": ..., "pid": ...}``, when it is ready, and
serves until SIGTERM. It is for the demo and for tests: anyone on this
machine who sends any token is an administrator of it.
"""

import argparse
import configparser
import importlib.util
import logging
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from wsgiref.types import WSGIApplication

from mig_placement import exception
from mig_placement.demo import server_process
from mig_placement.demo import serving

NOAUTH2 = "noauth2"
KEYSTONE = "keystone"
# noauth2 makes an administrator of whoever sends it.
ADMIN_TOKEN = "admin"  # noqa: S105 - no secret
_MODULES = {
    "placement": "openstack-placement",
    "cheroot": "cheroot",
    "openstack": "openstacksdk",
}
_NAME = "Placement"


def require_installed() -> None:
    """See that the `demo` extra is there, without importing it.

    :raises ConfigError: it is not.
    """
    missing = [
        package
        for module, package in _MODULES.items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise exception.ConfigError(
            f"{' and '.join(missing)} not installed",
            where="demo",
            mend="install the `demo` extra: pip install 'mig-placement[demo]'",
        )


def load_application(
    connection: str,
    *,
    auth: str = NOAUTH2,
    config_file: Path | None = None,
) -> serving.Serialized:
    """Placement's own WSGI application, with its database brought to head.

    Placement keeps its database in a global of the process: one call each.

    :param connection: SQLAlchemy's URL of the database.
    :param config_file: more of placement.conf, such as keystone_authtoken.
    """
    # Not at the top: together they take 0.7 s, and a demo that only starts
    # the server needs none of it.
    from oslo_config import cfg
    from placement import conf as placement_conf
    from placement import db_api
    from placement import deploy

    conf = cfg.ConfigOpts()
    placement_conf.register_opts(conf)
    # Overrides, and before the first read: `connection` is required.
    conf.set_override("connection", connection, "placement_database")
    conf.set_override("sync_on_startup", True, "placement_database")
    # Nothing here has to outlive the machine: 10 ms less per write.
    conf.set_override("sqlite_synchronous", False, "placement_database")
    # After an hour the connection would be made anew, and a database in
    # memory, which is the connection's, would be gone.
    conf.set_override("connection_recycle_time", -1, "placement_database")
    conf.set_override("auth_strategy", auth, "api")
    # Neither this machine's placement.conf nor OS_* variables reach it.
    conf(
        [],
        project="mig-placement-demo",
        default_config_files=[str(config_file)] if config_file else [],
        default_config_dirs=[],
        use_env=False,
    )
    db_api.configure(conf)
    application: WSGIApplication = deploy.loadapp(conf)
    return serving.Serialized(application)


class PlacementProcess(server_process.ServerProcess):
    """A real Placement for the time of a ``with`` block.

    :param database: SQLite file; the default is one in the temporary
        folder, gone with it.
    :param config: more of placement.conf, by section; with a section
        ``keystone_authtoken`` tokens are checked by that Keystone.
    :param time_limit: seconds until it must be ready; it takes about 1.2 s.
    """

    def __init__(
        self,
        *,
        database: Path | None = None,
        config: Mapping[str, Mapping[str, str]] | None = None,
        time_limit: float = 30.0,
    ) -> None:
        require_installed()
        super().__init__(__name__, name=_NAME, time_limit=time_limit)
        self.database = database or self.folder / "placement.sqlite"
        self._auth = (
            KEYSTONE if "keystone_authtoken" in (config or {}) else (NOAUTH2)
        )
        self._config_file = self.folder / "placement.conf"
        _write_config(self._config_file, config or {})

    def arguments(self) -> Sequence[str]:
        return [
            "--database",
            str(self.database),
            "--auth",
            self._auth,
            "--config-file",
            str(self._config_file),
        ]

    def options(self) -> dict[str, str]:
        """What belongs into ``[placement]`` to use it as administrator."""
        return {
            "auth_type": "admin_token",
            "endpoint": self.url,
            "token": ADMIN_TOKEN,
        }


def _write_config(path: Path, config: Mapping[str, Mapping[str, str]]) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(config)
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m mig_placement.demo.placement_server",
        description="A real Placement on SQLite, on the loopback.",
    )
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--auth", default=NOAUTH2, choices=[NOAUTH2, KEYSTONE])
    parser.add_argument("--config-file", type=Path, help="more options")
    parser.add_argument(
        "--owner-folder",
        type=Path,
        help="end when standard input closes, and remove this folder",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the log goes to standard error."""
    args = _parse(argv)
    ready = serving.claim_stdout()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.captureWarnings(True)
    try:
        require_installed()
    except exception.MigPlacementError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    application = load_application(
        f"sqlite:///{args.database.resolve()}",
        auth=args.auth,
        config_file=args.config_file,
    )
    serving.serve(
        application, args.port, ready=ready, owner_folder=args.owner_folder
    )
    return exception.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
