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
"""What nova.conf may have wrong, each fault by its name."""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from mig_placement import exception
from mig_placement.nova import check
from mig_placement.nova import config_files
from mig_placement.nova import device_spec
from mig_placement.nova import needed
from mig_placement.nova import render
from tests.unit import vgpu

SMALL = "CUSTOM_MIG_1G_5GB"
_COMPUTE = frozenset({needed.Part.COMPUTE})
_SCHEDULER = frozenset({needed.Part.SCHEDULER})

MDEV = vgpu.config(["1g.5gb"] * 2 + ["2g.10gb"])
VFIO = vgpu.config(["1g.5gb"] * 2, attach="vfio")
NONE = vgpu.config(["1g.5gb"] * 2, attach="none")
# Of 1g.5gb and 2g.10gb.
ONE, TWO = (each.name for each in MDEV.mdev_types)
SPEC = {
    "managed": "no",
    "resource_class": "CUSTOM_VGPU_1G_5GB",
    "traits": "CUSTOM_MIG_VF",
}


def _differences(
    tmp_path: pathlib.Path, config: needed.NovaConfig, *texts: str
) -> tuple[check.Difference, ...]:
    return check.check(config, vgpu.read(tmp_path, *texts))


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, text
    return text.replace(old, new)


def _without(text: str, start: str) -> str:
    lines = text.splitlines()
    left = [line for line in lines if not line.startswith(start)]
    assert len(left) < len(lines)
    return "\n".join(left)


# Mediated devices.


@pytest.mark.parametrize(
    ("old", "new", "option", "said"),
    [
        (
            f"enabled_mdev_types = {ONE},{TWO}",
            f"enabled_mdev_types = {ONE}",
            "enabled_mdev_types",
            f"{TWO} (2g.10gb) not enabled",
        ),
        (
            f"[mdev_{TWO}]",
            "[mdev_other]",
            "device_addresses",
            f"{TWO} is enabled without a section",
        ),
        (
            "device_addresses = 0000:c1:00.6\n",
            "",
            "device_addresses",
            "mdev_class counts for device_addresses alone",
        ),
        (
            "0000:c1:00.4,0000:c1:00.5",
            "0000:c1:00.4",
            "device_addresses",
            "0000:c1:00.5 is missing",
        ),
        (
            "c1:00.4,0000:c1:00.5",
            "c1:00.4,0000:c1:00.5,0000:c1:00.7",
            "device_addresses",
            "0000:c1:00.7 is more than the 2 instances",
        ),
        (
            "c1:00.4,0000:c1:00.5",
            "c1:00.4,0000:c1:00.5,0000:99:00.4",
            "device_addresses",
            "0000:99:00.4 is no function of a GPU",
        ),
        (
            "c1:00.4,0000:c1:00.5",
            "c1:00.4,0000:c1:00.5,0000:c1:00.6",
            "device_addresses",
            f"0000:c1:00.6 is for {TWO} (2g.10gb)",
        ),
        (
            "0000:c1:00.4,",
            "00000000:c1:00.4,",
            "device_addresses",
            "Nova compares the text: 00000000:c1:00.4 is never 0000:c1:00.4",
        ),
        (
            f"mdev_class = {SMALL}",
            "mdev_class = CUSTOM_OTHER",
            "mdev_class",
            "not the class of 1g.5gb",
        ),
        (
            f"mdev_class = {SMALL}\n",
            "",
            "mdev_class",
            "not the class of 1g.5gb",
        ),
        (
            f"mdev_class = {SMALL}",
            f"mdev_class = {SMALL}\nmax_instances = 1",
            "max_instances",
            "Nova offers no more than that",
        ),
    ],
)
def test_a_fault_of_an_mdev_type_is_named(
    old: str, new: str, option: str, said: str, tmp_path: pathlib.Path
) -> None:
    text = _replaced(render.render(MDEV), old, new)
    found = _differences(tmp_path, MDEV, text)
    assert any(e.option == option and said in e.why for e in found), found


