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

"""The flavors that are made: keys, names, commands and changes."""

import dataclasses
import shlex

import pytest

from mig_placement import exception
from mig_placement.nova import flavor_check
from mig_placement.nova import flavors
from mig_placement.placement import names

SIZE = flavors.Size(4, 8192, 20)


def _one(
    profile: str = "1g.5gb", attach: str = "none", prefix: str = "mig."
) -> flavors.Flavor:
    (made,) = flavors.flavors([profile], attach, {}, SIZE, prefix)
    return made


@pytest.mark.parametrize(
    ("attach", "keys"),
    [
        ("none", {}),
        ("mdev", {"trait_MIG:CUSTOM_MIG_READY": "required"}),
        ("vfio", {"pci_passthrough:alias": "mig-1g-5gb:1"}),
    ],
)
def test_the_keys_are_the_designs(attach: str, keys: dict[str, str]) -> None:
    assert _one(attach=attach).extra_specs == {
        "resources_MIG:CUSTOM_MIG_1G_5GB": "1",
        "trait:CUSTOM_MIG_NODE_READY": "required",
        **keys,
    }


@pytest.mark.parametrize("attach", ["none", "mdev", "vfio"])
@pytest.mark.parametrize(
    "profile", ["1g.5gb", "1g.5gb+me", "1g.5gb-me", "1g.5gb+me.all", "7g.80gb"]
)
@pytest.mark.parametrize("overrides", [{}, {"1g.5gb+me": "CUSTOM_VIDEO"}])
def test_what_is_made_passes_the_check(
    attach: str, profile: str, overrides: dict[str, str]
) -> None:
    (made,) = flavors.flavors([profile], attach, overrides, SIZE, "mig.")
    known = flavor_check.Known(
        attach,
        overrides,
        classes=frozenset({names.class_name(profile, overrides)}),
        traits=frozenset(flavors.traits(attach)),
    )
    assert flavor_check.check(made.name, made.extra_specs, known) == ()


def test_each_profile_has_one_flavor_in_the_order_of_names() -> None:
    made = flavors.flavors(
        ["3g.20gb", "1c.3g.20gb", "3g.20gb"], "none", {}, SIZE, "gpu-"
    )
    assert [e.name for e in made] == ["gpu-1c.3g.20gb", "gpu-3g.20gb"]


@pytest.mark.parametrize(
    ("profiles", "attach", "overrides", "prefix", "said"),
    [
        (["1g5gb"], "none", {}, "mig.", "no MIG profile"),
        (["19"], "none", {}, "mig.", "no MIG profile"),
        (["$(reboot)"], "none", {}, "mig.", "no MIG profile"),
        (["1c.3g.20gb"], "mdev", {}, "mig.", "compute instance"),
        (["1c.3g.20gb"], "vfio", {}, "mig.", "compute instance"),
        (["1g.5gb"], "none", {}, "a\nb", "no name of a flavor"),
        (["1g.5gb"], "none", {}, " mig.", "no name of a flavor"),
        (["1g.5gb"], "none", {}, "x" * 250, "over 255"),
        (
            ["1g.5gb", "2g.10gb"],
            "none",
            {"2g.10gb": "CUSTOM_MIG_1G_5GB"},
            "mig.",
            "share the class",
        ),
    ],
)
def test_what_cannot_be_a_flavor_is_refused(
    profiles: list[str],
    attach: str,
    overrides: dict[str, str],
    prefix: str,
    said: str,
) -> None:
    with pytest.raises(exception.ConfigError, match=said):
        flavors.flavors(profiles, attach, overrides, SIZE, prefix)


def test_traits_are_made_before_a_flavor_names_them() -> None:
    lines = list(flavors.commands([_one(attach="mdev")], "mdev"))
    named = {word for line in lines[:2] for word in line.split()}
    assert {names.NODE_READY, names.READY} <= named
    assert all("trait create" in line for line in lines[:2])
    assert [line.split()[2] for line in lines[2:]] == ["create", "set"]


@pytest.mark.parametrize("name", ["a b", "a'b", "$(reboot)", "-x", "--", "ü"])
def test_a_shell_reads_a_name_as_one_word(name: str) -> None:
    flavor = dataclasses.replace(_one(), name=name)
    for line in (
        flavors.create_command(flavor),
        flavors.set_command(name, flavor.extra_specs),
    ):
        assert shlex.split(line)[-1] == name
        assert ("--" in shlex.split(line)[:-1]) == name.startswith("-")


def test_a_private_flavor_is_made_so() -> None:
    size = flavors.Size(1, 2, 3, public=False)
    flavor = dataclasses.replace(_one(), size=size)
    assert flavors.create_command(flavor) == (
        "openstack flavor create --vcpus 1 --ram 2 --disk 3 --private"
        " mig.1g.5gb"
    )


# What --create does to a flavor that exists.


def _found(**specs: str) -> flavors.Flavor:
    keys = {k.replace("__", ":"): v for k, v in specs.items()}
    made = _one()
    merged = {**made.extra_specs, **keys}
    return dataclasses.replace(made, id="7", extra_specs=merged)


def test_a_flavor_as_it_should_be_is_left_alone() -> None:
    change = flavors.change(_one(), _found())
    assert (change.create, dict(change.extra_specs)) == (False, {})
    assert change.remarks == ()


def test_a_flavor_that_is_not_there_is_created_with_all_keys() -> None:
    change = flavors.change(_one(), None)
    assert change.create
    assert change.extra_specs == _one().extra_specs


