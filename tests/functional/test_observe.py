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

"""A look at GPUs that somebody else is changing."""

import collections.abc
import pathlib
from typing import Any

import pynvml
import pytest

from mig_placement import simulator
from mig_placement.hardware import session

_ASKED = "nvmlGpuInstanceGetInfo"


@pytest.fixture
def gpus(
    tmp_path: pathlib.Path,
) -> collections.abc.Iterator[simulator.SimulatedNode]:
    node = simulator.SimulatedNode(tmp_path / "gpus.json")
    node.create(["A100-40GB"], mig=True)
    for start in range(4):
        node.create_instance(0, "1g.5gb", start)
    simulator.install(node.path)
    yield node
    simulator.uninstall()


def _destroying(
    gpus: simulator.SimulatedNode, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """So often an instance goes just before it is asked what it is."""
    ask, left = getattr(pynvml, _ASKED), list(range(count))

    def asked(handle: Any) -> Any:
        if left:
            gpus.destroy_instance(0, (left.pop(), 1))
        return ask(handle)

    monkeypatch.setattr(pynvml, _ASKED, asked)


@pytest.mark.parametrize("count", [1, 2])
def test_an_instance_that_goes_meanwhile_is_no_fault_of_the_gpu(
    gpus: simulator.SimulatedNode, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    with session.Session() as opened:
        _destroying(gpus, monkeypatch, count)
        (gpu,) = opened.observe().gpus
    assert not gpu.fault
    assert len(gpu.instances) == 4 - count


def test_one_that_goes_meanwhile_hides_no_compute_instances(
    gpus: simulator.SimulatedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it looked like as it went is not what others of it are like."""
    name = "nvmlGpuInstanceGetComputeInstanceProfileInfo"
    ask, left = getattr(pynvml, name), [0]

    def asked(*arguments: Any) -> Any:
        if left:
            gpus.destroy_instance(0, (left.pop(), 1))
        return ask(*arguments)

    monkeypatch.setattr(pynvml, name, asked)
    with session.Session() as opened:
        for _ in range(2):
            (gpu,) = opened.observe().gpus
            assert len(gpu.instances) == 3
            assert all(each.compute_instances for each in gpu.instances)
