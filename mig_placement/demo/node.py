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
"""The demo's compute node: simulated GPUs, and the real agent beside them."""

import configparser
import pathlib
import subprocess
import sys
from collections.abc import Mapping

from mig_placement import exception

ROOT_NAME = "gpu-node-1.example.org"

_STOP_TIMEOUT = 20


class Node:
    """Files and processes of one node, below one folder.

    :param folder: where everything of it lies; the caller removes it.
    :param placement: options of [placement].
    """

    def __init__(
        self, folder: pathlib.Path, placement: Mapping[str, str]
    ) -> None:
        self.state = folder / "gpus.json"
        self.layout = folder / "layout.yaml"
        self.log = folder / "agent.log"
        self.config = folder / "mig-placement.conf"
        self._agent: subprocess.Popen[bytes] | None = None
        _write_config(
            self.config,
            {
                "DEFAULT": {"log_file": str(self.log)},
                "agent": {
                    "host": "gpu-node-1",
                    "hypervisor_hostname": ROOT_NAME,
                    "run_dir": str(folder / "run"),
                    "state_dir": str(folder / "state"),
                },
                "hardware": {"simulate": str(self.state)},
                "layout": {"file": str(self.layout), "apply": "native"},
                "placement": placement,
            },
        )

    def start_agent(self) -> None:
        self._agent = subprocess.Popen(  # noqa: S603 (our own command)
            [
                sys.executable,
                "-m",
                "mig_placement.cmd.agent",
                f"--config-file={self.config}",
            ],
            stdin=subprocess.DEVNULL,
        )

    def stop_agent(self) -> None:
        """End the agent that was started, if it still runs."""
        if self._agent is None:
            return
        self._agent.terminate()
        try:
            self._agent.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
        self._agent = None

    def tool(self, *arguments: str) -> tuple[int, str]:
        """Run mig-placement; its exit status and what it said."""
        done = subprocess.run(  # noqa: S603 (our own command)
            [
                sys.executable,
                "-m",
                "mig_placement.cmd.tool",
                f"--config-file={self.config}",
                *arguments,
            ],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def log_tail(self) -> str:
        """The agent's last words, for an error."""
        try:
            return self.log.read_text()[-2000:]
        except OSError as error:
            return str(error)


def _write_config(
    path: pathlib.Path, sections: Mapping[str, Mapping[str, str]]
) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(sections)
    with path.open("w", encoding="utf-8") as file:
        parser.write(file)


class StoryError(exception.MigPlacementError):
    """The demo saw something other than what it promises."""