def test_a_type_enabled_twice_is_named(tmp_path: pathlib.Path) -> None:
    text = _replaced(render.render(MDEV), f"{ONE},{TWO}", f"{ONE},{TWO},{ONE}")
    (found,) = _differences(tmp_path, MDEV, text)
    assert (found.section, found.option) == ("devices", "enabled_mdev_types")
    assert found.need == f"{ONE} once"
    assert "refuses to start" in found.why


def test_an_address_of_two_types_is_named(tmp_path: pathlib.Path) -> None:
    text = _replaced(
        render.render(MDEV), "= 0000:c1:00.6", "= 0000:c1:00.6,0000:c1:00.5"
    )
    found = _differences(tmp_path, MDEV, text)
    assert any("nova-compute refuses to start" in each.why for each in found)


@pytest.mark.parametrize(
    ("section", "option", "said"),
    [
        (
            "device_addresses = 0000:99:00.0\nmdev_class = " + SMALL,
            "mdev_class",
            "a class of mig_placement's own",
        ),
        (
            "device_addresses = 0000:c1:01.0",
            "device_addresses",
            "these are functions of its GPUs",
        ),
        (
            "mdev_class = CUSTOM_OTHER",
            "device_addresses",
            "the type of every function that no other names",
        ),
    ],
)
def test_a_type_that_no_profile_has_may_not_touch_ours(
    section: str, option: str, said: str, tmp_path: pathlib.Path
) -> None:
    text = _replaced(render.render(MDEV), f"{ONE},{TWO}", f"{ONE},{TWO},i915")
    text += f"\n[mdev_i915]\n{section}\n"
    (found,) = _differences(tmp_path, MDEV, text)
    assert (found.section, found.option) == ("mdev_i915", option)
    assert said in found.why


def test_devices_of_others_are_no_difference(tmp_path: pathlib.Path) -> None:
    mdev = _replaced(render.render(MDEV), f"{ONE},{TWO}", f"{ONE},{TWO},i915")
    mdev += (
        "\n[mdev_i915]\ndevice_addresses = 0000:99:00.0\n"
        "mdev_class = CUSTOM_OTHER\n"
        '[pci]\ndevice_spec = {"address": "0000:98:00.0"}\n'
    )
    assert _differences(tmp_path, MDEV, mdev) == ()
    vfio = render.render(VFIO) + (
        'device_spec = [{"address": "0000:98:00.*"}, {"vendor_id": "8086"}]\n'
        'device_spec = {"address": "*:98:*.*", "physical_network": "net"}\n'
        'alias = {"name": "nic", "vendor_id": "8086", "product_id": "1520"}\n'
    )
    assert _differences(tmp_path, VFIO, vfio) == ()


# Legal until report_in_placement and pci_in_placement are on.
_DEVNAME = '{"devname": "eth0", "physical_network": "net"}'
_ALIASES = "".join(
    f'alias = {{"name": "nic", "vendor_id": "8086", "product_id": "{each}"}}\n'
    for each in ("1520", "1521")
)


def test_an_interface_by_its_name_stops_nova_and_is_named(
    tmp_path: pathlib.Path,
) -> None:
    text = render.render(VFIO) + f"device_spec = {_DEVNAME}\n"
    (found,) = _differences(tmp_path, VFIO, text)
    assert (found.option, found.have) == ("device_spec", _DEVNAME)
    assert "does not start" in found.why
    control = check.check(VFIO, vgpu.read(tmp_path, text), _SCHEDULER)
    assert control == ()


@pytest.mark.parametrize("parts", [needed.BOTH, _COMPUTE, _SCHEDULER])
def test_an_alias_of_others_given_twice_stops_nova_and_is_named(
    parts: frozenset[needed.Part], tmp_path: pathlib.Path
) -> None:
    text = render.render(VFIO, parts) + _ALIASES
    (found,) = check.check(VFIO, vgpu.read(tmp_path, text), parts)
    assert "nic once" in found.need
    assert "do not start" in found.why


