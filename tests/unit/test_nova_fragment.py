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
"""nova.conf fragments: what is printed is what is asked for, and nothing
that differs from it passes."""

import dataclasses
import pathlib
import tempfile

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement import exception
from mig_placement.hardware import model
from mig_placement.nova import check
from mig_placement.nova import config_files
from mig_placement.nova import needed
from mig_placement.nova import render
from tests.unit import vgpu
from tests.unit.data import models

_PARTS = st.sampled_from(
    [needed.BOTH, *(frozenset({each}) for each in needed.Part)]
)

# Files are written: that may take a while on a busy machine.
_UNHURRIED = hypothesis.settings(deadline=None)


@st.composite
def _configs(draw: st.DrawFn) -> needed.NovaConfig:
    """Of one to three GPUs of some model each, with some instances."""
    return draw(_pairs())[0]


@st.composite
def _pairs(
    draw: st.DrawFn,
) -> tuple[needed.NovaConfig, needed.NovaConfig]:
    """Of two layouts for one node, which may be the same."""
    attach = draw(st.sampled_from(["mdev", "vfio"]))
    some = draw(
        st.lists(st.sampled_from(models.NAMES), min_size=1, max_size=3)
    )
    node = models.node(
        *(
            vgpu.gpu(index, name, attach, sriov=draw(st.booleans()))
            for index, name in enumerate(some)
        )
    )
    known = sorted({p.name for each in node.gpus for p in each.profiles})
    named = draw(st.lists(st.sampled_from(known), unique=True, max_size=3))
    rules = vgpu.rules_of(
        attach,
        classes={each: f"CUSTOM_OF_{n}" for n, each in enumerate(named)},
    )
    kinds = 1 if attach == "vfio" else 7
    first, second = (
        vgpu.node_layout(*(draw(_profiles(name, kinds)) for name in some))
        for _ in range(2)
    )
    return needed.needed(node, first, rules), needed.needed(
        node, second, rules
    )


def _profiles(name: str, kinds: int) -> st.SearchStrategy[list[str]]:
    known = [each.name for each in models.profiles(name)]
    return st.lists(
        st.sampled_from(known), min_size=1, max_size=kinds, unique=True
    ).flatmap(lambda some: st.lists(st.sampled_from(some), max_size=7))


def _read(text: str) -> config_files.Found:
    with tempfile.TemporaryDirectory() as folder:
        return vgpu.read(pathlib.Path(folder), text)


@_UNHURRIED
@hypothesis.given(_configs(), _PARTS)
def test_what_is_printed_differs_in_nothing(
    config: needed.NovaConfig, parts: frozenset[needed.Part]
) -> None:
    found = _read(render.render(config, parts))
    assert check.check(config, found, parts) == ()


def _is_named(config: needed.NovaConfig, text: str) -> bool:
    """Whether a difference, or the one line of an error, tells of it."""
    try:
        return bool(check.check(config, _read(text)))
    except exception.ConfigError:
        return True


def _speaking(text: str) -> list[int]:
    lines = text.splitlines()
    return [n for n, line in enumerate(lines) if line and line[0] != "#"]


@_UNHURRIED
@hypothesis.given(_configs(), st.data())
def test_no_line_can_be_left_out(
    config: needed.NovaConfig, data: st.DataObject
) -> None:
    text = render.render(config)
    hypothesis.assume(not config.is_empty)
    lines = text.splitlines(keepends=True)
    del lines[data.draw(st.sampled_from(_speaking(text)))]
    assert _is_named(config, "".join(lines))


@_UNHURRIED
@hypothesis.given(_configs(), st.data())
def test_no_character_can_be_another(
    config: needed.NovaConfig, data: st.DataObject
) -> None:
    text = render.render(config)
    hypothesis.assume(not config.is_empty)
    lines = text.splitlines()
    at = data.draw(st.sampled_from(_speaking(text)))
    place = data.draw(st.integers(0, len(lines[at]) - 1))
    # No x: Nova reads the domain 0x00 as 0000.
    hypothesis.assume(lines[at][place].lower() != "z")
    lines[at] = f"{lines[at][:place]}z{lines[at][place + 1 :]}"
    assert _is_named(config, "\n".join(lines))


