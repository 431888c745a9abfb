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

"""Each way in which a flavor goes past the gate, or finds no host."""

import dataclasses

import pytest

from mig_placement.nova import flavor_check
from mig_placement.placement import names

CLASS = "CUSTOM_MIG_1G_5GB"
OTHER = "CUSTOM_SMALL"
KEY = {f"resources_MIG:{CLASS}": "1"}
GATE = {"trait:CUSTOM_MIG_NODE_READY": "required"}
MARK = {"trait_MIG:CUSTOM_MIG_READY": "required"}
ALIAS = {"pci_passthrough:alias": "mig-1g-5gb:1"}
TWO = {"resources_A:CUSTOM_MIG_1G_5GB": "1", "resources_B:CUSTOM_FPGA": "1"}
RIGHT = {
    "none": {**KEY, **GATE},
    "mdev": {**KEY, **GATE, **MARK},
    "vfio": {**KEY, **GATE, **ALIAS},
}

NONE = flavor_check.Known(
    "none",
    {"2g.10gb": OTHER},
    classes=frozenset({CLASS, OTHER}),
    traits=frozenset({names.NODE_READY, names.READY}),
)
KNOWN = {attach: dataclasses.replace(NONE, attach=attach) for attach in RIGHT}


def _problems(extra_specs: dict[str, str], attach: str) -> list[str]:
    found = flavor_check.check("f", extra_specs, KNOWN[attach])
    assert all(each.flavor == "f" for each in found)
    assert all(each.mend for each in found)
    return [each.problem for each in found]


@pytest.mark.parametrize("attach", RIGHT)
def test_a_complete_flavor_is_right(attach: str) -> None:
    assert _problems(RIGHT[attach], attach) == []


@pytest.mark.parametrize("attach", RIGHT)
@pytest.mark.parametrize(
    "extra_specs",
    [
        {},
        {"hw:cpu_policy": "dedicated"},
        {"resources:VCPU": "0"},
        {"resources_A:CUSTOM_FPGA": "1", "resources_B:CUSTOM_FPGA": "1"},
        {"pci_passthrough:alias": "a1:2,nic:1"},
        {"trait:CUSTOM_FAST": "required"},
        {f"resources_MIG:{CLASS}": "0"},
        {f"resources_MIG:{CLASS}": "some"},
        {f"resources_MIG:{CLASS}x": "1"},
        {f"Resources:{CLASS}": "1"},
    ],
)
def test_a_flavor_that_asks_for_none_of_ours_is_not_judged(
    extra_specs: dict[str, str], attach: str
) -> None:
    assert _problems(extra_specs, attach) == []


