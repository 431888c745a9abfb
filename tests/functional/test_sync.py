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
"""The synchroniser against a real Placement."""

import contextlib
import dataclasses
import functools
import math
import threading
import time
from collections.abc import Iterator

import pytest

from mig_placement import exception
from mig_placement.geometry import verdict
from mig_placement.placement import client
from mig_placement.placement import desired
from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import plan
from mig_placement.placement import sync
from tests.functional import faults
from tests.functional import faulty_server
from tests.functional import placement_app
from tests.unit import pictures

_CLASS = "CUSTOM_MIG_1G_5GB"
_ONE = {_CLASS: 1}
_GPU = names.provider_name(pictures.ROOT_NAME, pictures.address(0))


def _open(*units: int) -> desired.Picture:
    """A matching node; as many 1g.5gb on each GPU as given."""
    return pictures.picture(
        *(
            pictures.judged(index, {"1g.5gb": count})
            for index, count in enumerate(units)
        )
    )


def _missing(units: int = 6) -> desired.Picture:
    return pictures.picture(
        pictures.judged(0, {"1g.5gb": units}, pictures.MISSING)
    )


def _decide(picture: desired.Picture) -> sync.Decide:
    return functools.partial(
        desired.desired, picture=picture, rules=desired.Rules()
    )


class Node:
    """A synchroniser of one node, and its compute root."""

    def __init__(self, placement: placement_app.InProcessPlacement) -> None:
        self.placement = placement
        self.cloud = placement.cloud
        self.recorder = placement.recorder
        self.root = self.cloud.create_root(pictures.ROOT_NAME)
        self.synchronizer = self.fresh()

    def fresh(self) -> sync.Synchronizer:
        """One that remembers nothing, as after a restart."""
        return sync.Synchronizer(
            client.Client(self.placement.adapter), pictures.ROOT_NAME
        )

    def tell(
        self,
        picture: desired.Picture,
        rules: desired.Rules = desired.Rules(),  # noqa: B008 (frozen)
    ) -> sync.Outcome:
        self.recorder.clear()
        return self.synchronizer.sync(
            functools.partial(desired.desired, picture=picture, rules=rules)
        )

    def gpu(self, index: int = 0) -> str:
        """Uuid of a GPU's provider."""
        name = names.provider_name(pictures.ROOT_NAME, pictures.address(index))
        return self.cloud.tree(self.root)[name].uuid

    def candidates(self) -> int:
        return len(
            self.cloud.candidates(_ONE, node_required=[names.NODE_READY])
        )


def _client(url: str) -> client.Client:
    session = placement_app.admin_session(url)
    return client.Client(placement_app.make_adapter(session, url))


@pytest.fixture
def node(placement: placement_app.InProcessPlacement) -> Node:
    return Node(placement)


def test_a_first_sync_offers_what_the_node_has(node: Node) -> None:
    node.tell(_open(7))
    gpu = node.cloud.provider(node.gpu())
    assert gpu.inventories[_CLASS]["total"] == 7
    assert gpu.inventories[_CLASS]["reserved"] == 0
    assert gpu.inventories[_CLASS]["allocation_ratio"] == 1.0
    assert gpu.parent == node.root
    assert node.candidates() == 1


def test_a_provider_is_found_again_by_a_new_agent(node: Node) -> None:
    node.tell(_open(7))
    node.synchronizer = node.fresh()
    assert node.tell(_open(7)).actions == ()


def test_a_steady_cycle_is_one_get(node: Node) -> None:
    node.tell(_open(7, 7, 7))
    node.tell(_open(7, 7, 7))
    assert [e.method for e in node.recorder.exchanges] == ["GET"]


def test_a_steady_cycle_decides_once(node: Node) -> None:
    node.tell(_open(7, 7))
    decided: list[model.Tree] = []

    def decide(tree: model.Tree) -> model.Desired:
        decided.append(tree)
        return desired.desired(tree, _open(7, 7), desired.Rules())

    node.synchronizer.sync(decide)
    assert len(decided) == 1


def test_a_first_sync_of_eight_gpus_costs_at_most_45_requests(
    node: Node,
) -> None:
    node.tell(_open(*[7] * 8))
    assert len(node.recorder.exchanges) <= 45


def test_closing_begins_with_one_write_that_closes_the_node(
    node: Node,
) -> None:
    node.tell(_open(7, 7))
    node.tell(
        pictures.picture(
            pictures.judged(0, {"1g.5gb": 7}),
            pictures.judged(1, {"1g.5gb": 6}, pictures.MISSING),
        )
    )
    first = node.recorder.exchanges[0]
    assert (first.method, first.status) == ("PUT", 200)
    assert first.path == f"/resource_providers/{node.root}/traits"