@_UNHURRIED
@hypothesis.given(_pairs())
def test_another_layouts_fragment_differs(
    pair: tuple[needed.NovaConfig, needed.NovaConfig],
) -> None:
    config, other = pair
    text = render.render(other)
    same = render.render(config) == text
    assert _is_named(config, text) != same


def test_there_are_as_many_addresses_as_instances() -> None:
    config = vgpu.config(["1g.5gb"] * 3 + ["2g.10gb"], ["1g.5gb"])
    by_profile = {each.profile: each for each in config.mdev_types}
    assert by_profile["1g.5gb"].addresses == (
        "0000:c1:00.4",
        "0000:c1:00.5",
        "0000:c1:00.6",
        "0000:c2:00.4",
    )
    assert by_profile["2g.10gb"].addresses == ("0000:c1:00.7",)


def test_the_fragment_of_mdev_is_novas() -> None:
    config = vgpu.config(["1g.5gb"] * 2, classes={"1g.5gb": "CUSTOM_SMALL"})
    (only,) = config.mdev_types
    text = render.render(config)
    assert text.startswith("# Made by mig-placement nova-config for layout")
    assert (
        f"[devices]\nenabled_mdev_types = {only.name}\n\n# 2x 1g.5gb\n"
        f"[mdev_{only.name}]\n"
        "device_addresses = 0000:c1:00.4,0000:c1:00.5\n"
        "mdev_class = CUSTOM_SMALL\n"
    ) in text


def test_the_fragment_of_vfio_is_novas() -> None:
    text = render.render(vgpu.config(["1g.5gb"] * 2, attach="vfio"))
    options = [line for line in text.splitlines() if not line.startswith("#")]
    assert options == [
        "",
        "[filter_scheduler]",
        "pci_in_placement = true",
        "",
        "[pci]",
        'alias = {"name": "mig-1g-5gb", "device_type": "type-VF",'
        ' "resource_class": "CUSTOM_VGPU_1G_5GB", "traits": "CUSTOM_MIG_VF"}',
        "report_in_placement = true",
        *(
            f'device_spec = {{"address": "{address}", "managed": "no",'
            ' "resource_class": "CUSTOM_VGPU_1G_5GB",'
            ' "traits": "CUSTOM_MIG_VF"}'
            for address in ("0000:c1:00.4", "0000:c1:00.5")
        ),
    ]


def test_the_schedulers_part_has_no_address() -> None:
    config = vgpu.config(["1g.5gb"], attach="vfio")
    text = render.render(config, frozenset({needed.Part.SCHEDULER}))
    assert "control plane" in text
    assert "pci_in_placement = true" in text
    assert "PciPassthroughFilter" in text
    assert "alias = " in text
    assert "0000:c1" not in text


def test_the_control_plane_needs_nothing_of_mdev() -> None:
    config = vgpu.config(["1g.5gb"])
    text = render.render(config, frozenset({needed.Part.SCHEDULER}))
    assert not _speaking(text)


@pytest.mark.parametrize("attach", ["none", "mdev", "vfio"])
def test_a_fragment_of_nothing_is_a_comment(attach: str) -> None:
    text = render.render(vgpu.config([], attach=attach))
    assert "Nothing is needed" in text
    assert not _speaking(text)


def test_functions_are_foretold_while_sriov_is_off() -> None:
    on = vgpu.gpu()
    off = vgpu.gpu(sriov=False)
    layout = vgpu.node_layout(["1g.5gb"] * 7)
    rules = vgpu.rules_of("mdev")
    nodes = [models.node(gpu) for gpu in (on, off)]
    first, second = (needed.needed(each, layout, rules) for each in nodes)
    assert render.render(first) == render.render(second)
    assert needed.untold(nodes[0], first) == ""
    assert "SR-IOV is off on GPU 0" in needed.untold(nodes[1], second)


