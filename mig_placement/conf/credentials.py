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

"""keystoneauth's options of a group that leads to one service.

Apart from the other groups, since keystoneauth takes longer to import than
the commands that need no service take to run.
"""

from urllib import parse

from keystoneauth1 import loading
from oslo_config import cfg

# keystoneauth's own default is to wait for ever.
_TIMEOUT = 30
_WITH_PASSWORD = frozenset({"password", "v3password"})


def register(conf: cfg.ConfigOpts, group: str, service_type: str) -> None:
    loading.register_session_conf_options(conf, group)
    loading.register_auth_conf_options(conf, group)
    loading.register_adapter_conf_options(conf, group)
    conf.set_default("timeout", _TIMEOUT, group)
    conf.set_default("service_type", service_type, group)
    conf.set_default("valid_interfaces", ["internal", "public"], group)


def plugin_group(conf: cfg.ConfigOpts, group: str) -> str:
    """Of the group that has the plugin's options: [auth_section] or itself."""
    return conf[group].auth_section or group


def require_password(conf: cfg.ConfigOpts, group: str) -> None:
    """keystoneauth misses it at the first request, with a bare Exception.

    :raises ValueError: the plugin asks for a password, and there is none.
    """
    found = conf[plugin_group(conf, group)]
    if found.auth_type in _WITH_PASSWORD and not found.password:
        raise ValueError("password is not set")


def refuse_passwords_in_urls(conf: cfg.ConfigOpts, group: str) -> None:
    """keystoneauth writes URLs to logs and into errors.

    :raises ValueError: a URL has a user or a password in it.
    """
    # Which options there are is the plugin's choice.
    for section in (group, plugin_group(conf, group)):
        for option in {"auth_url", "endpoint_override"} & set(conf[section]):
            url = conf[section][option] or ""
            if "@" in parse.urlsplit(url).netloc:
                raise ValueError(
                    f"{option} has a user or a password in it, which logs"
                    " would show; give them as username and password"
                )


def options(group: str, service_type: str) -> list[cfg.Opt]:
    """For the sample file; the plugin's options are the password's."""
    conf = cfg.ConfigOpts()
    register(conf, group, service_type)
    groups = {
        option.dest: option
        for option in (
            *loading.get_session_conf_options(),
            *loading.get_auth_common_conf_options(),
            *loading.get_auth_plugin_conf_options("password"),
            *loading.get_adapter_conf_options(),
        )
    }
    return list(groups.values())
