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

"""A connection to Nova's API with the credentials in [nova]."""

from typing import Any

from oslo_config import cfg

from mig_placement import exception
from mig_placement import login
from mig_placement import remote
from mig_placement.conf import nova_auth as options

_TO_GIVE = "give an administrator's, with the options that [placement] has"

SERVICE = remote.Service(
    name="Nova",
    # The first with a service's uuid in the URL. Later ones add only services
    # of a cell that is down, of which nothing but the name is told.
    microversion="2.53",
    api="the compute API",
    group=options.GROUP,
    to_give=_TO_GIVE,
    to_correct="correct username, password, project_name and auth_url",
    to_allow="give [nova] a user with the admin role; the service role does"
    " not suffice here",
    unreachable_error=exception.NovaUnreachable,
    unauthorized_error=exception.NovaUnauthorized,
    forbidden_error=exception.NovaForbidden,
    not_found_error=exception.NovaBadAnswer,
    bad_answer_error=exception.NovaBadAnswer,
)


def is_configured(conf: cfg.ConfigOpts) -> bool:
    """Whether [nova] has credentials."""
    options.register(conf)
    return bool(conf[options.GROUP].auth_type)


def adapter(conf: cfg.ConfigOpts) -> Any:
    """keystoneauth's adapter to the compute API; sends nothing yet.

    :raises ConfigError: the credentials are not complete.
    """
    _require_credentials(conf)
    return login.adapter(conf, SERVICE)


def session(conf: cfg.ConfigOpts) -> Any:
    """keystoneauth's session with the credentials in [nova].

    :raises ConfigError: the credentials are not complete.
    """
    _require_credentials(conf)
    return login.session(conf, SERVICE)


def _require_credentials(conf: cfg.ConfigOpts) -> None:
    if not is_configured(conf):
        raise exception.ConfigError(
            "auth_type is not set, and there are no credentials for Nova",
            where=SERVICE.section,
            mend=_TO_GIVE,
        )