@pytest.mark.parametrize("config", [NONE, MDEV], ids=["none", "mdev"])
def test_without_functions_both_are_legal(
    config: needed.NovaConfig, tmp_path: pathlib.Path
) -> None:
    text = render.render(config)
    text += f"\n[pci]\ndevice_spec = {_DEVNAME}\n{_ALIASES}"
    assert _differences(tmp_path, config, text) == ()


def test_a_function_with_an_mdev_is_not_passed_through(
    tmp_path: pathlib.Path,
) -> None:
    text = render.render(MDEV)
    text += '\n[pci]\ndevice_spec = {"address": "0000:c1:00.5"}\n'
    (found,) = _differences(tmp_path, MDEV, text)
    assert "functions that carry mdevs" in found.why


# Functions passed through.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"managed": None}, "would take 0000:c1:00.4, 0000:c1:00.5"),
        ({"managed": "yes"}, "would take"),
        ({"traits": None}, "asks for the trait"),
        ({"traits": "CUSTOM_MIG_VFS"}, "asks for the trait"),
        ({"resource_class": None}, "not the class that the alias"),
        ({"resource_class": SMALL}, "a class of mig_placement's own"),
        ({"resource_class": "mig_2g_10gb"}, "a class of mig_placement's own"),
        ({"physical_network": "net"}, "out of Placement"),
        ({"one_time_use": "yes"}, "nova-compute does not start"),
        ({"one_time_use": "false"}, "nova-compute does not start"),
        ({"address": "0000:c1:00.4"}, "nothing covers 0000:c1:00.5"),
        ({"vendor_id": "8086"}, "nothing covers 0000:c1:00.4"),
    ],
)
def test_a_fault_of_a_device_spec_is_named(
    changes: dict[str, str | None], said: str, tmp_path: pathlib.Path
) -> None:
    both = {"domain": "0000", "bus": "c1", "slot": "00", "function": "[45]"}
    values = {"address": both, **SPEC, **changes}
    spec = json.dumps({k: v for k, v in values.items() if v is not None})
    text = _without(render.render(VFIO), "device_spec")
    text += f"\ndevice_spec = {spec}\n"
    found = _differences(tmp_path, VFIO, text)
    assert any(said in each.why for each in found), found


@pytest.mark.parametrize(
    "specs",
    [
        # As one object, as a list, by patterns, with other words for no,
        # with NVIDIA's ids, and with a second one that comes too late.
        [{"address": {"bus": "c1", "slot": "00", "function": "[45]"}, **SPEC}],
        [
            [
                {"address": "0000:c1:00.4", **SPEC},
                {"address": "0:c1:0.5", **SPEC},
            ],
        ],
        [{"address": ":c1:00.4", **SPEC}, {"address": "c1:00.5", **SPEC}],
        [
            {"address": "0000:c1:00.4", **SPEC, "managed": "False"},
            {"address": "0000:c1:00.5", **SPEC, "managed": "0"},
        ],
        [
            {
                "address": "*:c1:00.4",
                **SPEC,
                "traits": "MIG-VF",
                "resource_class": "vgpu 1g-5gb",
            },
            {"address": "*:c1:00.5", **SPEC, "vendor_id": "10de"},
        ],
        [
            {"address": "0000:c1:00.4", **SPEC},
            {"address": "0000:c1:00.5", **SPEC},
            {"address": "0000:c1:00.5", "managed": "yes"},
        ],
    ],
)
def test_a_device_spec_that_means_the_same_is_no_difference(
    specs: list[object], tmp_path: pathlib.Path
) -> None:
    text = _without(render.render(VFIO), "device_spec")
    text += "\n" + "".join(f"device_spec = {json.dumps(s)}\n" for s in specs)
    assert _differences(tmp_path, VFIO, text) == ()


