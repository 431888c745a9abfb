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
"""Command blocks of the documentation, run as a user would type them."""

import os
import pathlib
import re
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).parents[2]

_PROGRAMS = {
    "mig-placement": "tool",
    "mig-placement-agent": "agent",
    "mig-placement-status": "upgrade",
}
_BLOCK = re.compile(
    r"^\.\. code-block:: bash\n\n((?:(?:   .*)?\n)+)", re.MULTILINE
)


def bash_blocks(name: str) -> list[str]:
    """Every ``code-block:: bash`` of a page of doc/source, in its order."""
    text = (ROOT / "doc" / "source" / name).read_text()
    return [textwrap.dedent(each) for each in _BLOCK.findall(text)]


def run_as_a_user(
    script: str, folder: pathlib.Path, time_limit: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run it in a folder that looks like a clone with all installed.

    :param time_limit: seconds, after which it and what it started is ended.
    :raises subprocess.TimeoutExpired: it took longer.
    """
    (folder / "etc").symlink_to(ROOT / "etc")
    programs = _programs(folder / "programs")
    return subprocess.run(
        ["timeout", "-k", "5", str(time_limit), "bash", "-euc", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=time_limit + 10,
    )


def _programs(folder: pathlib.Path) -> pathlib.Path:
    """What an installation would put on the path."""
    folder.mkdir()
    for name, module in _PROGRAMS.items():
        command = f'{sys.executable} -m mig_placement.cmd.{module} "$@"'
        _executable(folder / name, command)
    _executable(folder / "python", f'{sys.executable} "$@"')
    return folder


def _executable(path: pathlib.Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\nexec {command}\n")
    path.chmod(0o755)
