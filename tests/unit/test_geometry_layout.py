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
"""A label's entries, settled for a node's GPUs."""

import pytest

from mig_placement import exception
from mig_placement.geometry import declared
from mig_placement.geometry import layout
from mig_placement.geometry import layout_file
from mig_placement.hardware import model
from tests.unit.data import models

_A100_ID = "0x20B010DE"
_H100_ID = "0x233010DE"
_PAIR = models.node(models.gpu(index=0), models.gpu(index=1))
_MIXED = models.node(models.gpu(models.A100, 0), models.gpu(models.H100, 1))


def _resolve(*entries: str, node: model.Node = _PAIR) -> layout.NodeLayout:
    lines = "\n".join(f"  - {{{entry}}}" for entry in entries)
    text = f"version: v1\nmig-configs:\n  x:\n{lines}\n"
    parsed = layout_file.parse(text.encode(), "l.yaml")
    return layout.resolve(parsed, "h", "", node)


def _error(*entries: str, node: model.Node = _PAIR) -> str:
    with pytest.raises(exception.LayoutError) as caught:
        _resolve(*entries, node=node)
    return str(caught.value)


def _on(devices: str, mig_devices: str = "{1g.5gb: 7}", more: str = "") -> str:
    return (
        f"devices: {devices}, mig-enabled: true, mig-devices: {mig_devices}"
        f"{more}"
    )


def _off(devices: str) -> str:
    return f"devices: {devices}, mig-enabled: false"


def test_all_devices_get_what_is_declared() -> None:
    wanted = _resolve(_on("all"))
    assert wanted.label == "x"
    assert wanted.source == "l.yaml:3"
    assert set(wanted.gpus) == {0, 1}
    assert wanted.gpus[0].mig_enabled
    assert wanted.gpus[0].line == 4
    assert len(wanted.gpus[0].instances) == 7
    assert wanted.gpus[0] == wanted.gpus[1]


@pytest.mark.parametrize(
    "device", ["1", _PAIR.gpus[1].uuid.upper(), "00000000:c2:00.0"]
)
def test_a_device_is_found_by_index_uuid_or_address(device: str) -> None:
    assert set(_resolve(_off(f"[{device}]")).gpus) == {1}


def test_a_gpu_that_no_entry_names_is_not_declared() -> None:
    assert set(_resolve(_on("[0]")).gpus) == {0}


def test_enabled_with_nothing_is_mig_on_and_empty() -> None:
    wanted = _resolve(_on("all", "{}"))
    assert wanted.gpus[0] == layout.GpuLayout(True, (), 4)


@pytest.mark.parametrize(
    ("device", "error"),
    [
        ("2", "GPU index 2 is not on this node; it has 0, 1"),
        ("GPU-0", "GPU-0 is not on this node; it has GPU-00000000-"),
        (
            "99:00.0",
            "0000:99:00.0 is not on this node; it has 0000:c1:00.0, 0000:c2",
        ),
    ],
)
def test_a_device_that_is_not_there_is_an_error(
    device: str, error: str
) -> None:
    assert f"l.yaml:4 (label x): {error}" in _error(_off(f"[{device}]"))


def test_a_device_that_is_not_there_is_an_error_beside_others() -> None:
    more = f", device-filter: '{_H100_ID}'"
    assert "GPU index 7" in _error(_on("all"), _off("[7]"))
    assert "GPU index 7" in _error(_on("all"), _off("[7]") + more)


@pytest.mark.parametrize(
    "entries",
    [
        (_on("all"), _off("[1]")),
        (_off("[1]"), _off("[0000:c2:00.0]")),
        (_on("all"), _on("all")),
    ],
)
def test_a_gpu_in_two_entries_is_an_error(entries: tuple[str, ...]) -> None:
    said = _error(*entries)
    assert said.startswith("l.yaml:5 (label x): GPU ")
    assert "is declared twice, first in line 4" in said


def test_a_gpu_twice_in_one_entry_is_an_error() -> None:
    assert "0000:c2:00.0 is GPU 1 (0000:c2:00.0), which" in _error(
        _off("[1, 0000:c2:00.0]")
    )


def test_a_filter_picks_the_model() -> None:
    wanted = _resolve(
        _on("all", "{1g.5gb: 7}", f", device-filter: '{_A100_ID}'"),
        _on(
            "all",
            "{1g.10gb: 7}",
            f", device-filter: ['{_H100_ID}', 0x00000001]",
        ),
        node=_MIXED,
    )
    assert wanted.gpus[0].instances[0].profile == "1g.5gb"
    assert wanted.gpus[1].instances[0].profile == "1g.10gb"


def test_a_filter_may_name_the_subsystem() -> None:
    for subsystem, there in (("0x134F10DE", True), ("0x134F10DF", False)):
        entry = f"{_off('all')}, device-filter: '{_A100_ID}:{subsystem}'"
        wanted = _resolve(entry, _off("[1]"), node=_MIXED)
        assert (0 in wanted.gpus) is there


def test_devices_and_filter_must_both_hold() -> None:
    entry = f"{_off('[0, 1]')}, device-filter: '{_H100_ID}'"
    assert set(_resolve(entry, node=_MIXED).gpus) == {1}


def test_an_entry_for_another_model_is_no_error() -> None:
    other = f"{_off('all')}, device-filter: '{_H100_ID}'"
    assert set(_resolve(other, _on("all")).gpus) == {0, 1}


