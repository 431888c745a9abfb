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
"""Topic "nova": our requests beside those of nova-compute.

In the same Placement, for as many mdev providers, by the real Nova that the
tests have (tests/nova/run).
"""

import json
import os
import pathlib
import subprocess
from collections.abc import Iterator
from collections.abc import Mapping

from bench import figure

_ROOT = pathlib.Path(__file__).parent.parent
# As tests/nova/run has it, which makes it.
_VENV = os.environ.get("NOVA_VENV", ".tox/real-nova")
_SHARE_GOAL = 20


def report(options: figure.Options) -> figure.Report:
    """Skipped where nobody has made Nova's environment."""
    venv = _ROOT / _VENV
    if not (venv / "made-for").exists():
        return figure.Report(
            (_skipped(),),
            (f"No Nova in {venv}: bash tests/nova/run makes it.",),
        )
    return figure.Report(tuple(_figures(_counted(venv))))


def _skipped() -> figure.Figure:
    return figure.Figure("requests beside Nova's", None, "no Nova")


def _counted(venv: pathlib.Path) -> dict[str, float]:
    done = subprocess.run(
        [venv / "bin/python", "-m", "bench.nova_requests"],
        cwd=_ROOT,
        # Before what is installed there, which may be another clone's.
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        # What ended it is in Nova's log, which goes to standard output.
        said = (done.stderr + done.stdout)[-2000:]
        raise RuntimeError(f"Nova was not measured: {said}")
    counts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return counts


def _figures(counts: Mapping[str, float]) -> Iterator[figure.Figure]:
    yield figure.Figure("Nova's mdev providers", counts["providers"], "")
    for name, count in (
        ("Nova's update, each minute", "update"),
        ("Nova's update that reads anew, each 5 minutes", "refresh"),
        ("nova-compute's restart", "restart"),
        ("agent's restart", "agent_restart"),
    ):
        yield figure.Figure(name, counts[count], "requests")
    yield figure.Figure(
        "agent's steady cycle", counts["cycle"], "requests", 1, minimum=1
    )
    yield figure.Figure(
        "the same, of Nova's update",
        counts["cycle"] / counts["update"] * 100,
        "%",
        _SHARE_GOAL,
    )
    yield from _added(counts)


def _added(counts: Mapping[str, float]) -> Iterator[figure.Figure]:
    """What Nova asks more since the agent's providers are in its tree."""
    for name, count in (
        ("the agent's providers add to Nova's update", "update"),
        ("the same, to the one that reads anew", "refresh"),
    ):
        added = counts[f"{count}_with_ours"] - counts[count]
        yield figure.Figure(name, added, "requests")
