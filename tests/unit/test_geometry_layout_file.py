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
"""The layout file: what is valid, and what each mistake is told."""

import os
import pathlib
import socket
import threading

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from mig_placement import exception
from mig_placement.geometry import declared
from mig_placement.geometry import layout_file
from tests.unit.data import models

_MIG_PARTED = models.HERE / "mig-parted.yaml"

_GOOD = """\
version: v1
mig-configs:
  tiny:
    - devices: all
      mig-enabled: true
      mig-devices:
        1g.5gb: 7
"""


def _parse(text: str) -> layout_file.LayoutFile:
    return layout_file.parse(text.encode(), "l.yaml")


def _entry(text: str) -> declared.Entry:
    """The entry of those fields, in flow style and without braces."""
    parsed = _parse(f"version: v1\nmig-configs: {{x: [{{{text}}}]}}")
    return parsed.labels["x"].entries[0]


def _wanted(mig_devices: str) -> tuple[declared.MigDevices, ...]:
    return _entry(
        f"devices: all, mig-enabled: true, mig-devices: {mig_devices}"
    ).mig_devices


def test_a_layout_is_read_with_its_lines() -> None:
    parsed = _parse(_GOOD)
    assert parsed.source == "l.yaml"
    label = parsed.labels["tiny"]
    assert (label.name, label.line) == ("tiny", 3)
    (entry,) = label.entries
    assert entry.where() == "l.yaml:4 (label tiny)"
    assert (entry.devices, entry.filters) == (None, ())
    assert entry.mig_enabled
    assert entry.compute_instances
    assert entry.mig_devices == (declared.MigDevices("1g.5gb", 7, None, 7),)


def test_all_of_mig_parteds_examples_parse() -> None:
    parsed = layout_file.load(_MIG_PARTED)
    assert len(parsed.labels) == 66
    loaded = yaml.safe_load(_MIG_PARTED.read_text(encoding="utf-8"))
    for name, entries in loaded["mig-configs"].items():
        for plain, entry in zip(
            entries, parsed.labels[name].entries, strict=True
        ):
            assert entry.mig_enabled == plain["mig-enabled"]
            counts = {each.profile: each.count for each in entry.mig_devices}
            assert counts == plain.get("mig-devices", {})
            assert (entry.devices is None) == (plain["devices"] == "all")


def test_every_profile_of_every_model_is_in_the_examples() -> None:
    parsed = layout_file.load(_MIG_PARTED)
    named = {
        each.profile
        for label in parsed.labels.values()
        for entry in label.entries
        for each in entry.mig_devices
    }
    for name in models.NAMES:
        assert {profile.name for profile in models.profiles(name)} <= named


def test_devices_are_indices_uuids_and_addresses_in_any_form() -> None:
    entry = _entry(
        "devices: [0, GPU-ABCDEF00-1111-2222-3333-444444444444,"
        " 00000000:41:00.0, '0000:4A:00.0', 42:00.1], mig-enabled: false"
    )
    assert entry.devices is not None
    assert [device.value for device in entry.devices] == [
        0,
        "GPU-abcdef00-1111-2222-3333-444444444444",
        "0000:41:00.0",
        "0000:4a:00.0",
        "0000:42:00.1",
    ]


def test_a_filter_is_one_or_several_models_quoted_or_not() -> None:
    one = _entry("devices: all, mig-enabled: false, device-filter: 0x20B010de")
    assert one.filters == (declared.DeviceFilter(0x20B010DE),)
    two = _entry(
        "devices: all, mig-enabled: false,"
        ' device-filter: ["0x20B010DE:0x134F10DE", "0x233010DE"]'
    )
    assert two.filters == (
        declared.DeviceFilter(0x20B010DE, 0x134F10DE),
        declared.DeviceFilter(0x233010DE),
    )


def test_placements_are_starts_or_starts_and_sizes() -> None:
    (wanted,) = _wanted('{3g.20gb: [0, "4:4", 4:4, "8"]}')
    assert wanted.count == 4
    assert wanted.placements == (
        declared.WantedPlacement(0),
        declared.WantedPlacement(4, 4),
        # To YAML 1.1 this one is 244, in base 60.
        declared.WantedPlacement(4, 4),
        declared.WantedPlacement(8),
    )


def test_numbers_of_nvidia_smi_are_profiles() -> None:
    assert [each.profile for each in _wanted("{19: 2, '5': 1}")] == ["19", "5"]


@pytest.mark.parametrize("word", ["true", "on", "Yes", "TRUE"])
def test_the_words_of_yaml_for_true_are_true(word: str) -> None:
    entry = _entry(f"devices: all, mig-enabled: {word}, mig-devices: {{}}")
    assert entry.mig_enabled


@pytest.mark.parametrize("more", ["", ", mig-devices: {}", ", mig-devices: ~"])
def test_disabled_needs_no_mig_devices(more: str) -> None:
    assert not _entry(f"devices: all, mig-enabled: off{more}").mig_devices


