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

"""The first moments of the commands."""

import configparser
import pathlib
import subprocess
import sys

from mig_placement import exception

_ROOT = pathlib.Path(__file__).parents[2]
# A request for a report in the midst of the imports.
_EARLY = """\
import os, signal, sys
from mig_placement.cmd import start

class Signalling:
    def find_spec(self, name, *_):
        if name == "oslo_config":
            os.kill(os.getpid(), signal.SIGUSR2)

assert "oslo_config" not in sys.modules
sys.meta_path.insert(0, Signalling())
sys.exit(start.agent(["--config-file=/nonexistent"]))
"""
# Options of a kind that ours are not, and what oslo.config has for them.
_SELDOM = """\
import sys
from mig_placement.cmd import start

types = start._imported("oslo_config.types")
for name in ("rfc3986", "netaddr"):
    assert not any(each.startswith(name + ".") for each in sys.modules)
assert types.URI()("http://[::1]/b") == "http://[::1]/b"
assert types.IPAddress()("::1") == "::1"
try:
    types.IPAddress()("::x")
except ValueError:
    sys.exit(0)
"""


# Where keystoneauth finds osprofiler, it imports it.
_UNUSED = """\
import importlib.util, sys
from mig_placement.cmd import start

assert importlib.util.find_spec("osprofiler"), "keystone brings it"
start._imported("keystoneauth1.session")
assert "webob" not in sys.modules
"""


def test_what_is_not_used_is_not_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNUSED],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_seldom_used_is_imported_when_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SELDOM],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_sigusr2_while_the_agent_is_imported_ends_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _EARLY],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exception.EXIT_USAGE, done.stderr
    assert "/nonexistent" in done.stderr


def test_the_commands_begin_there() -> None:
    parser = configparser.ConfigParser()
    parser.read(_ROOT / "setup.cfg")
    scripts = parser["entry_points"]["console_scripts"].splitlines()
    assert "mig-placement-agent = mig_placement.cmd.start:agent" in scripts
    assert "mig-placement = mig_placement.cmd.start:tool" in scripts