def test_a_node_of_which_nothing_is_known_is_closed_before_it_is_read(
    node: Node,
) -> None:
    node.tell(_open(*[7] * 8))
    node.synchronizer = node.fresh()
    node.tell(_missing())
    methods = [e.method for e in node.recorder.exchanges]
    assert methods[:3] == ["GET", "GET", "PUT"]
    closing = node.recorder.exchanges[2]
    assert closing.path == f"/resource_providers/{node.root}/traits"
    assert names.NODE_READY not in closing.json()["traits"]


def test_a_node_that_matches_is_not_closed_by_a_new_agent(node: Node) -> None:
    node.tell(_open(7, 7))
    node.synchronizer = node.fresh()
    node.tell(_open(7, 7))
    assert node.recorder.writes() == []


@pytest.mark.parametrize("knows_all", [True, False])
def test_closing_a_node_that_a_vm_comes_to_takes_one_look_more(
    node: Node, knows_all: bool
) -> None:
    node.tell(_open(*[7] * 8))
    if not knows_all:
        node.synchronizer = node.fresh()
    node.recorder.clear()
    node.recorder.before(
        "PUT", f"{node.root}/traits$", lambda: node.cloud.boot(_ONE)
    )
    node.synchronizer.sync(_decide(_missing()))
    statuses = [(e.method, e.status) for e in node.recorder.exchanges]
    refused = statuses.index(("PUT", 409))
    assert statuses[refused + 1 : refused + 4] == [
        ("GET", 200),
        ("GET", 200),
        ("PUT", 200),
    ]
    closing = node.recorder.exchanges[refused + 3]
    assert closing.path == f"/resource_providers/{node.root}/traits"


def test_closing_bears_with_a_vm_that_came_to_each_gpu(node: Node) -> None:
    count = 8
    node.tell(_open(*[7] * count))
    gpus = [node.gpu(index) for index in range(count)]
    for each in gpus:
        node.cloud.allocate({node.root: {"VCPU": 1}, each: _ONE})
    missing = pictures.judged(0, {"1g.5gb": 6}, pictures.MISSING)
    others = (pictures.judged(i, {"1g.5gb": 7}) for i in range(1, count))
    node.tell(pictures.picture(missing, *others))
    assert node.cloud.candidates(_ONE) == []
    refused = [e.path for e in node.recorder.exchanges if e.status == 409]
    assert len(refused) == len(set(refused)) == count + 1


def test_of_a_node_that_could_not_be_read_nothing_is_known(
    node: Node,
) -> None:
    node.tell(_open(7))
    node.synchronizer = node.fresh()

    def fail() -> None:
        raise exception.PlacementUnreachable.again("gone")

    node.recorder.before("GET", "/inventories$", fail)
    with pytest.raises(exception.PlacementUnreachable):
        node.synchronizer.sync(_decide(_missing()))
    # Whoever restores takes all instances for used then.
    assert node.synchronizer.tree is None
    assert node.synchronizer.with_fresh_usages() is None
    assert node.candidates() == 0


def test_a_reading_that_was_broken_off_goes_on_where_it_was(
    node: Node,
) -> None:
    node.tell(_open(*[7] * 8))
    node.synchronizer = node.fresh()
    node.recorder.clear()

    def fail_at_the_sixth() -> None:
        if len(_inventories_read(node)) == 5:
            raise exception.PlacementUnreachable.again("gone")

    node.recorder.before("GET", "/inventories$", fail_at_the_sixth, times=6)
    with pytest.raises(exception.PlacementUnreachable):
        node.synchronizer.sync(_decide(_missing()))
    read = _inventories_read(node)
    traits = {*node.cloud.traits(read[0]), "CUSTOM_RACK_7"}
    node.cloud.set_traits(read[0], traits)
    node.tell(_open(*[7] * 8))
    again = set(_inventories_read(node)) & set(read)
    assert again == {read[0]}
    assert len(_inventories_read(node)) == 8 - 5 + 1


def _inventories_read(node: Node) -> list[str]:
    """Uuids of the providers, in their order."""
    return [
        each.path.split("/")[2]
        for each in node.recorder.exchanges
        if each.method == "GET" and each.path.endswith("/inventories")
    ]


