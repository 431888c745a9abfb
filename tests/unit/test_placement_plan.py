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
"""The order of writes: nothing is ever offered that is not wanted."""

import dataclasses

import hypothesis
from hypothesis import strategies as st

from mig_placement.placement import model
from mig_placement.placement import names
from mig_placement.placement import plan

_ROOT_UUID = "6f2b0c5e-53a8-4e4e-8c3f-0d8f3f6f9a10"
_CLASSES = ("CUSTOM_MIG_1G_5GB", "CUSTOM_MIG_2G_10GB", "CUSTOM_MIG_7G_40GB")
_TRAITS = (
    names.OWNER,
    names.READY,
    names.blocked("HOLD"),
    names.blocked("OTHER_GPU"),
    "CUSTOM_MIG_PROFILE_1G_5GB",
    "CUSTOM_SOMEBODY_ELSES",
)
_NAMES = tuple(f"n_mig_0000_4{i}_00_0" for i in range(3))


@st.composite
def _inventory(draw: st.DrawFn) -> model.Inventory:
    total = draw(st.integers(1, 7))
    return model.Inventory(
        total=total,
        reserved=draw(st.integers(0, total)),
        max_unit=draw(st.integers(1, 7)),
    )


_inventories = st.dictionaries(st.sampled_from(_CLASSES), _inventory())
_traits = st.frozensets(st.sampled_from(_TRAITS))


def _providers(name: str) -> st.SearchStrategy[model.Provider]:
    return st.builds(
        model.Provider,
        uuid=st.just(names.provider_uuid(_ROOT_UUID, name)),
        name=st.just(name),
        generation=st.integers(0, 99),
        parent_uuid=st.just(_ROOT_UUID),
        inventories=_inventories,
        traits=_traits,
    )


@st.composite
def _trees(draw: st.DrawFn) -> model.Tree:
    root_traits = draw(
        st.frozensets(st.sampled_from(["HW_X", names.NODE_READY]))
    )
    known = draw(st.lists(st.sampled_from(_NAMES), unique=True))
    gpus = draw(st.tuples(*(_providers(name) for name in known)))
    return model.Tree(
        root=model.Provider(_ROOT_UUID, "n", 5, traits=root_traits),
        gpus=gpus,
        classes=frozenset(name for gpu in gpus for name in gpu.inventories),
        trait_names=draw(st.frozensets(st.sampled_from(_TRAITS))).union(
            *(gpu.traits for gpu in gpus)
        ),
    )


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[model.Tree, model.Desired]:
    tree = draw(_trees())
    more = draw(st.frozensets(st.sampled_from(_NAMES)))
    wanted = sorted({gpu.name for gpu in tree.gpus} | more)
    return tree, model.Desired(
        root_ready=draw(st.booleans()),
        gpus=tuple(
            model.DesiredProvider(name, draw(_inventories), draw(_traits))
            for name in wanted
        ),
    )


def _states(
    tree: model.Tree, desired: model.Desired
) -> list[tuple[plan.Action | None, model.Tree]]:
    states: list[tuple[plan.Action | None, model.Tree]] = [(None, tree)]
    for action in plan.plan(tree, desired):
        tree = action.applied(tree, 1000 + len(states))
        states.append((action, tree))
    return states


def _capacity(tree: model.Tree) -> dict[tuple[str, str], int]:
    return {
        (gpu.name, name): inventory.capacity
        for gpu in tree.gpus
        for name, inventory in gpu.inventories.items()
    }


def _wanted(desired: model.Desired) -> dict[tuple[str, str], int]:
    return {
        (gpu.name, name): inventory.capacity
        for gpu in desired.gpus
        for name, inventory in gpu.inventories.items()
    }


@hypothesis.given(_worlds())
def test_the_plan_ends_with_the_tree_as_desired(
    world: tuple[model.Tree, model.Desired],
) -> None:
    tree, desired = world
    end = _states(tree, desired)[-1][1]
    assert (names.NODE_READY in end.root.traits) is desired.root_ready
    assert {gpu.name: (gpu.inventories, gpu.traits) for gpu in end.gpus} == {
        gpu.name: (gpu.inventories, gpu.traits) for gpu in desired.gpus
    }
    assert plan.next_action(end, desired) is None


@hypothesis.given(_worlds())
def test_nothing_opens_before_everything_that_closes_is_closed(
    world: tuple[model.Tree, model.Desired],
) -> None:
    tree, desired = world
    wanted = _wanted(desired)
    before = _capacity(tree)
    for _, state in _states(tree, desired):
        now = _capacity(state)
        if any(now[key] > before.get(key, 0) for key in now):
            assert all(now[key] <= wanted.get(key, 0) for key in now)


