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
"""Everything that goes wrong between a running agent and its services.

One agent lives through all of it: for each fault it is told of nothing but
a change of the node, and has to tell Placement once the fault is over.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator

import pytest

from mig_placement import pace
from tests.functional import cloud as clouds
from tests.functional import exchanges
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import gpu_node
from tests.functional import keystone_server
from tests.functional import placement_app

_INTERVAL = 0.2
_TIMEOUT = 1
_OURS = "^/resource_providers/[0-9a-f-]{36}/(traits|inventories)"


@dataclasses.dataclass
class Scene:
    """A node with one GPU, its running agent, and the proxy between."""

    node: gpu_node.GpuNode
    proxy: faulty_server.FaultProxy
    agent: subprocess.Popen[bytes]

    def turns(self, count: int) -> None:
        """Wait for so many of the agent's turns to have ended."""
        for _ in range(count):
            self.node.turn()

    def heal(self) -> None:
        """No more faults; what hangs in the proxy is broken."""
        self.proxy.heal()
        self.proxy.refuse()
        self.proxy.accept()

    def is_closed(self) -> bool:
        return self.node.candidates(required=False) == 0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    # A Placement of its own: the agent outlives many a test.
    for server in placement_app.running_server():
        placement = server.clean()
        with faulty_server.FaultProxy(placement.url) as proxy:
            node = gpu_node.GpuNode(
                tmp_path_factory.mktemp("scene"),
                placement.options(),
                placement.cloud,
            )
            node.sections["placement"]["endpoint_override"] = proxy.url
            node.sections["placement"]["timeout"] = str(_TIMEOUT)
            node.sections["agent"]["interval"] = str(_INTERVAL)
            node.write_config()
            node.create_gpus()
            node.create_root()
            yield Scene(node, proxy, node.start_agent())
            node.stop_agents()


@dataclasses.dataclass(frozen=True)
class Case:
    """A fault, and for which requests it is played.

    :ivar says: what the agent's log then says; empty where the agent gets
        over it within the turn, so that nobody has to hear of it.
    """

    fault: faults.Fault
    says: str
    method: str = ""
    path: str = ""
    times: int | None = None


def _error(status: int, code: str = "") -> faults.Answer:
    return faults.error(status, code)


_CASES = {
    "401": Case(_error(401), "credentials are refused (401)"),
    "403": Case(_error(403), "may not do this (403)"),
    "403 of writes": Case(_error(403), "may not do this (403)", "PUT", _OURS),
    "404 on ours": Case(_error(404), "others changed", "PUT", _OURS),
    "404 on a read": Case(_error(404), "HTTP status 404", "GET", "in_tree="),
    **{
        f"409 {code}": Case(
            _error(409, f"placement.{code}"), says, "PUT", _OURS
        )
        for code, says in (
            ("concurrent_update", "others changed"),
            ("inventory.inuse", "others changed"),
            ("resource_provider.inuse", "others changed"),
            ("undefined_code", "others changed"),
            ("duplicate_name", "name is taken"),
        )
    },
    "409 once": Case(
        _error(409, "placement.concurrent_update"), "", "PUT", _OURS, 1
    ),
    "400": Case(_error(400), "refuses to", "PUT", _OURS),
    "429": Case(faults.too_many(), "HTTP status 429"),
    "500": Case(_error(500), "HTTP status 500"),
    "503": Case(faults.html(503), "HTTP status 503"),
    "HTML that says 200": Case(faults.html(200), "not one of Placement's"),
    "JSON cut off": Case(faults.broken_json(), "not one of Placement's"),
    "JSON of another kind": Case(
        faults.json_answer([]), "not one of Placement's"
    ),
    "JSON of a wrong shape": Case(
        faults.json_answer({"resource_providers": [{"uuid": 7}]}),
        "not one of Placement's",
    ),
    "closed": Case(faults.Drop(), "no usable answer"),
    "reset": Case(faults.Drop(reset=True), "no usable answer"),
    "reset in mid-response": Case(faults.CutOff(), "no usable answer"),
    "applied, answer lost": Case(faults.Lost(), "no usable answer", "PUT"),
    # One that trickles without an end is given up after a minute.
    "never ends": Case(faults.Endless(0.001, 1 << 20), "no usable answer"),
    "silence": Case(faults.Stall(), "no usable answer"),
    "slower than the interval": Case(faults.Slow(2 * _INTERVAL), ""),
    "answer slower than the interval": Case(
        faults.Late(2 * _INTERVAL), "", "PUT"
    ),
    "slower than the timeout": Case(
        faults.Late(2.0 * _TIMEOUT), "no usable answer", "PUT"
    ),
}


