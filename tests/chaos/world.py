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
"""A node, its agent and its Placement in this process, and quick.

What takes time without proving anything is left out: a file's way to the
disk, the check of Placement's own schemas at each request, and asking the
API for what its tables say.
"""

import contextlib
import functools
import inspect
import io
import os
import pathlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from wsgiref.types import StartResponse
from wsgiref.types import WSGIApplication
from wsgiref.types import WSGIEnvironment

import jsonschema
import requests
import sqlalchemy
from oslo_db.sqlalchemy import engines
from placement import attribute_cache
from placement import util as placement_util

from mig_placement import agent as agents
from mig_placement import conf
from mig_placement import keeper
from mig_placement import simulator
from mig_placement.geometry import steps
from mig_placement.geometry import verdict as verdicts
from mig_placement.placement import client
from mig_placement.placement import names
from mig_placement.placement import sync
from mig_placement.service import hands
from mig_placement.service import status
from mig_placement.service import wake
from tests.chaos import truth as truths
from tests.functional import cloud as clouds
from tests.functional import exchanges
from tests.functional import gpu_node
from tests.functional import placement_app

GPUS = 2
LAYOUTS = (
    {"1g.5gb": 7},
    {"1g.5gb": 3, "4g.20gb": 1},
    {"3g.20gb": 2},
    {"2g.10gb": 3},
)
NOT_TO_BE_HAD = (
    "version: v1\nmig-configs: {",
    gpu_node.LAYOUT.replace("7", "9"),
)
_REMEMBERED = 20_000
_CACHED = ("_id_cache", "_str_cache", "_all_cache")
#: Writes, faults and so on, over all histories of this process.
COUNTED: Counter[str] = Counter()


class Killed(BaseException):
    """SIGKILL: no handler of the agent's own sees it."""


class Clock:
    """The keeper's clock: hours pass at once."""

    def __init__(self) -> None:
        self.now = 1e6

    def monotonic(self) -> float:
        return self.now


def make_quick() -> None:
    """Leave out what takes time and proves nothing here."""
    _replace(os, "fsync", lambda descriptor: None)
    # Yields to other green threads with each query; there are none.
    _replace(engines, "_thread_yield", lambda *_: None)
    _replace(placement_util, "jsonschema", _Jsonschema())
    # oslo.policy looks at the signature of each of its rules, each time.
    known = functools.lru_cache(1000)(inspect.getfullargspec)
    _replace(inspect, "getfullargspec", known)
    # Placement gives its tables the same few names with each query.
    _replace(sqlalchemy, "alias", functools.cache(sqlalchemy.alias))


def _remember_names(database: sqlite3.Connection) -> None:
    """Each request reads all traits and classes, 400 rows, as objects.

    Where they are what they were once before, so are the objects.
    """
    caches = attribute_cache._AttributeCache
    read = caches._refresh_from_db
    known: dict[object, dict[str, Any]] = {}

    def refresh(cache: Any, context: Any) -> None:
        rows = database.execute(f"select id, name from {cache._table.name}")
        key = cache._table.name, tuple(rows)
        if key not in known:
            read(cache, context)
            known[key] = {name: vars(cache)[name] for name in _CACHED}
        vars(cache).update({k: dict(v) for k, v in known[key].items()})

    _replace(caches, "_refresh_from_db", refresh)


def _replace(module: Any, name: str, value: object) -> None:
    setattr(module, name, value)


class _Jsonschema:
    """jsonschema, with one validator for each schema, checked once."""

    ValidationError = jsonschema.ValidationError
    FormatChecker = staticmethod(functools.cache(jsonschema.FormatChecker))

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any]] = {}

    def validate(self, data: Any, schema: Any, format_checker: Any) -> None:
        # With the schema, so that its id stays its own.
        if id(schema) not in self._known:
            kind = jsonschema.validators.validator_for(schema)
            kind.check_schema(schema)
            validator = kind(schema, format_checker=format_checker)
            self._known[id(schema)] = schema, validator
        error = next(self._known[id(schema)][1].iter_errors(data), None)
        if error is not None:
            raise error