def test_a_closed_gate_takes_no_new_vm_and_leaves_running_ones(
    node: Node,
) -> None:
    node.tell(_open(7))
    vm = node.cloud.boot(_ONE, node_required=[names.NODE_READY])
    node.tell(_missing())
    assert node.candidates() == 0
    assert node.cloud.candidates(_ONE) == []
    assert node.cloud.consumers(node.gpu()) == [vm]
    assert node.cloud.candidates({})


def test_the_root_keeps_its_inventory_and_the_traits_of_others(
    node: Node,
) -> None:
    before = node.cloud.provider(node.root)
    node.tell(_open(7))
    node.tell(_missing())
    after = node.cloud.provider(node.root)
    assert after.inventories == before.inventories
    assert after.traits == before.traits


def test_a_foreign_trait_stays(node: Node) -> None:
    node.tell(_open(7))
    traits = {*node.cloud.traits(node.gpu()), "CUSTOM_RACK_7"}
    node.cloud.set_traits(node.gpu(), traits)
    node.tell(_missing())
    assert "CUSTOM_RACK_7" in node.cloud.traits(node.gpu())


def test_an_edited_inventory_is_repaired(node: Node) -> None:
    node.tell(_open(7))
    node.cloud.set_inventories(
        node.gpu(), {_CLASS: {"total": 50}, "CUSTOM_OTHER": {"total": 1}}
    )
    node.tell(_open(7))
    inventories = node.cloud.inventories(node.gpu())
    assert {k: v["total"] for k, v in inventories.items()} == {_CLASS: 7}


def test_a_reserve_that_somebody_lifted_is_put_back(node: Node) -> None:
    node.tell(_missing())
    node.cloud.set_inventories(node.gpu(), {_CLASS: {"total": 6}})
    node.tell(_missing())
    assert node.cloud.inventories(node.gpu())[_CLASS]["reserved"] == 6


def test_the_roots_trait_that_somebody_added_is_taken_off(
    node: Node,
) -> None:
    node.tell(_missing())
    node.cloud.set_traits(node.root, ["COMPUTE_NODE", names.NODE_READY])
    node.tell(_missing())
    assert node.cloud.traits(node.root) == {"COMPUTE_NODE"}


def test_a_provider_that_somebody_deleted_is_made_again(node: Node) -> None:
    node.tell(_open(7))
    node.cloud.delete_provider(node.gpu())
    node.tell(_open(7))
    assert node.candidates() == 1


def test_a_root_that_nova_made_anew_is_found(node: Node) -> None:
    node.tell(_open(7))
    node.root = node.cloud.recreate_root(node.root)
    node.tell(_open(7))
    assert node.candidates() == 1


def test_a_root_made_anew_with_its_uuid_and_generation_is_seen(
    node: Node,
) -> None:
    node.tell(_open(7))
    before = node.cloud.provider(node.root)
    node.cloud.delete_root(node.root)
    node.cloud.create_root(pictures.ROOT_NAME, uuid=node.root)
    for _ in range(before.generation):
        if node.cloud.provider(node.root).generation == before.generation:
            break
        node.cloud.set_inventories(
            node.root, node.cloud.inventories(node.root)
        )
    assert node.cloud.provider(node.root).generation == before.generation
    node.tell(_open(7))
    assert names.NODE_READY in node.cloud.traits(node.root)
    assert node.candidates() == 1


def test_a_missing_root_is_waited_for_and_never_made(
    placement: placement_app.InProcessPlacement,
) -> None:
    synchronizer = sync.Synchronizer(
        client.Client(placement.adapter), pictures.ROOT_NAME
    )
    decide = functools.partial(
        desired.desired, picture=_open(7), rules=desired.Rules()
    )
    with pytest.raises(exception.RootNotFound, match="nova-compute"):
        synchronizer.sync(decide)
    assert {e.method for e in placement.recorder.exchanges} == {"GET"}


def test_an_allocation_between_read_and_write_is_decided_on_again(
    node: Node,
) -> None:
    node.tell(_open(7))
    booted: list[str] = []
    node.recorder.clear()
    node.recorder.before(
        "PUT",
        "/inventories$",
        lambda: booted.append(node.cloud.boot(_ONE)),
    )
    outcome = node.synchronizer.sync(
        functools.partial(
            desired.desired, picture=_missing(), rules=desired.Rules()
        )
    )
    assert 409 in [e.status for e in node.recorder.exchanges]
    assert node.cloud.consumers(node.gpu()) == booted
    assert node.candidates() == 0
    assert outcome.tree.gpus[0].used == {_CLASS: 1}