@pytest.mark.parametrize("name", _CASES)
def test_a_fault_is_survived_said_once_and_got_over(
    name: str, scene: Scene
) -> None:
    case, node = _CASES[name], scene.node
    with _closing_and_opening(scene) as disturb:
        said = len(node.log_text())
        rule = scene.proxy.add(
            case.fault, method=case.method, path=case.path, times=case.times
        )
        disturb()
        gpu_node.within(lambda: rule.hits)
        if case.says:
            gpu_node.within(lambda: case.says in node.log_text()[said:])
            scene.turns(3)
        _assert_said_once(node.log_text()[said:], case.says)


def test_refused_connections_are_survived_said_once_and_got_over(
    scene: Scene,
) -> None:
    with _closing_and_opening(scene) as disturb:
        said = len(scene.node.log_text())
        scene.proxy.refuse()
        disturb()
        gpu_node.within(
            lambda: "no usable answer" in scene.node.log_text()[said:]
        )
        scene.turns(3)
        _assert_said_once(scene.node.log_text()[said:], "no usable answer")


@contextlib.contextmanager
def _closing_and_opening(scene: Scene) -> Iterator[Callable[[], None]]:
    """What happens under the fault closes after it; then it opens."""
    node = scene.node
    node.opens()
    # Steady: nothing of the case before is under way.
    scene.turns(2)
    scene.proxy.log.clear()
    try:
        yield lambda: node.gpus.destroy_instance(0, (3, 1))
        scene.heal()
        node.closes("INSTANCE_MISSING")
    finally:
        scene.heal()
        node.gpus.create_instance(0, "1g.5gb", 3)
    node.opens()
    assert scene.agent.poll() is None, "the agent has ended"
    assert not scene.proxy.errors
    _assert_no_blind_repetition(scene.proxy.log.exchanges)


def _assert_said_once(text: str, says: str) -> None:
    """As a warning or worse; debug lines are for whoever asked for them."""
    lines = [
        line
        for line in text.splitlines()
        if " WARNING " in line or " ERROR " in line
    ]
    told = [line.split("mig_placement", 1)[-1] for line in lines]
    twice = {line: n for line, n in Counter(told).items() if n > 1}
    assert not twice
    assert bool(says) == any(says in line for line in lines if says)


def _assert_no_blind_repetition(log: list[exchanges.Exchange]) -> None:
    """No write is sent again without a look in between, unless Placement
    itself would refuse the second: by the generation it carries."""
    sent: list[exchanges.Exchange] = []
    for one in log:
        if not one.is_write:
            sent.clear()
            continue
        same = [each for each in sent if each.body == one.body]
        repeated = any(each.path == one.path for each in same)
        guarded = b"resource_provider_generation" in one.body
        # To make a name that is there does nothing.
        harmless = one.method == "PUT" and not one.body
        assert not repeated or guarded or harmless, one
        sent.append(one)
    for one in log:
        if one.method == "PUT" and one.path.startswith("/resource_providers"):
            assert b"resource_provider_generation" in one.body, one


@pytest.mark.parametrize(
    ("fault", "sent"),
    [(faults.Lost(), 1), (faults.Drop(), 2)],
    ids=["applied", "not applied"],
)
def test_a_provider_whose_creation_was_not_answered_is_looked_for_first(
    fault: faults.Fault, sent: int, scene: Scene
) -> None:
    node = scene.node
    node.opens()
    scene.turns(1)
    scene.proxy.log.clear()
    rule = scene.proxy.add(fault, method="POST", times=1)
    node.cloud.delete_provider(node.provider().uuid)
    gpu_node.within(lambda: rule.hits)
    node.opens()
    assert scene.proxy.log.count("POST") == sent
    _assert_no_blind_repetition(scene.proxy.log.exchanges)
    scene.proxy.remove(rule)


def test_failures_are_backed_off_from_with_jitter() -> None:
    def delays() -> list[float]:
        retry = pace.Retry(60.0)
        found = []
        for _ in range(8):
            retry.failed()
            found.append(retry.delay())
        return found

    runs = [delays() for _ in range(20)]
    for number, several in enumerate(zip(*runs, strict=True)):
        most = min(60.0, 2.0**number)
        assert all(most / 2 <= each <= most for each in several)
        assert len(set(several)) > 1, "all agents would come at once"


def test_a_dead_placement_is_asked_less_and_less_often(
    node: gpu_node.GpuNode, placement_tcp: placement_app.TcpPlacement
) -> None:
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        asked: list[float] = []

        def refuse(talk: faults.Talk) -> None:
            asked.append(time.monotonic())
            talk.send(faults.html(503))

        proxy.add(refuse)
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.sections["agent"]["interval"] = "30"
        node.write_config()
        node.start_agent()
        gpu_node.within(lambda: len(asked) >= 4)
        proxy.heal()
        node.opens()
    gaps = [later - first for first, later in itertools.pairwise(asked)]
    assert gaps[0] >= 0.5
    assert gaps[2] >= 2.0, gaps
    assert gaps[2] > gaps[0]