def test_a_label_that_fits_no_gpu_is_an_error() -> None:
    other = f"{_off('all')}, device-filter: '{_H100_ID}'"
    assert _error(other) == (
        "l.yaml:4 (label x): no entry's devices and device-filter fit a GPU"
        " of this node; it has 0x20B010DE"
    )
    assert "it has no GPU" in _error(_on("all"), node=models.node())


def test_an_unknown_profile_is_an_error_with_the_gpu() -> None:
    assert _error(_on("all", "{1g.12gb: 1}")).startswith(
        "l.yaml:4 (label x): GPU 0 (0000:c1:00.0): no profile 1g.12gb, which"
        " is one of H100 94GB, H100 96GB; it has 1g.5gb, "
    )


def test_an_impossible_combination_is_an_error_with_the_gpu() -> None:
    assert _error(_on("[1]", "{3g.20gb: 2, 1g.5gb: 1}")).startswith(
        "l.yaml:4 (label x): GPU 1 (0000:c2:00.0): 2x 3g.20gb fill all 8"
        " memory slices, 1g.5gb does not fit; what fits: 2x 3g.20gb, or"
    )


_T4 = models.gpu(
    index=1,
    product="Tesla T4",
    pci_device_id=0x1EB810DE,
    mig_capable=False,
    mig_mode=False,
    mig_pending=False,
    profiles=(),
)


def test_a_gpu_that_cannot_do_mig_is_an_error_where_mig_is_declared() -> None:
    node = models.node(models.gpu(), _T4)
    assert "GPU 1 (0000:c2:00.0) (Tesla T4) cannot do MIG" in _error(
        _on("all"), node=node
    )
    more = f", device-filter: '{_A100_ID}'"
    assert set(_resolve(_on("all") + more, node=node).gpus) == {0}
    assert not _resolve(_off("all"), node=node).gpus[1].mig_enabled


def _nameless(index: int) -> model.Gpu:
    return model.Gpu(index=index, fault="GPU is lost")


@pytest.mark.parametrize(
    "entry",
    [
        _on("all"),
        _on("[0, 1]"),
        # It may be this one, or of this model: nobody can say.
        _on("[0, GPU-77]"),
        _on("[0, '99:00.0']"),
        _on("all", more=f", device-filter: '{_A100_ID}'"),
    ],
)
def test_a_lost_gpu_without_a_name_is_declared(entry: str) -> None:
    wanted = _resolve(entry, node=models.node(models.gpu(), _nameless(1)))
    assert len(wanted.gpus[0].instances) == 7
    assert wanted.gpus[1] == layout.GpuLayout(True, (), 4)


def test_a_lost_gpu_is_not_two_that_are_not_there() -> None:
    node = models.node(models.gpu(), _nameless(1))
    assert "GPU-78 is not on" in _error(_on("[GPU-77, GPU-78]"), node=node)
    assert "GPU-77 is not on" in _error(
        _off("[1]"), _on("[GPU-77]"), node=node
    )


def test_a_lost_gpu_of_unknown_model_is_in_one_entry_for_models() -> None:
    wanted = _resolve(
        f"{_off('all')}, device-filter: '{_H100_ID}'",
        _on("all", more=f", device-filter: '{_A100_ID}'"),
        node=models.node(models.gpu(), _nameless(1)),
    )
    assert len(wanted.gpus) == 2


def test_a_lost_gpu_that_is_remembered_is_checked() -> None:
    lost = models.gpu(index=1, fault="GPU is lost")
    wanted = _resolve(_on("all"), node=models.node(models.gpu(), lost))
    assert len(wanted.gpus[1].instances) == 7


def _is_for(label: declared.Label, names: set[str]) -> bool:
    """Whether all that a label names are profiles of a model."""
    return all(
        entry.devices is None
        and {each.profile for each in entry.mig_devices} <= names
        for entry in label.entries
    )


@pytest.mark.parametrize("name", models.NAMES)
def test_mig_parteds_examples_for_a_model_are_possible_on_it(
    name: str,
) -> None:
    parsed = layout_file.load(models.HERE / "mig-parted.yaml")
    node = models.node(models.gpu(name), models.gpu(name, 1))
    names = {profile.name for profile in models.profiles(name)}
    fitting = [
        label.name for label in parsed.labels.values() if _is_for(label, names)
    ]
    # One label for each profile at least, off, and empty.
    assert len(fitting) >= 5
    for label in [*fitting, "all-balanced"]:
        wanted = layout.resolve(parsed, "h", label, node)
        assert set(wanted.gpus) == {0, 1}


@pytest.mark.parametrize("name", models.NAMES)
def test_mig_parteds_examples_for_other_models_are_refused(
    name: str,
) -> None:
    parsed = layout_file.load(models.HERE / "mig-parted.yaml")
    other = "all-7g.40gb" if name != models.A100 else "all-7g.80gb"
    with pytest.raises(exception.LayoutError, match="no profile 7g"):
        layout.resolve(parsed, "h", other, models.node(models.gpu(name)))


def test_the_labels_rules_are_kept() -> None:
    text = (
        "version: v1\nmig-configs:\n"
        f"  a: [{{{_off('all')}}}]\n  b: [{{{_on('all')}}}]\n"
        "mig-nodes: {h: b}\n"
    )
    parsed = layout_file.parse(text.encode(), "l.yaml")
    assert layout.resolve(parsed, "h", "a", _PAIR).label == "b"
    assert layout.resolve(parsed, "other", "a", _PAIR).label == "a"
    with pytest.raises(exception.LayoutError):
        layout.resolve(parsed, "other", "", _PAIR)