@pytest.mark.parametrize(
    "address", ["0000:c1:00.*", "0000:c1:00.0", "*:c1:*.*"]
)
def test_a_spec_of_more_functions_names_them_and_the_gpu(
    address: str, tmp_path: pathlib.Path
) -> None:
    text = _without(render.render(VFIO), "device_spec")
    text += "\ndevice_spec = " + json.dumps({"address": address, **SPEC})
    surplus, whole = _differences(tmp_path, VFIO, text)
    assert "0000:c1:00.6" in surplus.need
    assert "0000:c1:00.5" not in surplus.need
    assert "without an instance" in surplus.why
    assert whole.need == "without 0000:c1:00.0"
    assert "refuses to start" in whole.why


def test_the_first_spec_of_a_function_counts(tmp_path: pathlib.Path) -> None:
    first = json.dumps({"address": "0000:c1:00.5"})
    text = render.render(VFIO).replace(
        "[pci]", f"[pci]\ndevice_spec = {first}"
    )
    found = _differences(tmp_path, VFIO, text)
    assert ('"managed": "no"', first) in {(e.need, e.have) for e in found}
    assert not any("0000:c1:00.4" in each.why for each in found)


def test_functions_of_one_gpu_have_the_same_traits(
    tmp_path: pathlib.Path,
) -> None:
    text = _replaced(
        render.render(VFIO),
        'c1:00.4", "managed": "no", "resource_class": "CUSTOM_VGPU_1G_5GB",'
        ' "traits": "CUSTOM_MIG_VF"',
        'c1:00.4", "managed": "no", "resource_class": "CUSTOM_VGPU_1G_5GB",'
        ' "traits": "CUSTOM_MIG_VF,CUSTOM_FAST"',
    )
    (found,) = _differences(tmp_path, VFIO, text)
    assert "they differ on one GPU" in found.why


def _migratable(of_alias: str | None, of_spec: str | None) -> str:
    """The fragment with live_migratable in its alias and device_specs."""
    text = render.render(VFIO)
    for option, value in (("alias", of_alias), ("device_spec", of_spec)):
        if value is not None:
            start = f"{option} = {{"
            added = f'"live_migratable": "{value}", '
            text = text.replace(start, start + added)
    return text


@pytest.mark.parametrize(
    ("of_alias", "of_spec"),
    [("true", None), ("yes", "no"), ("no", None), ("false", "true")],
)
def test_an_alias_that_nova_gives_no_device_is_named(
    of_alias: str, of_spec: str | None, tmp_path: pathlib.Path
) -> None:
    text = _migratable(of_alias, of_spec)
    found = _differences(tmp_path, VFIO, text)
    assert {each.option for each in found} == {"device_spec"}
    assert all("asks for it" in each.why for each in found)
    assert len(found) == len(VFIO.functions)


@pytest.mark.parametrize(
    ("of_alias", "of_spec"),
    [(None, "yes"), (None, "no"), ("true", "yes"), ("no", "0")],
)
def test_an_alias_that_says_what_the_functions_do_is_no_difference(
    of_alias: str | None, of_spec: str, tmp_path: pathlib.Path
) -> None:
    text = _migratable(of_alias, of_spec)
    assert _differences(tmp_path, VFIO, text) == ()


def test_functions_that_cannot_move_may_say_so_or_not(
    tmp_path: pathlib.Path,
) -> None:
    text = render.render(VFIO)
    text = _replaced(text, 'c1:00.4",', 'c1:00.4", "live_migratable": "no",')
    assert _differences(tmp_path, VFIO, text) == ()