def test_a_clock_that_steps_changes_nothing(
    node: gpu_node.GpuNode, tmp_path: pathlib.Path
) -> None:
    """Wall-clock time is shown to people; nothing is decided by it."""
    steps = tmp_path / "sitecustomize.py"
    steps.write_text(
        "import random, time\n"
        "_real = time.time\n"
        "def _stepping():\n"
        "    years = random.choice([-10, 0, 10])\n"
        "    return _real() + years * 365 * 86400.0\n"
        "time.time = _stepping\n"
    )
    here = str(pathlib.Path(__file__).parents[2])
    node.environment["PYTHONPATH"] = f"{tmp_path}:{here}"
    agent = node.start_agent()
    node.opens()
    for _ in range(2):
        node.gpus.destroy_instance(0, (3, 1))
        node.closes("INSTANCE_MISSING")
        node.gpus.create_instance(0, "1g.5gb", 3)
        node.opens()
    first = node.status()["written"]
    gpu_node.within(lambda: abs(node.status()["written"] - first) > 86400)
    assert agent.poll() is None


# Keystone


@dataclasses.dataclass
class Login(Scene):
    """A node behind two proxies; ``keystone`` is the second one."""

    keystone: faulty_server.FaultProxy

    def heal(self) -> None:
        super().heal()
        self.keystone.heal()

    def expire_the_token(self) -> faulty_server.Rule:
        """What Placement then says, once: the client gets another token."""
        return self.proxy.add(_error(401), times=1)


@dataclasses.dataclass(frozen=True)
class Keystones:
    """A fault of Keystone's, and what the agent's log says of it."""

    fault: faults.Fault
    says: str = "no usable answer"


@pytest.fixture(scope="module")
def login(
    tmp_path_factory: pytest.TempPathFactory,
    secured: keystone_server.SecuredPlacement,
) -> Iterator[Login]:
    with (
        faulty_server.FaultProxy(secured.keystone.url) as keystone,
        faulty_server.FaultProxy(secured.url) as proxy,
    ):
        adapter = placement_app.make_adapter(secured.session(), secured.url)
        node = gpu_node.GpuNode(
            tmp_path_factory.mktemp("login"),
            secured.options(),
            clouds.Cloud(adapter),
        )
        node.sections["placement"]["auth_url"] = f"{keystone.url}/v3"
        node.sections["placement"]["endpoint_override"] = proxy.url
        node.write_config()
        node.create_gpus()
        node.create_root()
        made = Login(node, proxy, node.start_agent(), keystone)
        # Keystone is in no hurry with a first token.
        gpu_node.within(node.candidates, 60)
        yield made
        node.stop_agents()


def test_an_expired_token_is_replaced_and_nobody_hears_of_it(
    login: Login,
) -> None:
    with _closing_and_opening(login) as disturb:
        said = len(login.node.log_text())
        login.keystone.log.clear()
        rule = login.expire_the_token()
        disturb()
        gpu_node.within(lambda: rule.hits)
        gpu_node.within(login.is_closed)
        assert "401" not in login.node.log_text()[said:]
        assert login.keystone.log.count("POST", "/auth/tokens$") == 1


_KEYSTONE_S = {
    "503": Keystones(faults.html(503)),
    "500": Keystones(_error(500)),
    "401": Keystones(_error(401), "(401)"),
    "403": Keystones(_error(403), "(403)"),
    "429": Keystones(faults.too_many()),
    "HTML": Keystones(faults.html(200)),
    "JSON of another kind": Keystones(faults.json_answer([])),
    "cut off": Keystones(faults.CutOff()),
    "closed": Keystones(faults.Drop()),
}


@pytest.mark.skipif("CHAOS" not in os.environ, reason="takes minutes")
@pytest.mark.parametrize("name", _KEYSTONE_S)
def test_an_expired_token_meets_a_keystone_with_a_fault(
    name: str, login: Login
) -> None:
    fault, says = _KEYSTONE_S[name].fault, _KEYSTONE_S[name].says
    with _closing_and_opening(login) as disturb:
        node = login.node
        said = len(node.log_text())
        rule = login.keystone.add(fault)
        login.expire_the_token()
        disturb()
        gpu_node.within(lambda: rule.hits)
        gpu_node.within(lambda: says in node.log_text()[said:])
        login.turns(3)
        _assert_said_once(node.log_text()[said:], says)
