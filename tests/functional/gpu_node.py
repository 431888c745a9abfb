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
"""A compute node for tests: simulated GPUs, real agent and tool processes."""

import configparser
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from mig_placement import simulator
from mig_placement.demo import server_process
from mig_placement.placement import names
from tests.functional import cloud as clouds

ROOT_NAME = "node1.example.org"
CLASS = "CUSTOM_MIG_1G_5GB"
LAYOUT = """\
version: v1
mig-configs:
  all-1g.5gb:
    - devices: all
      mig-enabled: true
      mig-devices: {"1g.5gb": 7}
"""
PATIENCE = 20.0
# Who asks Placement all the time delays the agent that is waited for.
_PAUSES = (0.01, 0.1)


def within(
    condition: Callable[[], object],
    seconds: float = PATIENCE,
    pauses: tuple[float, float] = _PAUSES,
) -> Any:
    """The condition's value soon after it is true; fails at the end.

    :param pauses: seconds from the first look to the second, and the most
        that they grow to.
    """
    until = time.monotonic() + seconds
    pause, longest = pauses
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(pause)
        pause = min(pause * 1.5, longest)
    return value


class GpuNode:
    """One node; its files lie below ``folder``.

    :param options: of [placement].
    """

    def __init__(
        self,
        folder: pathlib.Path,
        options: Mapping[str, str],
        cloud: clouds.Cloud,
    ) -> None:
        self.folder = folder
        self.cloud = cloud
        self.gpus = simulator.SimulatedNode(folder / "gpus.json")
        self.layout = folder / "layout.yaml"
        self.config = folder / "mig-placement.conf"
        self.log = folder / "agent.log"
        self.run_dir = folder / "run"
        self.environment = dict(os.environ)
        self.sections: dict[str, dict[str, str]] = {
            "DEFAULT": {"log_file": str(self.log)},
            "agent": {
                "host": "node1",
                "hypervisor_hostname": ROOT_NAME,
                "run_dir": str(self.run_dir),
                "state_dir": str(folder / "state"),
                "interval": "0.5",
            },
            "hardware": {"simulate": self.gpus.path},
            "layout": {"file": str(self.layout)},
            "gate": {},
            "placement": {"timeout": "5", **options},
        }
        self.layout.write_text(LAYOUT)
        self.write_config()
        self._agents: list[subprocess.Popen[bytes]] = []

    def write_config(self) -> None:
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(self.sections)
        with self.config.open("w") as file:
            parser.write(file)

    # The hardware.

    def create_gpus(self, count: int = 1, *, instances: int = 7) -> None:
        """A100s with MIG on, and so many 1g.5gb on each."""
        self.gpus.create(["A100-40GB"] * count, mig=True, overwrite=True)
        self.create_instances(count, instances=instances)

    def create_instances(self, count: int = 1, *, instances: int = 7) -> None:
        for gpu in range(count):
            for start in range(instances):
                self.gpus.create_instance(gpu, "1g.5gb", start)

    # The processes.

    def start_agent(self) -> subprocess.Popen[bytes]:
        return self.start(self._command("agent"))

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """An agent by another command line."""
        agent = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        self._agents.append(agent)
        return agent

    def stop_agents(self) -> None:
        """End the agents that this node started and that still run."""
        for agent in self._agents:
            if agent.poll() is None:
                agent.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    agent.wait(PATIENCE)
                if agent.poll() is None:
                    agent.kill()
                    agent.wait()
            if agent.stderr:
                agent.stderr.close()
        self._agents.clear()

    def tool(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command("tool"), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=60,
            check=False,
        )

    def on_terminal(self, end: int, *arguments: str) -> int:
        """Run the tool with a terminal for its standard error.

        :param end: the terminal's end, which is closed.
        """
        try:
            return subprocess.run(
                [*self._command("tool"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=end,
                env=self.environment,
                timeout=60,
                check=False,
            ).returncode
        finally:
            os.close(end)

    def _command(self, name: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            f"mig_placement.cmd.{name}",
            f"--config-file={self.config}",
        ]

    # What Placement says.

    def create_root(self) -> str:
        return self.cloud.create_root(ROOT_NAME)

    def candidates(self, required: bool = True) -> int:
        """Candidates for one 1g.5gb, asked as a generated flavor does."""
        node_required = [names.NODE_READY] if required else []
        found = self.cloud.candidates({CLASS: 1}, node_required=node_required)
        return len(found)

    def provider(self, index: int = 0) -> clouds.Provider:
        name = names.provider_name(ROOT_NAME, f"0000:{0x41 + index:x}:00.0")
        return self.cloud.providers()[name]

    def blocked_by(self, index: int = 0) -> set[str]:
        """The reasons that Placement shows for a GPU."""
        name = names.provider_name(ROOT_NAME, f"0000:{0x41 + index:x}:00.0")
        provider = self.cloud.providers().get(name)
        return {
            trait.removeprefix(names.BLOCKED)
            for trait in (provider.traits if provider else ())
            if trait.startswith(names.BLOCKED)
        }

    def opens(self, count: int = 1) -> None:
        within(lambda: self.candidates() == count)

    def closes(self, *reasons: str) -> None:
        """Nothing is offered, and the reasons are shown."""
        within(lambda: self.candidates(required=False) == 0)
        within(lambda: self.blocked_by() == set(reasons))
        root = self.cloud.providers()[ROOT_NAME]
        assert names.NODE_READY not in root.traits

    def status(self) -> Any:
        path = self.run_dir / "status.json"
        within(path.exists)
        return json.loads(path.read_text())

    def turn(self) -> None:
        """Wait for the agent's next turn to end."""
        before = self.status()["written"]
        within(lambda: self.status()["written"] > before)

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@contextlib.contextmanager
def notify_socket(node: GpuNode) -> Iterator[socket.socket]:
    """The socket that systemd would read the agent's notifications from."""
    path = node.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(PATIENCE)
        node.environment["NOTIFY_SOCKET"] = str(path)
        yield receiver


def wait_for_notification(receiver: socket.socket, wanted: str) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if wanted in receiver.recv(65536).decode().splitlines():
            return
    raise AssertionError(f"{wanted} was not sent")


def notifications(receiver: socket.socket) -> list[str]:
    """What was sent and not read yet."""
    lines: list[str] = []
    receiver.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            lines += receiver.recv(65536).decode().splitlines()
    return lines


def free_port_url() -> str:
    """Where nobody listens."""
    port = server_process.ReservedPort()
    port.release()
    return f"http://127.0.0.1:{port.number}"