@pytest.mark.parametrize(
    ("option", "section"),
    [
        ("report_in_placement", "pci"),
        ("pci_in_placement", "filter_scheduler"),
    ],
)
@pytest.mark.parametrize("value", ["", "= false"])
def test_placement_left_out_is_named(
    option: str, section: str, value: str, tmp_path: pathlib.Path
) -> None:
    new = f"{option} {value}\n" if value else ""
    text = _replaced(render.render(VFIO), f"{option} = true\n", new)
    (found,) = _differences(tmp_path, VFIO, text)
    assert (found.section, found.option) == (section, option)
    assert found.need == "true"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mig-1g-5gb", "mig-other", "missing"),
        ("type-VF", "type-PF", "device_type"),
        ('"device_type": "type-VF", ', "", "device_type"),
        ("CUSTOM_VGPU_1G_5GB", "CUSTOM_VGPU_OTHER", "resource_class"),
        ("CUSTOM_VGPU_1G_5GB", SMALL, "a class of mig_placement's own"),
        ("CUSTOM_MIG_VF", "CUSTOM_MIG_VF,CUSTOM_B", "traits"),
        (', "traits": "CUSTOM_MIG_VF"', "", "traits"),
        ("type-VF", 'type-VF", "vendor_id": "8086', "vendor_id"),
    ],
)
def test_a_fault_of_an_alias_is_named(
    old: str, new: str, said: str, tmp_path: pathlib.Path
) -> None:
    text = render.render(VFIO, _SCHEDULER)
    text = _replaced(text, old, new)
    found = vgpu.read(tmp_path, text)
    different = check.check(VFIO, found, _SCHEDULER)
    assert any(e.option == "alias" and said in e.why for e in different)


def _filtering(*filters: str) -> str:
    option = "pci_in_placement = true"
    enabled = f"{option}\nenabled_filters = {', '.join(filters)}"
    return _replaced(render.render(VFIO), option, enabled)


@pytest.mark.parametrize("filters", [["ComputeFilter", "MyFilter"], []])
def test_a_list_without_novas_pci_filter_is_named(
    filters: list[str], tmp_path: pathlib.Path
) -> None:
    read = vgpu.read(tmp_path, _filtering(*filters))
    for parts in (needed.BOTH, _SCHEDULER):
        (found,) = check.check(VFIO, read, parts)
        assert found.option == "enabled_filters"
        assert found.need == ",".join([*filters, "PciPassthroughFilter"])
    assert check.check(VFIO, read, _COMPUTE) == ()
    assert check.check(NONE, read, _SCHEDULER) == ()


def test_a_list_with_novas_pci_filter_is_no_difference(
    tmp_path: pathlib.Path,
) -> None:
    text = _filtering("PciPassthroughFilter", "ComputeFilter")
    assert _differences(tmp_path, VFIO, text) == ()


def test_an_alias_given_in_two_files_is_named(tmp_path: pathlib.Path) -> None:
    texts = [render.render(VFIO), render.render(VFIO, _SCHEDULER)]
    (found,) = _differences(tmp_path, VFIO, *texts)
    assert "given more than once" in found.why


def test_a_part_is_asked_for_its_own_options_alone(
    tmp_path: pathlib.Path,
) -> None:
    found = vgpu.read(tmp_path, render.render(VFIO, _SCHEDULER))
    assert check.check(VFIO, found, _SCHEDULER) == ()
    missing = {each.option for each in check.check(VFIO, found, _COMPUTE)}
    assert missing == {"report_in_placement", "device_spec"}


# Classes of ours, whatever the mode.


@pytest.mark.parametrize("config", [NONE, VFIO], ids=["none", "vfio"])
def test_an_mdev_class_of_ours_is_shared(
    config: needed.NovaConfig, tmp_path: pathlib.Path
) -> None:
    text = render.render(config) + (
        "[devices]\nenabled_mdev_types = nvidia-1\n[mdev_nvidia-1]\n"
        "device_addresses = 0000:99:00.4\nmdev_class = CUSTOM_MIG_7G_40GB\n"
    )
    (found,) = _differences(tmp_path, config, text)
    assert (found.section, found.option) == ("mdev_nvidia-1", "mdev_class")
    assert "a class of mig_placement's own" in found.why