def test_a_class_that_got_used_meanwhile_stays_reserved(node: Node) -> None:
    node.tell(_open(7))
    booted: list[str] = []
    node.recorder.before(
        "PUT", "/inventories$", lambda: booted.append(node.cloud.boot(_ONE))
    )
    gone = pictures.picture(pictures.judged(0, {}, pictures.MISSING))
    decide = functools.partial(
        desired.desired, picture=gone, rules=desired.Rules()
    )
    assert node.synchronizer.sync(decide).desired.waiting
    inventory = node.cloud.inventories(node.gpu())[_CLASS]
    assert inventory["reserved"] == inventory["total"] == 7

    node.cloud.delete_vm(booted[0])
    node.synchronizer.sync(decide)
    assert node.cloud.inventories(node.gpu()) == {}


def test_what_is_refused_again_and_again_is_given_up_for_now(
    node: Node,
) -> None:
    node.tell(_open(7))
    node.recorder.before(
        "PUT",
        f"{node.root}/traits$",
        lambda: node.cloud.set_inventories(node.root, {"VCPU": {"total": 9}}),
        times=100,
    )
    decide = functools.partial(
        desired.desired, picture=_missing(), rules=desired.Rules()
    )
    with pytest.raises(exception.PlacementConflict):
        node.synchronizer.sync(decide)
    refused = [e for e in node.recorder.exchanges if e.status == 409]
    assert 0 < len(refused) <= 8


def test_novas_write_to_the_root_does_not_undo_the_closing(
    node: Node,
) -> None:
    node.tell(_open(7))
    node.recorder.before(
        "PUT",
        f"{node.root}/traits$",
        lambda: node.cloud.set_inventories(node.root, {"VCPU": {"total": 9}}),
    )
    decide = functools.partial(
        desired.desired, picture=_missing(), rules=desired.Rules()
    )
    node.synchronizer.sync(decide)
    assert names.NODE_READY not in node.cloud.traits(node.root)
    assert set(node.cloud.inventories(node.root)) == {"VCPU"}


def test_the_gates_traits_exist_while_the_gate_is_closed(
    node: Node,
) -> None:
    # A flavor that names an unknown trait gives NoValidHost for ever.
    node.tell(_missing())
    known = client.Client(node.placement.adapter).known_traits(
        [names.READY, names.NODE_READY]
    )
    assert known == {names.READY, names.NODE_READY}


def test_a_standard_trait_that_placement_lacks_is_done_without(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    rules = desired.Rules(traits=frozenset({"HW_OF_TOMORROW"}))
    for _ in range(3):
        node.tell(_open(7), rules)
    assert [e.method for e in node.recorder.exchanges] == ["GET"]
    assert node.candidates() == 1
    assert "HW_OF_TOMORROW" not in node.cloud.traits(node.gpu())
    assert caplog.text.count("does not know HW_OF_TOMORROW") == 1


def test_a_standard_trait_that_placement_learns_is_set_in_a_while(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    rules = desired.Rules(traits=frozenset({"HW_OF_TOMORROW"}))
    node.tell(_open(7), rules)
    node.cloud.boot(_ONE)
    node.tell(_open(7), rules)
    assert caplog.text.count("does not know HW_OF_TOMORROW") == 1
    with placement_app.live_connection() as live:
        live.execute(
            "INSERT INTO traits (created_at, name)"
            " SELECT created_at, 'HW_OF_TOMORROW' FROM traits LIMIT 1"
        )
        live.commit()
    node.tell(_open(7), rules)
    assert [e.method for e in node.recorder.exchanges] == ["GET"]
    node.cloud.boot(_ONE)
    node.tell(_open(7), rules)
    assert "HW_OF_TOMORROW" in node.cloud.traits(node.gpu())


def test_a_trait_that_somebody_deleted_is_made_again(node: Node) -> None:
    node.tell(_missing())
    node.tell(_open(7))
    trait = names.blocked("INSTANCE_MISSING")
    node.placement.adapter.delete(f"/traits/{trait}")
    node.tell(_missing())
    assert trait in node.cloud.traits(node.gpu())
    assert [e.status for e in node.recorder.exchanges].count(400) == 1


def test_what_placement_takes_for_wrong_is_said_and_not_repeated(
    node: Node,
) -> None:
    rules = desired.Rules(classes={"1g.5gb": "CUSTOM_small"})
    with pytest.raises(exception.PlacementBadAnswer) as caught:
        node.tell(_open(7), rules)
    assert "create resource class CUSTOM_small" in str(caught.value)
    assert "does not match" in str(caught.value), "the server's own words"
    assert [e.status for e in node.recorder.exchanges].count(400) == 2
    node.tell(_open(7))
    assert node.candidates() == 1


def test_what_the_server_says_of_an_error_is_short_and_printable() -> None:
    detail = "\x1b[2J" + "x" * 9999
    action = plan.CreateTrait("CUSTOM_X")
    with faulty_server.FaultProxy() as proxy:
        proxy.add(faults.error(400, detail=detail))
        with pytest.raises(exception.PlacementBadAnswer) as caught:
            _client(proxy.url).do(action)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@contextlib.contextmanager
def _answering(value: object) -> Iterator[client.Client]:
    """A client whose every request is answered so."""
    with faulty_server.FaultProxy() as proxy:
        proxy.add(faults.json_answer(value))
        session = placement_app.admin_session(proxy.url)
        yield client.Client(placement_app.make_adapter(session, proxy.url))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("allocation_ratio", math.nan),
        ("allocation_ratio", math.inf),
        ("allocation_ratio", 10**40),
        ("allocation_ratio", "1.0"),
        ("total", 10**40),
        ("total", -1),
    ],
)
def test_a_number_that_placement_cannot_have_is_a_wrong_answer(
    field: str, value: object
) -> None:
    inventory = dataclasses.asdict(model.Inventory(total=7)) | {field: value}
    with (
        _answering({"inventories": {_CLASS: inventory}}) as asked,
        pytest.raises(exception.PlacementBadAnswer),
    ):
        asked.inventories("x")


