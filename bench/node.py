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
"""What is measured: a simulated node of eight GPUs and a real Placement."""

import configparser
import functools
import os
import pathlib
import subprocess
import sys
import time

from keystoneauth1 import adapter
from keystoneauth1 import session
from keystoneauth1 import token_endpoint

from mig_placement import conf
from mig_placement import cycle
from mig_placement import restore
from mig_placement import simulator
from mig_placement.demo import cloud
from mig_placement.demo import placement_server
from mig_placement.placement import client
from mig_placement.service import nvml

ROOT_NAME = "bench.example.org"
GPUS = 8
INSTANCES = 7
LAYOUT = """\
version: v1
mig-configs:
  bench:
    - devices: all
      mig-enabled: true
      mig-devices: {"1g.5gb": 7}
"""


class Node:
    """Files of a simulated node below a folder."""

    def __init__(self, folder: pathlib.Path, url: str) -> None:
        self.folder = folder
        self.gpus = simulator.SimulatedNode(folder / "gpus.json")
        self.config = folder / "agent.conf"
        self.layout = folder / "layout.yaml"
        self.layout.write_text(LAYOUT)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(
            {
                "DEFAULT": {"log_file": str(folder / "agent.log")},
                "agent": {
                    "host": "bench",
                    "hypervisor_hostname": ROOT_NAME,
                    "run_dir": str(folder / "run"),
                    "state_dir": str(folder / "state"),
                },
                "hardware": {"simulate": self.gpus.path},
                "layout": {"file": str(self.layout)},
                "placement": {
                    "auth_type": "admin_token",
                    "endpoint": url,
                    "token": placement_server.ADMIN_TOKEN,
                },
            }
        )
        with self.config.open("w") as file:
            parser.write(file)

    def create(self, gpus: int = GPUS) -> None:
        """GPUs as declared."""
        self.gpus.create(["A100-40GB"] * gpus, mig=True, overwrite=True)
        for gpu in range(gpus):
            for _ in range(INSTANCES):
                self.gpus.create_instance(gpu, "1g.5gb")

    def declare(self, devices: str) -> None:
        """Another layout."""
        self.layout.write_text(LAYOUT.replace('{"1g.5gb": 7}', devices))

    def native(self) -> None:
        """Let the agent restore."""
        text = self.config.read_text()
        if "apply = native" not in text:
            self.config.write_text(
                text.replace("[layout]\n", "[layout]\napply = native\n")
            )

    def apply(self) -> None:
        """Restore in this process, without Placement."""
        library = nvml.Nvml(self.settings())
        observer = cycle.Observer(self.settings(), library)
        seen = observer.look()
        if seen.node is None:
            raise RuntimeError(str(seen.verdict.findings))
        restore.Restorer(
            self.settings(), library, restore.NoPlacement(), {}
        ).run(
            seen,
            observer.wanted(seen.node),
            frozenset(range(len(seen.node.gpus))),
        )
        library.let_go()

    def settings(self) -> conf.Settings:
        return conf.settings(conf.parse([f"--config-file={self.config}"]))

    def agent(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mig_placement.cmd.agent",
                f"--config-file={self.config}",
            ],
            env=_installed(),
        )

    def tool_seconds(self, *arguments: str) -> float:
        """Wall time of a command as a whole process."""
        began = time.monotonic()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "mig_placement.cmd.tool",
                f"--config-file={self.config}",
                *arguments,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            env=_installed(),
        )
        return time.monotonic() - began


def _installed() -> dict[str, str]:
    """As installed: with the bytecode that pip compiles."""
    unwanted = "PYTHONDONTWRITEBYTECODE"
    return {k: v for k, v in os.environ.items() if k != unwanted}


class Counting:
    """An adapter that counts its requests."""

    def __init__(self, inner: client.Adapter) -> None:
        self._inner = inner
        self.requests: list[str] = []

    def request(
        self, url: str, method: str, **kwargs: object
    ) -> client.Response:
        self.requests.append(method)
        return self._inner.request(url, method, **kwargs)


def counting(url: str) -> Counting:
    inner = adapter.Adapter(
        session.Session(
            auth=token_endpoint.Token(url, placement_server.ADMIN_TOKEN)
        ),
        service_type="placement",
        endpoint_override=url,
    )
    return Counting(inner)


@functools.cache
def root(url: str) -> cloud.Cloud:
    """The compute root of the node, made once."""
    made = cloud.Cloud(url, ROOT_NAME)
    made.create_root()
    return made