@pytest.mark.parametrize(
    ("attach", "extra_specs", "said"),
    [
        pytest.param("none", KEY, "closed gate", id="no gate"),
        pytest.param("mdev", {**KEY, **MARK}, "closed gate", id="mdev too"),
        pytest.param("vfio", {**KEY, **ALIAS}, "closed gate", id="vfio too"),
        pytest.param(
            "none",
            {**KEY, "trait:CUSTOM_MIG_NODE_READY": "forbidden"},
            "closed gate",
            id="the gate forbidden",
        ),
        pytest.param(
            "none",
            {**KEY, "trait_MIG:CUSTOM_MIG_NODE_READY": "required"},
            "closed gate",
            id="the gate in a group, where the root is not",
        ),
        pytest.param(
            "none",
            {f"resources:{CLASS}": "1"},
            "closed gate",
            id="a class outside of a group",
        ),
        pytest.param(
            "none",
            {f"resources_G:{OTHER}": "1"},
            "closed gate",
            id="a class that an operator named",
        ),
        pytest.param(
            "mdev", {**KEY, **GATE}, "not required of them", id="no mark"
        ),
        pytest.param(
            "mdev",
            {f"resources_A:{CLASS}": "1", **GATE, **MARK},
            "not required of them",
            id="the mark in another group",
        ),
        pytest.param(
            "mdev",
            {f"resources:{CLASS}": "1", **GATE}
            | {"trait:CUSTOM_MIG_READY": "required"},
            "outside of a group",
            id="class and mark outside of a group",
        ),
        pytest.param(
            "mdev",
            {f"resources_MIG:{CLASS}": "2", **GATE, **MARK},
            "2 units of CUSTOM_MIG_1G_5GB at once",
            id="two units of one function",
        ),
        pytest.param(
            "mdev",
            {**KEY, f"resources_MIG:{OTHER}": "1", **GATE, **MARK},
            "in the group _MIG, and no provider has both",
            id="two classes of one function",
        ),
        pytest.param(
            "vfio",
            {**KEY, f"resources_MIG:{OTHER}": "1", **GATE}
            | {"pci_passthrough:alias": "mig-1g-5gb:1,mig-2g-10gb:1"},
            "in the group _MIG, and no provider has both",
            id="two classes of one card",
        ),
        pytest.param(
            "vfio", {**KEY, **GATE}, "0 devices: the VM", id="no alias"
        ),
        pytest.param(
            "vfio",
            {f"resources_MIG:{CLASS}": "2", **GATE, **ALIAS},
            "2 units of CUSTOM_MIG_1G_5GB and attaches 1",
            id="too few devices",
        ),
        pytest.param(
            "vfio", {**ALIAS, **GATE}, "for 0 units", id="alias alone"
        ),
        pytest.param(
            "none", {**ALIAS, **GATE}, "for 0 units", id="in any mode"
        ),
        pytest.param(
            "none",
            {"pci_passthrough:alias": "mig-1g-5gb", **GATE},
            "attaches 1 devices",
            id="an alias without a count",
        ),
        pytest.param(
            "vfio",
            {**KEY, **GATE, "pci_passthrough:alias": "mig-1g-5gb:2"},
            "2 devices for 1 units",
            id="too many devices",
        ),
        pytest.param(
            "vfio",
            {**KEY, **GATE, "pci_passthrough:alias": "nic:1, mig-1g-5gb : 2"},
            "2 devices for 1 units",
            id="among other aliases",
        ),
        pytest.param(
            "none",
            {**TWO, **GATE},
            "groups _A, _B and no group_policy",
            id="no policy",
        ),
        pytest.param(
            "none",
            {**TWO, **GATE, "group_policy": "any"},
            "no group_policy",
            id="no such policy",
        ),
        pytest.param(
            "none",
            {"resources_MIG:CUSTOM_MIG_9G_5GB": "1", **GATE},
            "which no node has",
            id="a class that nobody has",
        ),
        pytest.param(
            "none",
            {**KEY, **GATE, "trait_MIG:CUSTOM_MIG_PRODUCT_A10": "required"},
            "Placement does not know",
            id="a trait that nobody made",
        ),
        pytest.param(
            "vfio", {"resources:VGPU": "1"}, "mdev's", id="VGPU on vfio"
        ),
    ],
)
def test_what_is_wrong_is_found_once(
    attach: str, extra_specs: dict[str, str], said: str
) -> None:
    (problem,) = _problems(extra_specs, attach)
    assert said in problem


def test_units_in_groups_of_their_own_are_right() -> None:
    crowded = {f"resources_MIG:{CLASS}": "2", **GATE, **MARK}
    (found,) = flavor_check.check("f", crowded, KNOWN["mdev"])
    groups = {}
    for number in "12":
        assert f"_MIG{number}" in found.mend
        groups[f"resources_MIG{number}:{CLASS}"] = "1"
        groups[f"trait_MIG{number}:{names.READY}"] = "required"
    groups["group_policy"] = "none"
    assert "group_policy=none" in found.mend
    assert _problems({**groups, **GATE}, "mdev") == []


@pytest.mark.parametrize("attach", ["none", "vfio"])
def test_a_provider_of_a_gpu_has_many_units(attach: str) -> None:
    specs = {**RIGHT[attach], f"resources_MIG:{CLASS}": "2"}
    if attach == "vfio":
        specs["pci_passthrough:alias"] = "mig-1g-5gb:2"
    assert _problems(specs, attach) == []