@pytest.mark.parametrize(
    "config", [NONE, MDEV, VFIO], ids=lambda one: one.attach
)
def test_a_device_spec_or_alias_with_a_class_of_ours_is_shared(
    config: needed.NovaConfig, tmp_path: pathlib.Path
) -> None:
    spec = {"address": "0000:99:00.4", "resource_class": "mig_3g_20gb"}
    alias = {"name": "x", "resource_class": "CUSTOM_MIG_3G_20GB"}
    text = render.render(config) + (
        f"\n[pci]\ndevice_spec = {json.dumps(spec)}\n"
        f"alias = {json.dumps(alias)}\n"
    )
    found = _differences(tmp_path, config, text)
    assert {each.option for each in found} == {"device_spec", "alias"}
    assert all("of mig_placement's own" in each.why for each in found)


def test_a_foreign_nova_conf_is_no_difference_without_attaching(
    tmp_path: pathlib.Path,
) -> None:
    text = (
        "[DEFAULT]\nmy_ip = 10.0.0.1\nlog_dir = $state_path/log\n"
        "[devices]\nenabled_mdev_types = nvidia-1\n"
        '[pci]\ndevice_spec = {"address": "*:*:*.*"}\n'
    )
    assert _differences(tmp_path, NONE, text) == ()


# Files as Nova reads them.


def test_later_files_count_and_lists_of_pci_grow(
    tmp_path: pathlib.Path,
) -> None:
    text = render.render(VFIO)
    first = _without(text, "device_spec").replace("= true", "= false")
    second = "[pci]\nreport_in_placement = true\n" + "\n".join(
        line for line in text.splitlines() if line.startswith("device_spec")
    )
    third = "[filter_scheduler]\npci_in_placement = true\n"
    assert _differences(tmp_path, VFIO, first, second, third) == ()
    assert _differences(tmp_path, VFIO, third, second, first) != ()