def test_only_the_keys_that_differ_are_set() -> None:
    change = flavors.change(_one(), _found(trait__CUSTOM_MIG_NODE_READY="no"))
    assert change.extra_specs == {flavors.NODE_READY: "required"}
    assert change.flavor.id == "7"
    assert change.remarks == ()


def test_keys_of_an_operator_are_no_difference() -> None:
    found = _found(
        hw__cpu_policy="dedicated",
        trait_MIG__CUSTOM_MIG_PRODUCT_A100="required",
    )
    change = flavors.change(_one(), found)
    assert (dict(change.extra_specs), change.remarks) == ({}, ())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resources_MIG__CUSTOM_OLD", "1"),
        ("pci_passthrough__alias", "mig-1g-5gb:1"),
    ],
)
def test_keys_that_ask_for_more_are_remarked(key: str, value: str) -> None:
    change = flavors.change(_one(), _found(**{key: value}))
    plain = f"{key.replace('__', ':')}={value}"
    assert change.remarks == (f"also asks for {plain}",)
    assert change.extra_specs == {}


@pytest.mark.parametrize(
    ("have", "want"),
    [
        ("", "mig-1g-5gb:1"),
        ("qat:1", "qat:1,mig-1g-5gb:1"),
        ("mig-2g-10gb:1", "mig-2g-10gb:1,mig-1g-5gb:1"),
        ("amig-1g-5gb:1", "amig-1g-5gb:1,mig-1g-5gb:1"),
    ],
)
def test_an_alias_is_set_beside_others(have: str, want: str) -> None:
    found = _found(pci_passthrough__alias=have)
    change = flavors.change(_one(attach="vfio"), found)
    assert change.extra_specs == {flavors.ALIAS: want}
    assert change.remarks == ()


@pytest.mark.parametrize(
    "have", ["mig-1g-5gb:1,qat:1", "qat:2, mig-1g-5gb:1", " mig-1g-5gb:1 "]
)
def test_an_alias_that_is_there_stays_as_it_is(have: str) -> None:
    found = _found(pci_passthrough__alias=have)
    change = flavors.change(_one(attach="vfio"), found)
    assert (dict(change.extra_specs), change.remarks) == ({}, ())


@pytest.mark.parametrize(
    ("have", "remark"),
    [
        ("mig-1g-5gb:2", "mig-1g-5gb:2"),
        ("qat:1,mig-1g-5gb:2", "mig-1g-5gb:2"),
        ("mig-1g-5gb", "mig-1g-5gb"),
        ("mig-1g-5gb:1,mig-1g-5gb:1", "mig-1g-5gb:1,mig-1g-5gb:1"),
    ],
)
def test_another_number_of_devices_is_remarked_and_not_changed(
    have: str, remark: str
) -> None:
    found = _found(pci_passthrough__alias=have)
    change = flavors.change(_one(attach="vfio"), found)
    assert change.extra_specs == {}
    assert change.remarks == (
        f"{flavors.ALIAS} is {remark}, not mig-1g-5gb:1",
    )


@pytest.mark.parametrize("attach", ["none", "mdev", "vfio"])
@pytest.mark.parametrize("have", ["2", "0", "some"])
def test_another_amount_is_remarked_and_not_changed(
    have: str, attach: str
) -> None:
    made = _one(attach=attach)
    key = "resources_MIG:CUSTOM_MIG_1G_5GB"
    specs = {**made.extra_specs, key: have}
    change = flavors.change(made, dataclasses.replace(made, extra_specs=specs))
    assert change.extra_specs == {}
    assert change.remarks == (f"{key} is {have}, not 1",)


@pytest.mark.parametrize("attach", ["none", "mdev", "vfio"])
@pytest.mark.parametrize("suffixes", [("",), ("_A",), ("_MIG1", "_MIG2")])
def test_what_asks_in_another_group_is_not_asked_for_twice(
    suffixes: tuple[str, ...], attach: str
) -> None:
    made = _one(attach=attach)
    ours = {"resources_MIG:CUSTOM_MIG_1G_5GB", flavors.ready()}
    there = {f"resources{each}:CUSTOM_MIG_1G_5GB": "1" for each in suffixes}
    specs = {k: v for k, v in made.extra_specs.items() if k not in ours}
    del specs[flavors.NODE_READY]
    found = dataclasses.replace(made, extra_specs={**specs, **there})
    change = flavors.change(made, found)
    assert change.extra_specs == {flavors.NODE_READY: "required"}
    assert change.remarks == tuple(
        f"asks for it as {key}=1" for key in sorted(there)
    )


def test_a_remark_is_fit_for_a_terminal() -> None:
    change = flavors.change(_one(), _found(resources_MIG__X="\x1b[2J"))
    assert change.remarks[0].isprintable()


@pytest.mark.parametrize(
    ("size", "remark"),
    [
        (dataclasses.replace(SIZE, vcpus=2), "vcpus is 2, not 4"),
        (dataclasses.replace(SIZE, ram=1), "ram is 1, not 8192"),
        (dataclasses.replace(SIZE, disk=0), "disk is 0, not 20"),
        (dataclasses.replace(SIZE, public=False), "public is False, not True"),
    ],
)
def test_another_size_is_remarked_and_not_changed(
    size: flavors.Size, remark: str
) -> None:
    found = dataclasses.replace(_found(), size=size)
    change = flavors.change(_one(), found)
    assert (change.create, change.remarks) == (False, (remark,))
