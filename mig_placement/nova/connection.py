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

import collections.abc
import contextlib
from typing import Any

from keystoneauth1 import exceptions as ks
from keystoneauth1 import loading
from oslo_config import cfg

from mig_placement import exception
from mig_placement import transport
from mig_placement.conf import credentials
from mig_placement.conf import nova_auth as options

_MAX_TEXT = 200


def is_configured(conf: cfg.ConfigOpts) -> bool:
    """Whether [nova] has credentials."""
    options.register(conf)
    return bool(conf[options.GROUP].auth_type)


def adapter(conf: cfg.ConfigOpts) -> Any:
    """keystoneauth's adapter to the compute API; sends nothing yet.

    :raises ConfigError: the credentials are not complete.
    """
    session = make_session(conf)
    with _options_checked():
        return loading.load_adapter_from_conf_options(
            conf, options.GROUP, session=session
        )


def make_session(conf: cfg.ConfigOpts) -> Any:
    """keystoneauth's session with the credentials in [nova].

    :raises ConfigError: the credentials are not complete.
    """
    if not is_configured(conf):
        raise exception.ConfigError(
            "auth_type is not set, and there are no credentials for Nova",
            where="[nova]",
            mend="give an administrator's, with the options that"
            " [placement] has",
        )
    with _options_checked():
        auth = loading.load_auth_from_conf_options(conf, options.GROUP)
        session = loading.load_session_from_conf_options(
            conf, options.GROUP, auth=auth
        )
        credentials.refuse_passwords_in_urls(conf, options.GROUP)
        credentials.require_password(conf, options.GROUP)
        transport.guard(session)
        return session


@contextlib.contextmanager
def _options_checked() -> collections.abc.Iterator[None]:
    try:
        with translated():
            yield
    except (cfg.Error, ValueError, OSError) as error:
        raise exception.ConfigError(
            str(error), where="[nova]", mend="correct the option"
        ) from error


@contextlib.contextmanager
def translated() -> collections.abc.Iterator[None]:
    """Raise our exceptions in place of keystoneauth's."""
    try:
        yield
    except ks.Unauthorized as error:
        raise unauthorized() from error
    except ks.Forbidden as error:
        raise forbidden("Keystone") from error
    except (ks.EndpointNotFound, ks.EmptyCatalog) as error:
        raise exception.NovaUnreachable(
            "the service catalog has no endpoint for the compute API",
            where="[nova]",
            mend="set region_name, valid_interfaces or endpoint_override",
        ) from error
    except (
        ks.MissingRequiredOptions,
        ks.MissingAuthPlugin,
        ks.NoMatchingPlugin,
    ) as error:
        raise exception.ConfigError(
            f"the credentials for Nova are not complete ({short(error)})",
            where="[nova]",
            mend="give an administrator's, with the options that"
            " [placement] has",
        ) from error
    except ks.SSLError as error:
        raise exception.NovaUnreachable(
            transport.tls_trouble(error),
            where="Nova or Keystone",
            mend="set cafile in [nova] to the file of the authority that"
            " signs their certificates",
        ) from error
    except ks.ClientException as error:
        raise unreachable(f"no usable answer ({short(error)})") from error


def short(error: object) -> str:
    """Of other programs' texts, what fits into one line of ours."""
    return " ".join(str(error).split())[:_MAX_TEXT]


def unauthorized() -> exception.NovaUnauthorized:
    return exception.NovaUnauthorized(
        "the credentials are refused (401)",
        where="[nova]",
        mend="correct username, password, project_name and auth_url",
    )


def forbidden(where: str) -> exception.NovaForbidden:
    return exception.NovaForbidden(
        "the user's role may not do this (403)",
        where=where,
        mend="give [nova] a user with the admin role; the service role does"
        " not suffice here",
    )


def unreachable(
    what: str, where: str = "Nova or Keystone"
) -> exception.NovaUnreachable:
    return exception.NovaUnreachable(
        what, where=where, mend="see whether both answer from this host"
    )