def test_a_directory_is_read_as_a_config_dir(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "nova.conf.d"
    folder.mkdir()
    lines = render.render(MDEV)
    (folder / "20-mig.conf").write_text(lines)
    (folder / "10-other.conf").write_text(
        "[devices]\nenabled_mdev_types = nvidia-1\n"
    )
    main = tmp_path / "nova.conf"
    main.write_text("[DEFAULT]\n")
    found = config_files.read([str(main), str(folder)])
    assert check.check(MDEV, found) == ()


def test_former_names_of_options_count(tmp_path: pathlib.Path) -> None:
    text = render.render(MDEV)
    text = text.replace("enabled_mdev_types", "enabled_vgpu_types")
    text = text.replace(f"[mdev_{ONE}]", f"[vgpu_{ONE}]")
    found = _differences(tmp_path, MDEV, text)
    # Nova knows no former name of mdev_class.
    assert {each.option for each in found} == {"mdev_class"}
    text = render.render(VFIO).replace("device_spec", "passthrough_whitelist")
    assert _differences(tmp_path, VFIO, text) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pci\n", "nova-0.conf"),
        ("no section\n", "nova-0.conf"),
        ("[pci]\nreport_in_placement = perhaps\n", "perhaps"),
        ("[pci]\ndevice_spec = {'address': 'x'}\n", "no JSON"),
        ("[pci]\ndevice_spec = 7\n", "no JSON object"),
        ('[pci]\ndevice_spec = ["a"]\n', "no JSON object"),
        ('[pci]\ndevice_spec = {"address": "zz:00.0"}\n', "hexadecimal"),
        ('[pci]\ndevice_spec = {"address": "0:0:0:0.0"}\n', "no PCI address"),
        ('[pci]\ndevice_spec = {"address": "0:0:20.0"}\n', "more than 1f"),
        ('[pci]\ndevice_spec = {"address": {"bus": "("}}\n', "("),
        ('[pci]\ndevice_spec = {"address": 7}\n', "no JSON object"),
        ('[pci]\ndevice_spec = {"traits": ["A"]}\n', "traits"),
        ("[pci]\nalias = nothing\n", "[pci] alias"),
        ("[pci]\nalias = [1]\n", "no JSON object"),
        ('[pci]\ndevice_spec = {"managed": "perhaps"}\n', "neither yes nor"),
        ('[pci]\ndevice_spec = {"live_migratable": ""}\n', "neither yes nor"),
        ('[pci]\nalias = {"vendor_id": "10de"}\n', "no name"),
        ('[pci]\nalias = {"name": ""}\n', "name cannot be"),
        ('[pci]\nalias = {"name": 7}\n', "name cannot be 7"),
        *(
            (f'[pci]\nalias = {{"name": "a", "{key}": "{value}"}}\n', said)
            for key, value, said in (
                ("managed", "no", "an alias has no 'managed'"),
                ("vendor_id", "*", "vendor_id cannot be"),
                ("product_id", "1", "product_id cannot be"),
                ("device_type", "vdpa", "device_type cannot be"),
                ("numa_policy", "any", "numa_policy cannot be"),
                ("live_migratable", "maybe", "neither yes nor"),
            )
        ),
    ],
)
def test_a_nova_conf_that_cannot_be_parsed_is_one_line(
    text: str, said: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(exception.ConfigError) as raised:
        vgpu.read(tmp_path, text)
    assert raised.value.exit_status == exception.EXIT_USAGE
    assert said in str(raised.value)
    assert "nova-0.conf" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(exception.ConfigError, match="/nonexistent/nova"):
        config_files.read(["/nonexistent/nova.conf"])


_NOBODY = 65534


@contextlib.contextmanager
def _shut(mode: int) -> Iterator[pathlib.Path]:
    """A directory with a file in it, and a user whom its mode counts for."""
    with tempfile.TemporaryDirectory() as name:
        pathlib.Path(name).chmod(0o755)
        folder = pathlib.Path(name, "nova.conf.d")
        folder.mkdir()
        (folder / "mig.conf").write_text("[DEFAULT]\n")
        folder.chmod(mode)
        user = os.geteuid()
        # Modes do not count for root.
        os.seteuid(user or _NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param("", 0o000, id="a closed directory"),
        pytest.param("", 0o111, id="one that may not be listed"),
        pytest.param("", 0o444, id="one that may not be entered"),
        pytest.param("mig.conf", 0o000, id="a file in a closed directory"),
        pytest.param("folder/mig.conf", 0o444, id="one below it"),
    ],
)
def test_what_may_not_be_looked_at_is_one_line(name: str, mode: int) -> None:
    with _shut(mode) as folder, pytest.raises(exception.ConfigError) as caught:
        config_files.read([str(folder / name)])
    assert str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "let this user read it" in caught.value.mend


def test_a_path_too_long_is_one_line() -> None:
    with pytest.raises(exception.ConfigError) as caught:
        config_files.read(["/" + "a" * 5000])
    assert "\n" not in str(caught.value)


def test_a_gpus_address_covers_its_functions() -> None:
    (card,) = VFIO.cards
    (spec,) = device_spec.device_specs('{"address": "0000:c1:00.0"}')
    assert spec.covers_function("0000:c1:00.4", card)
    (other,) = device_spec.device_specs('{"address": "0000:c2:00.0"}')
    assert not other.covers_function("0000:c1:00.4", card)


def test_a_product_id_tells_the_gpu_from_its_functions() -> None:
    (card,) = VFIO.cards
    product = card.pci_device_id >> 16
    for number, covers in ((product, True), (product + 1, False)):
        (spec,) = device_spec.device_specs(
            json.dumps(
                {"vendor_id": "10de", "product_id": f"{number:04x}"}
                | {"address": "0000:c1:00.*"}
            )
        )
        assert spec.covers_card(card) == covers
        assert spec.covers_function("0000:c1:00.4", card)
