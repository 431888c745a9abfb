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

# mypy: disable-error-code="misc"
"""The real Nova's API of a test, over TCP: the agent is another process."""

import threading
from wsgiref.types import StartResponse
from wsgiref.types import WSGIApplication
from wsgiref.types import WSGIEnvironment

import fixtures
from cheroot import wsgi

ADMIN = "admin"
#: What nova-compute's own user has.
SERVICE = "service"
_ROLES = {ADMIN: "reader,member,admin", SERVICE: "service"}
_TOKEN = "HTTP_X_AUTH_TOKEN"


class NovaServer(fixtures.Fixture):
    """Serves Nova's application on a loopback port.

    :param project_id: of all users.
    """

    def __init__(self, application: WSGIApplication, project_id: str) -> None:
        super().__init__()
        self._application = application
        self._project_id = project_id
        self.url = ""
        #: Requests so far.
        self.count = 0
        # Nova's tests share one SQLite connection.
        self._one_by_one = threading.Lock()

    def _setUp(self) -> None:
        server = wsgi.Server(
            ("127.0.0.1", 0), self._with_identity, numthreads=2
        )
        server.prepare()
        self.url = "http://{}:{}".format(*server.bind_addr[:2])
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
        self.addCleanup(server.stop)

    def _with_identity(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> list[bytes]:
        """In place of Keystone: the token is the user's name."""
        user = environ.get(_TOKEN, "")
        if user in _ROLES:
            environ["HTTP_X_AUTH_USER"] = user
            environ["HTTP_X_USER_ID"] = user
            environ["HTTP_X_ROLES"] = _ROLES[user]
            environ["HTTP_X_AUTH_PROJECT_ID"] = self._project_id
        with self._one_by_one:
            self.count += 1
            return list(self._application(environ, start_response))

    def options(self, user: str = ADMIN) -> dict[str, str]:
        """What belongs into ``[nova]`` of a configuration file."""
        url = f"{self.url}/v2.1"
        return {
            "auth_type": "admin_token",
            "endpoint": url,
            "token": user,
            "endpoint_override": url,
        }