def test_hosts_have_labels_in_the_order_of_the_file() -> None:
    parsed = _parse(f'{_GOOD}mig-nodes:\n  "gpu-*": tiny\n  a: tiny\n')
    assert parsed.hosts == (
        declared.HostRule("gpu-*", "tiny", 9),
        declared.HostRule("a", "tiny", 10),
    )


def test_anchors_may_be_used() -> None:
    parsed = _parse(
        "version: v1\n"
        "mig-configs:\n"
        "  a: &a\n"
        "    - &entry {devices: all, mig-enabled: true, mig-devices: {}}\n"
        "  b: *a\n"
        "  c: [{<<: *entry, compute-instances: false}]\n"
    )
    assert parsed.labels["b"].entries[0].mig_enabled
    assert not parsed.labels["c"].entries[0].compute_instances


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("version: v1\n", "", ":1: no version; add version: v1"),
        ("v1", "v2", ":1: version is not v1; write version: v1"),
        ("v1", "[v1]", ":1: version is not v1"),
        ("mig-configs", "mig-config", ":2: unknown field 'mig-config'"),
        ("mig-configs:", "mig-nodes: {}\nx:", ":3: unknown field 'x'"),
        ("  tiny", "  big:\n  tiny", ":3 (label big): the label: no list"),
        ("tiny", "'  '", ":3: mig-configs: no name"),
        ("tiny", "x" * 201, ":3: mig-configs: a name of more than 200"),
        ("devices: all", "device: all", ":4 (label tiny): unknown field"),
        ("devices: all", "mig-enabled: true", "'mig-enabled' is there twice"),
        ("- devices: all\n      ", "- ", ":4 (label tiny): no devices"),
        ("all", "some", ":4 (label tiny): devices: neither 'all' nor a list"),
        ("all", "[]", "devices: neither 'all' nor a list"),
        ("all", "{0: 1}", "devices: neither 'all' nor a list"),
        ("all", "[true]", "'true' is no GPU index, UUID or PCI address"),
        ("all", "[-1]", "'-1' is no GPU index"),
        ("all", "[1.5]", "'1.5' is no GPU index"),
        ("all", "['0']", "'0' is no GPU index"),
        ("all", "[010]", "'010' is no GPU index"),
        ("all", "[[0]]", "'' is no GPU index"),
        ("all", "[0, 1, 0]", "devices: GPU index 0 is there twice"),
        ("all", "[0000:41:00.0, '41:00.0']", "0000:41:00.0 is there twice"),
        ("all", "[MIG-0]", "'MIG-0' is no GPU index"),
        ("all", "all\n      device-filter: []", "device-filter: no list"),
        ("all", "all\n      device-filter: 20B0", "'20B0' is no 0xDDDDVVVV"),
        ("all", "all\n      device-filter: {}", "'' is no 0xDDDDVVVV"),
        ("true", "1", "mig-enabled: neither true nor false"),
        ("true", "'true'", "mig-enabled: neither true nor false"),
        ("true", "yEs", "mig-enabled: neither true nor false"),
        ("true", "~", "mig-enabled: neither true nor false"),
        ("true", "false", "mig-devices, though mig-enabled is false"),
        ("\n        1g.5gb: 7", "", ":6 (label tiny): no mig-devices"),
        ("\n        1g.5gb: 7", " [1g.5gb]", "mig-devices: no mapping"),
        ("1g.5gb", "1g5gb", ":7 (label tiny): '1g5gb' is no MIG profile"),
        ("1g.5gb", "5c.7g.40gb", "5 slices does not exist"),
        ("7", "-1", ":7 (label tiny): 1g.5gb: neither a count nor a list"),
        ("7", "true", "1g.5gb: neither a count"),
        ("7", "'7'", "1g.5gb: neither a count"),
        ("7", "7.0", "1g.5gb: neither a count"),
        ("7", "0x7", "1g.5gb: neither a count"),
        ("7", "07", "1g.5gb: neither a count"),
        ("7", "~", "1g.5gb: neither a count"),
        ("7", "{}", "1g.5gb: neither a count"),
        ("7", "9" * 400, "1g.5gb: neither a count"),
        ("7", "1025", "1g.5gb: 1025 are too many"),
        ("7", "[" + "0, " * 1025 + "]", "1g.5gb: 1025 are too many"),
        ("7", "[-1]", "'-1' is no placement"),
        ("7", "[true]", "'true' is no placement"),
        ("7", "['4:0']", "'4:0' is no placement"),
        ("7", "['4:']", "'4:' is no placement"),
        ("7", "[0x4]", "'0x4' is no placement"),
        ("7", "[[4]]", "'' is no placement"),
        (
            "1g.5gb: 7",
            "1c.3g.20gb: 1\n      compute-instances: false",
            "1c.3g.20gb is a compute instance, though",
        ),
        ("7\n", "7\nmig-nodes: []\n", ":8: mig-nodes: no mapping"),
        ("7\n", "7\nmig-nodes: {a: tin}\n", "no label 'tin'"),
        ("7\n", "7\nmig-nodes: {a: [tiny]}\n", "mig-nodes: no name"),
        ("7\n", "7\nmig-nodes: {'': tiny}\n", "mig-nodes: no name"),
        ("7\n", "7\nmig-nodes: {*: tiny}\n", "quote what begins with *"),
    ],
)
def test_a_mistake_is_told_with_file_line_label_and_mend(
    old: str, new: str, error: str
) -> None:
    assert old in _GOOD
    with pytest.raises(exception.LayoutError) as caught:
        _parse(_GOOD.replace(old, new, 1))
    assert error in str(caught.value)
    assert str(caught.value).startswith("l.yaml:")
    assert caught.value.mend
    assert caught.value.exit_status == exception.EXIT_USAGE