@hypothesis.given(_worlds())
def test_no_write_raises_a_capacity_above_what_is_desired(
    world: tuple[model.Tree, model.Desired],
) -> None:
    tree, desired = world
    wanted, before = _wanted(desired), _capacity(tree)
    for _, state in _states(tree, desired):
        for key, capacity in _capacity(state).items():
            assert capacity <= max(wanted.get(key, 0), before.get(key, 0))


@hypothesis.given(_worlds())
def test_the_roots_trait_is_the_first_to_go_and_the_last_to_come(
    world: tuple[model.Tree, model.Desired],
) -> None:
    tree, desired = world
    actions = plan.plan(tree, desired)
    on_root = [
        index
        for index, action in enumerate(actions)
        if isinstance(action, plan.PutTraits)
        and action.provider.uuid == _ROOT_UUID
    ]
    if desired.root_ready:
        assert on_root in ([], [len(actions) - 1])
    else:
        assert on_root in ([], [0])


@hypothesis.given(_worlds())
def test_stages_never_go_back(
    world: tuple[model.Tree, model.Desired],
) -> None:
    stages = [action.stage for action in plan.plan(*world)]
    assert stages == sorted(stages)


@hypothesis.given(_worlds())
def test_no_trait_or_class_is_used_before_it_exists(
    world: tuple[model.Tree, model.Desired],
) -> None:
    tree, desired = world
    traits = set(tree.trait_names) | tree.root.traits
    classes = set(tree.classes)
    for action in plan.plan(tree, desired):
        if isinstance(action, plan.CreateTrait):
            traits.add(action.name)
        elif isinstance(action, plan.CreateClass):
            classes.add(action.name)
        elif isinstance(action, plan.PutTraits):
            assert action.traits <= traits
        elif isinstance(action, plan.PutInventories):
            assert set(action.inventories) <= classes


@hypothesis.given(_worlds())
def test_only_the_roots_own_trait_is_touched(
    world: tuple[model.Tree, model.Desired],
) -> None:
    tree, desired = world
    end = _states(tree, desired)[-1][1]
    assert end.root.traits - {names.NODE_READY} == (
        tree.root.traits - {names.NODE_READY}
    )


def test_closing_many_gpus_begins_with_one_write_to_the_root() -> None:
    inventories = {_CLASSES[0]: model.Inventory(7, max_unit=7)}
    tree = model.Tree(
        root=model.Provider(
            _ROOT_UUID, "n", 5, traits=frozenset({names.NODE_READY})
        ),
        gpus=tuple(
            model.Provider(
                name,
                name,
                1,
                inventories=inventories,
                traits=frozenset({names.OWNER, names.READY}),
            )
            for name in _NAMES
        ),
    )
    closed = {name: each.closed() for name, each in inventories.items()}
    desired = model.Desired(
        root_ready=False,
        gpus=tuple(
            model.DesiredProvider(
                name, closed, frozenset({names.OWNER, names.blocked("HOLD")})
            )
            for name in _NAMES
        ),
    )
    first, *rest = plan.plan(tree, desired)
    assert isinstance(first, plan.PutTraits)
    assert first.provider.uuid == _ROOT_UUID
    assert [type(action) for action in rest[:3]] == [plan.PutInventories] * 3


def test_a_standard_trait_is_never_made() -> None:
    tree = model.Tree(
        root=model.Provider(_ROOT_UUID, "n", 5),
        trait_names=frozenset({names.READY, names.NODE_READY}),
    )
    desired = model.Desired(
        root_ready=False,
        gpus=(model.DesiredProvider(_NAMES[0], {}, frozenset({"HW_X"})),),
    )
    assert not any(
        isinstance(action, plan.CreateTrait)
        for action in plan.plan(tree, desired)
    )


def test_a_trait_that_is_there_after_all_is_not_taken_away() -> None:
    traits = frozenset({"HW_X", "HW_Y"})
    tree = model.Tree(
        root=model.Provider(_ROOT_UUID, "n", 5),
        trait_names=frozenset({"HW_X"}),
        missing_traits=traits,
    )
    want = model.DesiredProvider(_NAMES[0], {}, traits)
    desired = model.Desired(root_ready=False, gpus=(want,))
    assert plan.attainable(tree, desired).gpus[0].traits == {"HW_X"}


def test_a_request_carries_the_generation_that_was_decided_on() -> None:
    provider = model.Provider("u", "n", 41)
    action = plan.PutInventories(
        plan.Stage.OPEN,
        provider,
        {_CLASSES[0]: model.Inventory(7, reserved=7, max_unit=7)},
    )
    request = action.request()
    assert request.method == "PUT"
    assert request.url == "/resource_providers/u/inventories"
    assert request.body is not None
    assert request.body["resource_provider_generation"] == 41
    assert request.body["inventories"][_CLASSES[0]] == {
        **dataclasses.asdict(model.Inventory(7, 7, max_unit=7))
    }