class Remembering:
    """Placement's application, and what it answered in the same state.

    A GET depends on what was written since the start and on nothing else;
    SQLAlchemy takes milliseconds for each.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._answers: dict[object, tuple[str, Any, list[bytes]]] = {}
        self._state: tuple[object, ...] = ()

    def starts_from(self, name: str) -> None:
        self._state = (name,)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        query = environ.get("QUERY_STRING", "")
        if method != "GET":
            length = int(environ.get("CONTENT_LENGTH") or 0)
            body = environ["wsgi.input"].read(length)
            environ["wsgi.input"] = io.BytesIO(body)
            self._state = hash(self._state), method, path, body
            return self._asked(environ, start_response)[2]
        key = self._state, path, query
        if key in self._answers:
            status, headers, chunks = self._answers[key]
            start_response(status, headers)
            return chunks
        if len(self._answers) > _REMEMBERED:
            self._answers.clear()
        self._answers[key] = answer = self._asked(environ, start_response)
        return answer[2]

    def _asked(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> tuple[str, Any, list[bytes]]:
        said: list[Any] = []

        def noting(status: str, headers: Any, *more: Any) -> Any:
            said[:] = status, headers
            return start_response(status, headers, *more)

        chunks = list(self._application(environ, noting))
        return said[0], said[1], chunks


class Placement:
    """One application for the whole process, with the node's root in it."""

    def __init__(self) -> None:
        self._app = placement_app.PlacementApp()
        with placement_app.live_connection() as live:
            self.database: sqlite3.Connection = live
        _remember_names(live)
        self._memory = Remembering(self._app.application)
        cloud = placement_app.in_process(self._app).cloud
        self.root = cloud.create_root(gpu_node.ROOT_NAME)
        self._new = self._copied()
        # One that other nodes use as well: it has all names already.
        self._app.remember()
        self._in_use = self._used(cloud)
        _replace(self._app, "application", self._memory)

    def _copied(self) -> sqlite3.Connection:
        copy = sqlite3.connect(":memory:", check_same_thread=False)
        self._app.copy(copy)
        return copy

    def _used(self, cloud: clouds.Cloud) -> sqlite3.Connection:
        names_in_use = (
            names.READY,
            names.NODE_READY,
            names.OWNER,
            *(names.blocked(each) for each in verdicts.Reason),
        )
        cloud.set_traits(self.root, {"COMPUTE_NODE", *names_in_use})
        cloud.set_traits(self.root, {"COMPUTE_NODE"})
        for layout in LAYOUTS:
            for profile in layout:
                cloud.create_class(names.class_name(profile, {}))
        return self._copied()

    def clean(self, in_use: bool) -> placement_app.InProcessPlacement:
        """As new, or as one that knows all names of ours already."""
        made = placement_app.in_process(self._app)
        self._app.reset(self._in_use if in_use else self._new)
        self._memory.starts_from("in use" if in_use else "new")
        return made