def test_a_mistyped_field_or_label_gets_a_suggestion() -> None:
    with pytest.raises(exception.LayoutError, match="did you mean devices"):
        _parse(_GOOD.replace("devices: all", "device: all"))
    with pytest.raises(exception.LayoutError, match="did you mean tiny"):
        _parse(f"{_GOOD}mig-nodes: {{a: tin}}\n")


@pytest.mark.parametrize("text", ["[]", "v1", "version: v1"])
def test_what_is_no_layout_is_an_error(text: str) -> None:
    with pytest.raises(exception.LayoutError):
        _parse(text)


def test_a_label_with_nothing_is_an_error() -> None:
    with pytest.raises(exception.LayoutError, match="mig-configs: empty"):
        _parse("version: v1\nmig-configs: {}")


@pytest.mark.parametrize("name", ["gone.yaml", "gone/x", "a\0b", ""])
def test_a_file_that_is_not_there_is_an_error(
    tmp_path: pathlib.Path, name: str
) -> None:
    path = os.path.join(tmp_path, name)
    with pytest.raises(exception.LayoutError, match="cannot be read"):
        layout_file.load(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "l.yaml"
    path.touch(mode=0)
    with pytest.raises(exception.LayoutError, match="let the agent's user"):
        layout_file.load(path)


def test_what_is_no_plain_file_is_refused_and_blocks_nothing(
    tmp_path: pathlib.Path,
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    errors: list[str] = []

    def load_all() -> None:
        for path in (fifo, tmp_path / "socket", tmp_path, "/dev/zero"):
            try:
                layout_file.load(path)
            except exception.LayoutError as error:
                errors.append(str(error))

    thread = threading.Thread(target=load_all, daemon=True)
    thread.start()
    thread.join(10)
    listener.close()
    assert len(errors) == 4
    assert all("cannot be read" in error for error in errors)


def test_a_large_file_is_not_read_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(exception.LayoutError, match="more than 1048576"):
        layout_file.load(path)


def test_a_link_to_a_file_is_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").write_text(_GOOD, encoding="utf-8")
    (tmp_path / "link").symlink_to("real")
    assert layout_file.load(tmp_path / "link").labels.keys() == {"tiny"}


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 2000)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["all", "v1", "1g.5gb", "4:4", "GPU-1", "0000:41:00.0", "0x20B010DE"]
    )
)
_KEYS = st.sampled_from(
    [
        *("version", "mig-configs", "mig-nodes", "devices", "device-filter"),
        *("mig-enabled", "mig-devices", "compute-instances", "1g.5gb", "x"),
    ]
)
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)
_ENTRIES = st.fixed_dictionaries(
    {
        "devices": st.just("all") | _ANYTHING,
        "mig-enabled": st.booleans() | _ANYTHING,
    },
    optional={
        "device-filter": _ANYTHING,
        "mig-devices": st.dictionaries(_KEYS, _ANYTHING) | _ANYTHING,
        "compute-instances": st.booleans() | _ANYTHING,
    },
)
_FILES = st.fixed_dictionaries(
    {
        "version": st.just("v1"),
        "mig-configs": st.dictionaries(
            _KEYS, st.lists(_ENTRIES, max_size=3) | _ANYTHING, max_size=3
        ),
    },
    optional={"mig-nodes": st.dictionaries(_KEYS, _KEYS) | _ANYTHING},
)


def _complaint(text: str) -> str | None:
    """The error's line; None where the layout is valid."""
    try:
        _parse(text)
    except exception.LayoutError as error:
        return str(error)
    return None


@hypothesis.given(_ANYTHING | _FILES)
@hypothesis.settings(
    max_examples=300,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
def test_any_structure_is_a_layout_or_a_layout_error(value: object) -> None:
    complaint = _complaint(yaml.safe_dump(value))
    if complaint is None:
        assert isinstance(value, dict)
        assert value["version"] == "v1"
    else:
        assert "\n" not in complaint


@hypothesis.given(
    st.integers(0, len(_GOOD)), st.integers(0, 9), st.text(max_size=5)
)
def test_any_damage_leaves_a_layout_or_a_layout_error(
    at: int, removed: int, added: str
) -> None:
    damaged = _GOOD[:at] + added + _GOOD[at + removed :]
    assert "\n" not in (_complaint(damaged) or "")