@pytest.mark.parametrize("policy", ["none", "isolate"])
def test_groups_with_a_policy_are_right(policy: str) -> None:
    specs = {**TWO, **GATE, "group_policy": policy}
    assert _problems(specs, "none") == []


def test_one_group_beside_what_is_outside_needs_no_policy() -> None:
    specs = {**KEY, **GATE, "resources:VCPU": "1"}
    assert _problems(specs, "none") == []


def test_an_alias_of_a_profile_that_nobody_has_is_told() -> None:
    specs = {"pci_passthrough:alias": "mig-9g-5gb:1", **GATE}
    _, unknown = _problems(specs, "vfio")
    assert "CUSTOM_MIG_9G_5GB, which no node has" in unknown


def test_a_group_of_traits_alone_needs_no_policy() -> None:
    specs = {**KEY, **GATE, "trait_X:CUSTOM_FAST": "required"}
    assert _problems(specs, "none") == []


@pytest.mark.parametrize("attach", ["none", "mdev"])
def test_vgpu_is_nobodys_business_but_vfios(attach: str) -> None:
    assert _problems({"resources:VGPU": "1"}, attach) == []


def test_an_alias_stands_for_the_class_that_an_operator_named() -> None:
    specs = {
        f"resources_MIG:{OTHER}": "1",
        "pci_passthrough:alias": "mig-2g-10gb:1",
        **GATE,
    }
    assert _problems(specs, "vfio") == []


def test_alias_and_class_of_two_profiles_are_both_wrong() -> None:
    specs = {**KEY, **GATE, "pci_passthrough:alias": "mig-2g-10gb:1"}
    past, lacking = _problems(specs, "vfio")
    assert "0 devices" in past
    assert "for 0 units of CUSTOM_SMALL" in lacking


def test_everything_wrong_is_told() -> None:
    specs = {**TWO, "trait:CUSTOM_MIG_X": "required"}
    known = dataclasses.replace(KNOWN["mdev"], classes=frozenset())
    assert len(flavor_check.check("f", specs, known)) == 5


@pytest.mark.parametrize(
    ("attach", "extra_specs", "mend"),
    [
        (
            "none",
            KEY,
            "openstack flavor set --property"
            " trait:CUSTOM_MIG_NODE_READY=required 'a b'",
        ),
        (
            "mdev",
            {f"resources_X:{CLASS}": "1", **GATE},
            "openstack flavor set --property"
            " trait_X:CUSTOM_MIG_READY=required 'a b'",
        ),
        (
            "vfio",
            {**ALIAS, **GATE},
            "openstack flavor set --property"
            " resources_MIG:CUSTOM_MIG_1G_5GB=1 'a b'",
        ),
        (
            "vfio",
            {f"resources:{CLASS}": "1", **GATE}
            | {"pci_passthrough:alias": "mig-1g-5gb:3"},
            "openstack flavor set --property"
            " resources:CUSTOM_MIG_1G_5GB=3 'a b'",
        ),
        (
            "none",
            {**TWO, **GATE},
            "openstack flavor set --property group_policy=none 'a b'",
        ),
    ],
)
def test_the_mend_is_a_command_that_mends(
    attach: str, extra_specs: dict[str, str], mend: str
) -> None:
    (found,) = flavor_check.check("a b", extra_specs, KNOWN[attach])
    assert found.mend == mend
    key, value = mend.split("--property ")[1].split(" ")[0].split("=")
    assert _problems({**extra_specs, key: value}, attach) == []


@pytest.mark.parametrize("attach", RIGHT)
@pytest.mark.parametrize(
    "hostile",
    ["", "9" * 10_000, "-1", "1e9", "٣", "²", "\x00", ":,:,", "a" * 10_000],
)
def test_hostile_values_are_judged_and_do_no_harm(
    hostile: str, attach: str
) -> None:
    specs = {
        f"resources_MIG:{CLASS}": hostile,
        "pci_passthrough:alias": f"mig-1g-5gb:{hostile},{hostile}",
        "trait:CUSTOM_MIG_NODE_READY": hostile,
        "group_policy": hostile,
        hostile: hostile,
    }
    assert _problems(specs, attach)