class World:
    """All that a history disturbs, and the watch over it."""

    def __init__(
        self,
        placement: Placement,
        restore: str = "none",
        scope: str = "node",
        *,
        in_use: bool = False,
    ) -> None:
        self.folder = pathlib.Path(
            tempfile.mkdtemp(prefix="mig-history-", dir=_quick_folder())
        )
        self._database = placement.database
        self.placement = placement.clean(in_use)
        self.cloud: clouds.Cloud = self.placement.cloud
        self.root = placement.root
        self.clock = Clock()
        _replace(keeper, "time", self.clock)
        self.gpus = simulator.SimulatedNode(self.folder / "gpus.json")
        self.gpus.create(["A100-40GB"] * GPUS, mig=True)
        self.layout = self.folder / "layout.yaml"
        self.truth = truths.Truth(gpu_node.ROOT_NAME, scope)
        self.settings = self._settings(restore, scope)
        self._watch = truths.Watch(self.truth, self.offer, self.node)
        self._early_steps: list[str] = []
        self.struck = False
        self.is_listening = False
        self._calls_until: dict[str, tuple[int, Callable[[], None]]] = {}
        recorder = self.placement.recorder
        recorder.before_write = self._before_write
        recorder.after_write = self._after_write
        self.agent: agents.Agent | None = None

    def _settings(self, restore: str, scope: str) -> conf.Settings:
        path = self.folder / "agent.conf"
        path.write_text(
            f"[agent]\nhypervisor_hostname = {gpu_node.ROOT_NAME}\n"
            f"run_dir = {self.folder}/run\nstate_dir = {self.folder}/state\n"
            f"[hardware]\nsimulate = {self.gpus.path}\n"
            f"[layout]\nfile = {self.layout}\napply = {restore}\n"
            f"[gate]\nscope = {scope}\n"
        )
        return conf.settings(conf.parse([f"--config-file={path}"]))

    def close(self) -> None:
        self.stop_agent()
        simulator.uninstall()
        shutil.rmtree(self.folder)

    # The agent.

    def stop_agent(self) -> None:
        """As the kernel does it: what it had open is closed."""
        if self.agent:
            self.agent.let_go()
        self.agent = None
        self.is_listening = False

    def start_agent(self) -> None:
        self.stop_agent()
        synchronizer = sync.Synchronizer(
            client.Client(self.placement.adapter), gpu_node.ROOT_NAME
        )
        self.agent = agents.Agent(self.settings, synchronizer, wake.Waker())

    def passes(self) -> None:
        """Until the agent had one turn without a fault; then all holds."""
        self.struck = True
        while self.struck:
            self.struck = False
            self.tick()
        self.assert_safe()
        self.is_listening = True

    def tick(self) -> None:
        """One pass of the agent, which may be killed in it."""
        if self.agent is None:
            self.start_agent()
        assert self.agent is not None
        try:
            with self._watched_hands():
                # What the watcher's thread does, here in this one.
                self.agent.hear(0.0)
                self.agent.tick()
        except Killed:
            self.stop_agent()
        else:
            self.assert_no_surprise()
        finally:
            self.placement.recorder.exchanges.clear()
            self.raise_violations()

    # What is checked.

    def node(self) -> dict[str, Any]:
        return self.gpus.summary()

    def offer(self) -> truths.Offer:
        return truths.offer(self._database)

    def assert_safe(self) -> None:
        """At rest: the agent had its turn, and Placement answered."""
        seen, node = self.offer(), self.node()
        excess = self.truth.excess(seen, node)
        assert not excess, f"(offered, allowed): {excess}"
        unready = self.truth.unready(seen, node)
        assert not unready, f"ready: {unready}"

    def assert_no_surprise(self) -> None:
        """The agent goes on after any error; none of them is ours."""
        status_file = status.read(self.settings.run_dir)
        trouble = status_file["placement"]["trouble"]
        assert "unexpected error" not in trouble, trouble
        assert "HTTP status 5" not in trouble, trouble

    def raise_violations(self) -> None:
        """Those of single writes; the agent would have caught them."""
        found = [*self._watch.violations, *self._early_steps]
        assert not found, found

    def _before_write(self) -> None:
        self._count("before")
        self._watch.before()

    def _after_write(self, exchange: exchanges.Exchange) -> None:
        COUNTED["writes checked"] += 1
        self._watch.after(f"{exchange.method} {exchange.path}")
        self._count("after")

    @contextlib.contextmanager
    def _watched_hands(self) -> Iterator[None]:
        """Nothing may be to be had while a GPU is being changed."""
        real = hands.NvmlHands.do

        def do(itself: hands.NvmlHands, index: int, step: steps.Step) -> bool:
            self._count("step before")
            offered = {k: v for k, v in self.offer().units.items() if v}
            if offered:
                self._early_steps.append(f"{step}, and {offered} to be had")
            done = real(itself, index, step)
            COUNTED["hardware steps checked"] += 1
            self._count("step after")
            return done

        _replace(hands.NvmlHands, "do", do)
        try:
            yield
        finally:
            _replace(hands.NvmlHands, "do", real)

    # Faults at the k-th write or step from now on.

    def at(self, place: str, k: int, action: Callable[[], None]) -> None:
        """:param place: before, after (a write), step before, step after."""
        self._calls_until[place] = k, action

    def calm_down(self) -> None:
        """No more faults."""
        self._calls_until.clear()
        self.placement.recorder.clear()
        self.gpus.clear_faults()

    def _count(self, place: str) -> None:
        k, action = self._calls_until.get(place, (0, None))
        if action is None:
            return
        if k > 1:
            self._calls_until[place] = k - 1, action
            return
        del self._calls_until[place]
        self.struck = True
        COUNTED[f"{action.__name__} {place}"] += 1
        action()

    # Shorthands.

    def declare(self, number: int) -> None:
        self.layout.write_text(layout_text(number))
        self.truth.declared = [LAYOUTS[number]]

    def instances(self, gpu: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.node()["gpus"][gpu]["instances"]
        return found

    def providers(self) -> list[tuple[str, str]]:
        """(uuid, name) of ours."""
        found = self._database.execute(
            "select uuid, name from resource_providers order by name"
        )
        return [
            (uuid, name)
            for uuid, name in found.fetchall()
            if names.is_gpu_provider(name, gpu_node.ROOT_NAME)
        ]


def layout_text(number: int) -> str:
    devices = ", ".join(f'"{k}": {v}' for k, v in LAYOUTS[number].items())
    return gpu_node.LAYOUT.replace('"1g.5gb": 7', devices)


def kill() -> None:
    raise Killed


def break_connection() -> None:
    raise requests.exceptions.ConnectionError("broken on purpose")


def _quick_folder() -> str | None:
    """In memory, where there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