@pytest.mark.parametrize(
    "name", ["", "CUSTOM_x", "A\nREADY=1", "\ud800", "X" * 256]
)
def test_a_class_is_named_as_placement_names_them(name: str) -> None:
    with _answering({"usages": {name: 1}, "traits": [name]}) as asked:
        for ask in (asked.usages, asked.traits):
            with pytest.raises(exception.PlacementBadAnswer):
                ask("x")


def test_a_name_taken_outside_of_the_tree_is_said(node: Node) -> None:
    other = node.cloud.create_root("other")
    node.cloud.create_child(other, _GPU)
    with pytest.raises(exception.PlacementConflict, match="name is taken"):
        node.tell(_open(7))


def test_a_provider_that_another_process_made_meanwhile_is_taken(
    node: Node,
) -> None:
    """Such as 'mig-placement sync' beside an agent."""
    node.recorder.before(
        "POST",
        "/resource_providers$",
        lambda: node.cloud.create_child(node.root, _GPU),
    )
    node.synchronizer.sync(_decide(_open(7)))
    assert node.candidates() == 1


def test_a_root_in_another_case_is_not_taken_for_ours() -> None:
    """MySQL finds it; nothing else that goes by its name would be found."""
    uuid = "11111111-2222-3333-4444-555555555555"
    root = {
        "uuid": uuid,
        "name": pictures.ROOT_NAME.upper(),
        "generation": 1,
        "parent_provider_uuid": None,
        "root_provider_uuid": uuid,
    }
    with _answering({"resource_providers": [root]}) as asked:
        with pytest.raises(exception.RootNotFound) as caught:
            asked.find_root(pictures.ROOT_NAME)
        assert pictures.ROOT_NAME.upper() in str(caught.value)
        assert asked.named(pictures.ROOT_NAME) is None
        assert asked.provider(uuid[::-1]) is None


class _Later:
    """A write that a proxy gave up, and that is applied in the end."""

    def __init__(self) -> None:
        self.due = threading.Event()
        self.done = threading.Event()
        self.status = 0

    def __call__(self, talk: faults.Talk) -> None:
        talk.send(faults.last(faults.html(504)))
        self.due.wait(20)
        self.status = talk.forward().status
        self.done.set()


def test_an_opening_write_that_comes_late_opens_nothing(
    placement_tcp: placement_app.TcpPlacement,
) -> None:
    """READY goes on before inventories do: to close takes it off, and the
    generation of the late write is an old one then."""
    cloud = placement_tcp.cloud
    cloud.create_root(pictures.ROOT_NAME)
    with faulty_server.FaultProxy(placement_tcp.url) as proxy:
        node = sync.Synchronizer(_client(proxy.url), pictures.ROOT_NAME)
        node.sync(_decide(_open(7)))
        node.sync(_decide(_missing(7)))
        late = _Later()
        proxy.add(late, method="PUT", path="/inventories$", times=1)
        with pytest.raises(exception.PlacementUnreachable):
            node.sync(_decide(_open(7)))
        node.sync(_decide(_missing(7)))
        late.due.set()
        assert late.done.wait(20)
    assert late.status == 409
    assert not cloud.candidates(_ONE)


