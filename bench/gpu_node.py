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
"""What is measured: a simulated node, and a Placement that takes notes."""

import collections.abc
import configparser
import contextlib
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from keystoneauth1 import adapter as ksa_adapter
from keystoneauth1 import session
from keystoneauth1 import token_endpoint

from bench import recording
from mig_placement import conf
from mig_placement import remote
from mig_placement import simulator
from mig_placement.demo import cloud as clouds
from mig_placement.demo import placement_server
from mig_placement.placement import client

ROOT_NAME = "bench.example.org"
GPUS = 8
INSTANCES = 7
PROFILE = "1g.5gb"
CLASS = "CUSTOM_MIG_1G_5GB"
_LAYOUT = """\
version: v1
mig-configs:
  bench:
    - devices: all
      mig-enabled: true
      mig-devices: {devices}
"""


_START = "mig_placement.cmd.start"


class Node:
    """Files and processes of a simulated node below a folder.

    :param url: Placement's; empty where it has no part in it.
    :param size: GPUs.
    :param name: of the compute root.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        url: str = "",
        size: int = GPUS,
        name: str = ROOT_NAME,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.url = url
        self.size = size
        self.name = name
        self.gpus = simulator.SimulatedNode(folder / "gpus.json")
        self.config = folder / "agent.conf"
        self._layout = folder / "layout.yaml"
        self._sections = {
            "DEFAULT": {"log_file": str(folder / "agent.log")},
            "agent": {
                "host": "bench",
                "hypervisor_hostname": name,
                "run_dir": str(folder / "run"),
                "state_dir": str(folder / "state"),
            },
            "hardware": {"simulate": self.gpus.path},
            "layout": {"file": str(self._layout)},
            "placement": {
                "auth_type": "admin_token",
                "endpoint": url,
                "token": placement_server.ADMIN_TOKEN,
            },
        }
        self.declare(f'{{"{PROFILE}": {INSTANCES}}}')
        self.configure()

    def configure(self, **layout: str) -> None:
        """Set options of [layout]."""
        self._sections["layout"].update(layout)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(self._sections)
        with self.config.open("w") as file:
            parser.write(file)

    def declare(self, devices: str) -> None:
        """The instances of every GPU, as mig-devices has them."""
        self._layout.write_text(_LAYOUT.format(devices=devices))

    def settings(self) -> conf.Settings:
        return conf.settings(conf.parse([f"--config-file={self.config}"]))

    # The hardware.

    def create(self) -> None:
        """GPUs as declared."""
        self.create_empty()
        for gpu in range(self.size):
            for _ in range(INSTANCES):
                self.gpus.create_instance(gpu, PROFILE)

    def create_empty(self) -> None:
        """As after a reboot."""
        self.gpus.create(["A100-40GB"] * self.size, mig=True, overwrite=True)

    # The compute root, which the real one owes to nova-compute.

    def create_root(self) -> None:
        self.cloud.create_root()

    @functools.cached_property
    def cloud(self) -> clouds.Cloud:
        return clouds.Cloud(self.url, self.name)

    @functools.cached_property
    def root(self) -> str:
        """Its uuid."""
        return client.Client(adapter(self.url)).find_root(self.name).uuid

    # The processes.

    @contextlib.contextmanager
    def agent(self) -> collections.abc.Iterator[subprocess.Popen[bytes]]:
        """The service; at the end it is killed, as by a power cut."""
        process = subprocess.Popen(self._command("agent"), env=_installed())
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def tool_seconds(self, *arguments: str) -> float:
        """Wall time of a command as a whole process."""
        return seconds([*self._command("tool"), *arguments])

    def _command(self, name: str) -> list[str]:
        # What the script does that pip makes.
        start = f"import sys; from {_START} import {name}; sys.exit({name}())"
        return [sys.executable, "-c", start, f"--config-file={self.config}"]


def seconds(command: collections.abc.Sequence[str]) -> float:
    """Wall time of a process that must succeed."""
    began = time.monotonic()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env=_installed()
    )
    return time.monotonic() - began


def _installed() -> dict[str, str]:
    """As installed: with the bytecode that pip compiles."""
    unwanted = "PYTHONDONTWRITEBYTECODE"
    return {k: v for k, v in os.environ.items() if k != unwanted}


def adapter(url: str) -> remote.Adapter:
    """An adapter like the agent's."""
    made: remote.Adapter = ksa_adapter.Adapter(
        session.Session(
            auth=token_endpoint.Token(url, placement_server.ADMIN_TOKEN)
        ),
        service_type="placement",
        endpoint_override=url,
    )
    return made


def _folder() -> tempfile.TemporaryDirectory[str]:
    """In memory, as a driver's state and /run are."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="mig-bench-", dir=memory)


@contextlib.contextmanager
def without_placement() -> collections.abc.Iterator[Node]:
    with _folder() as folder:
        yield Node(pathlib.Path(folder))


@contextlib.contextmanager
def with_placement(
    size: int = GPUS,
) -> collections.abc.Iterator[tuple[Node, recording.RequestLog]]:
    """A node that a Placement of its own knows, its GPUs as declared."""
    with (
        _folder() as folder,
        recording.RecordedPlacement() as placement,
    ):
        node = Node(pathlib.Path(folder), placement.url, size)
        node.create()
        node.create_root()
        yield node, placement.log