# What cannot be had: one line, exit status 2.


def _refused(
    attach: str,
    *gpus: model.Gpu,
    profiles: tuple[str, ...] = ("1g.5gb",),
    vgpu_types: dict[str, str] | None = None,
    classes: dict[str, str] | None = None,
) -> exception.MigPlacementError:
    rules = vgpu.rules_of(attach, vgpu_types, classes)
    layout = vgpu.node_layout(profiles)
    with pytest.raises(exception.MigPlacementError) as raised:
        needed.needed(models.node(*gpus), layout, rules)
    assert "\n" not in str(raised.value)
    return raised.value


def test_mdev_without_an_mdev_bus_is_refused() -> None:
    error = _refused("mdev", vgpu.gpu(attach="vfio"))
    assert error.exit_status == exception.EXIT_USAGE
    assert "no mdev bus" in str(error)
    assert "[nova] attach = mdev" in str(error)


def test_vfio_without_a_variant_driver_is_refused() -> None:
    error = _refused("vfio", vgpu.gpu(attach="mdev"))
    assert error.exit_status == exception.EXIT_USAGE
    assert "no VFIO variant driver" in str(error)


def test_an_mdev_bus_without_the_type_is_refused() -> None:
    functions = tuple(
        vgpu.function(0, number, "mdev", frozenset({1})) for number in range(7)
    )
    sriov = model.Sriov(7, 4, 1, functions)
    error = _refused("mdev", dataclasses.replace(vgpu.gpu(), sriov=sriov))
    assert error.exit_status == exception.EXIT_USAGE
    assert "no mdev type nvidia-" in str(error)


def test_two_profiles_on_one_card_are_refused_for_vfio() -> None:
    error = _refused(
        "vfio", vgpu.gpu(attach="vfio"), profiles=("1g.5gb", "2g.10gb")
    )
    assert error.exit_status == exception.EXIT_USAGE
    assert "1g.5gb and 2g.10gb on one GPU" in str(error)
    assert "attach = mdev" in error.mend


@pytest.mark.parametrize("attach", ["mdev", "vfio"])
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"2g.10gb": "any"}, "is for 2g.10gb, and the layout"),
        ({"1g.5gb": "A100-9"}, "is none of the driver's"),
    ],
)
def test_a_type_that_no_profile_backs_is_refused(
    attach: str, override: dict[str, str], said: str
) -> None:
    error = _refused(attach, vgpu.gpu(attach=attach), vgpu_types=override)
    assert error.exit_status == exception.EXIT_USAGE
    assert said in str(error)
    assert "vgpu_types" in error.where


def test_a_gpu_that_does_not_answer_is_refused() -> None:
    error = _refused("mdev", vgpu.gpu(fault="GPU is lost"))
    assert error.exit_status == exception.EXIT_NO_NVML


def test_a_class_of_novas_cannot_be_a_profiles() -> None:
    error = _refused(
        "vfio",
        vgpu.gpu(attach="vfio"),
        classes={"1g.5gb": "CUSTOM_VGPU_1G_5GB"},
    )
    assert error.exit_status == exception.EXIT_USAGE
    assert "resource_classes" in error.where


def test_types_of_other_layouts_do_not_matter_without_attaching() -> None:
    config = vgpu.config(["1g.5gb"], attach="none", vgpu_types={"x": "y"})
    assert config.is_empty


def test_models_with_the_same_profile_have_sections_of_one_class() -> None:
    names = [
        name
        for name in models.NAMES
        if any(p.name == "1g.10gb" for p in models.profiles(name))
    ]
    gpus = [vgpu.gpu(index, name) for index, name in enumerate(names[:2])]
    layout = vgpu.node_layout(["1g.10gb"], ["1g.10gb"])
    rules = vgpu.rules_of("mdev")
    config = needed.needed(models.node(*gpus), layout, rules)
    assert len(config.mdev_types) == 2
    assert {e.resource_class for e in config.mdev_types} == {
        "CUSTOM_MIG_1G_10GB"
    }
