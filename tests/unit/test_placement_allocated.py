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
"""What of Placement's allocations instances stand for."""

from mig_placement.hardware import model as hardware
from mig_placement.placement import allocated
from mig_placement.placement import model
from mig_placement.placement import names
from tests.unit import pictures

_CLASS = "CUSTOM_MIG_1G_5GB"
_NAME = names.provider_name(pictures.ROOT_NAME, pictures.address(0))
_OPEN = {_CLASS: model.Inventory(7, max_unit=7)}


def _tree(
    inventories: model.Inventories, *traits: str, used: int = 0
) -> model.Tree:
    return model.Tree(
        root=model.Provider("root", pictures.ROOT_NAME, 1),
        gpus=(
            model.Provider(
                "u",
                _NAME,
                1,
                inventories=inventories,
                traits=frozenset(traits),
                used={_CLASS: used},
            ),
        ),
    )


def _node() -> hardware.Node:
    return _node_with("1g.5gb")


def _node_with(*profiles: str) -> hardware.Node:
    """One GPU that may have instances of these profiles."""
    known = tuple(
        hardware.Profile(each, 19, 0, 1, 4864, 14, 7, hardware.Engines(), ())
        for each in profiles
    )
    return hardware.Node("580", (pictures.gpu(0, 7, profiles=known),))


def test_what_is_offered_is_not_closed() -> None:
    assert not allocated.is_closed(_tree(_OPEN))


def test_what_is_ready_is_not_closed() -> None:
    assert not allocated.is_closed(_tree({}, names.READY))


def test_what_is_wholly_reserved_is_closed() -> None:
    reserved = {name: each.closed() for name, each in _OPEN.items()}
    assert allocated.is_closed(_tree(reserved))


def test_units_are_told_by_gpu_and_profile() -> None:
    found = allocated.by_profile(_tree(_OPEN, used=2), _node(), {})
    assert found == {(0, "1g.5gb"): (2, _CLASS)}


def test_a_class_that_was_some_profiles_may_have_been_any_ones() -> None:
    tree = _tree(_OPEN, used=2)
    found = allocated.by_profile(tree, _node(), {"1g.5gb": "CUSTOM_S"})
    assert found == {(0, "1g.5gb"): (2, _CLASS)}


def test_profiles_that_share_a_class_are_all_in_use() -> None:
    shared = dict.fromkeys(("1g.5gb", "1g.10gb", "2g.10gb"), _CLASS)
    node = _node_with(*shared)
    found = allocated.by_profile(_tree(_OPEN, used=2), node, shared)
    assert found == {(0, each): (2, _CLASS) for each in shared}


def test_what_nobody_uses_is_not_told() -> None:
    assert allocated.by_profile(_tree(_OPEN), _node(), {}) == {}