def test_a_child_of_somebody_elses_is_left_alone(node: Node) -> None:
    foreign = node.cloud.create_child(
        node.root, f"{pictures.ROOT_NAME}_pci_0000_81_00_0"
    )
    node.cloud.set_inventories(foreign, {"VGPU": {"total": 4}})
    before = node.cloud.provider(foreign)
    node.tell(_open(7))
    node.tell(_missing())
    assert node.cloud.provider(foreign) == before


def test_a_dry_run_writes_nothing_and_tells_the_calls_of_the_sync(
    node: Node,
) -> None:
    decide = functools.partial(
        desired.desired, picture=_open(7, 7), rules=desired.Rules()
    )
    node.recorder.clear()
    planned = node.synchronizer.dry_run(decide).actions
    assert {e.method for e in node.recorder.exchanges} == {"GET"}
    done = node.fresh().sync(decide).actions
    assert [str(a) for a in planned] == [str(a) for a in done]


def test_an_unobserved_node_is_closed_from_what_placement_knows(
    node: Node,
) -> None:
    node.tell(_open(7))
    node.synchronizer = node.fresh()
    node.tell(pictures.unseen(verdict.Reason.HARDWARE_ERROR))
    assert node.cloud.candidates(_ONE) == []
    assert node.cloud.inventories(node.gpu())[_CLASS]["total"] == 7


def test_writes_carry_the_generation_that_was_decided_on(
    node: Node,
) -> None:
    outcome = node.tell(_open(7))
    generations = [
        (action.provider.uuid, action.provider.generation)
        for action in outcome.actions
        if isinstance(action, plan.PutTraits | plan.PutInventories)
    ]
    assert len(generations) == len(set(generations))


def test_wrong_credentials_are_said(node: Node) -> None:
    adapter = placement_app.make_adapter(
        node.placement.session_without_token(), node.placement.url
    )
    with pytest.raises(exception.PlacementUnauthorized) as caught:
        client.Client(adapter).find_root("x")
    assert caught.value.exit_status == exception.EXIT_NO_PLACEMENT


def test_a_role_that_may_not_is_said(node: Node) -> None:
    adapter = placement_app.make_adapter(
        node.placement.session_as("reader"), node.placement.url
    )
    with pytest.raises(exception.PlacementForbidden, match="service role"):
        client.Client(adapter).find_root("x")


def test_the_service_role_is_enough(node: Node) -> None:
    adapter = placement_app.make_adapter(
        node.placement.session_as("service"), node.placement.url
    )
    synchronizer = sync.Synchronizer(
        client.Client(adapter), pictures.ROOT_NAME
    )
    decide = functools.partial(
        desired.desired, picture=_open(7), rules=desired.Rules()
    )
    synchronizer.sync(decide)
    assert node.candidates() == 1


def test_a_root_with_an_empty_tree_is_looked_for_twice_and_no_more() -> None:
    root = {
        "uuid": "b4a0a1b2-0d5c-4cf1-9c3c-7a1c1f2f8b11",
        "name": pictures.ROOT_NAME,
        "generation": 0,
        "parent_provider_uuid": None,
    }
    with faulty_server.FaultProxy() as proxy:
        proxy.add(
            faults.json_answer({"resource_providers": [root]}), path="name="
        )
        proxy.add(faults.json_answer({"traits": []}), path="/traits$")
        proxy.add(
            faults.json_answer({"resource_providers": []}), path="in_tree="
        )
        with pytest.raises(exception.RootNotFound, match="has gone"):
            sync.Synchronizer(_client(proxy.url), pictures.ROOT_NAME).sync(
                lambda _: model.Desired(root_ready=False)
            )
        assert len(proxy.log.exchanges) <= 6


def test_a_step_back_of_the_wall_clock_holds_no_request_up(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    # keystoneauth's Adapter waits for the time at which it was made.
    class AnHourAgo:
        @staticmethod
        def time() -> float:
            return time.time() - 3600

        @staticmethod
        def sleep(seconds: float) -> None:
            raise AssertionError(f"it would wait for {seconds} s")

    monkeypatch.setattr("keystoneauth1._fair_semaphore.time", AnHourAgo)
    assert node.tell(_open(7)).actions
