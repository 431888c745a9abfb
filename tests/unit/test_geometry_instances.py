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
"""What an entry asks of a GPU with certain profiles."""

import collections

import pytest

from mig_placement import exception
from mig_placement.geometry import instances
from mig_placement.geometry import layout_file
from mig_placement.hardware import model
from tests.unit.data import models


def _settle(
    mig_devices: str, name: str = models.A100, more: str = ""
) -> tuple[instances.DeclaredInstance, ...]:
    text = (
        "version: v1\nmig-configs:\n  x:\n    - devices: all\n"
        f"      mig-enabled: true\n      mig-devices: {mig_devices}\n{more}"
    )
    parsed = layout_file.parse(text.encode(), "l.yaml")
    return instances.instances(
        parsed.labels["x"].entries[0], models.profiles(name)
    )


def _declared(
    profile: str, place: str = "", cis: tuple[str, ...] | None = ()
) -> instances.DeclaredInstance:
    numbers = [int(part) for part in place.split(":") if part]
    return instances.DeclaredInstance(
        profile,
        model.Placement(*numbers) if numbers else None,
        (profile,) if cis == () else cis,
    )


def test_a_count_is_so_many_instances_anywhere() -> None:
    assert _settle("{1g.5gb: 3, 4g.20gb: 1}") == (
        _declared("1g.5gb"),
        _declared("1g.5gb"),
        _declared("1g.5gb"),
        _declared("4g.20gb"),
    )


@pytest.mark.parametrize("empty", ["{}", "{1g.5gb: 0}", "{1g.5gb: []}"])
def test_nothing_may_be_declared(empty: str) -> None:
    assert _settle(empty) == ()


def test_placements_are_settled_with_their_size() -> None:
    assert _settle('{3g.20gb: [4], 1g.5gb: ["0:1", 2]}') == (
        _declared("3g.20gb", "4:4"),
        _declared("1g.5gb", "0:1"),
        _declared("1g.5gb", "2:1"),
    )


def test_the_gpus_own_name_of_a_profile_is_taken() -> None:
    assert _settle("{19: 1, 3g.19gb: 1}") == (
        _declared("1g.5gb"),
        _declared("3g.20gb"),
    )
    (one,) = _settle("{1g.24gb+me: 1}", "GB200-186GB")
    assert one == _declared("1g.23gb+me")


def test_a_number_is_another_profile_on_another_model() -> None:
    assert _settle("{14: 1}")[0].profile == "2g.10gb"
    assert _settle("{14: 1}", "A30-24GB")[0].profile == "1g.6gb"


def test_compute_instances_may_not_be_asked_for() -> None:
    assert _settle("{3g.20gb: 1}", more="      compute-instances: false") == (
        _declared("3g.20gb", cis=None),
    )


def test_small_compute_instances_share_the_fewest_gpu_instances() -> None:
    assert _settle("{1c.3g.20gb: 4, 2c.3g.20gb: 1}") == (
        _declared("3g.20gb", cis=("2c.3g.20gb", "1c.3g.20gb")),
        _declared("3g.20gb", cis=("1c.3g.20gb",) * 3),
    )


def test_small_compute_instances_stay_out_of_whole_gpu_instances() -> None:
    assert _settle("{3g.20gb: 1, 1c.3g.20gb: 1}") == (
        _declared("3g.20gb"),
        _declared("3g.20gb", cis=("1c.3g.20gb",)),
    )


def test_compute_instances_at_one_placement_share_it() -> None:
    assert _settle("{1c.3g.20gb: [4, 0], 2c.3g.20gb: ['4:4']}") == (
        _declared("3g.20gb", "4:4", cis=("2c.3g.20gb", "1c.3g.20gb")),
        _declared("3g.20gb", "0:4", cis=("1c.3g.20gb",)),
    )


def test_a_compute_instance_of_all_slices_is_the_whole() -> None:
    assert _settle("{3c.3g.20gb: 1}") == (_declared("3g.20gb"),)


@pytest.mark.parametrize(
    ("mig_devices", "error"),
    [
        (
            "{3g.20gb: 2, 1g.5gb: 1}",
            "l.yaml:4 (label x): 2x 3g.20gb fill all 8 memory slices, 1g.5gb"
            " does not fit; what fits: 2x 3g.20gb, or 1x 3g.20gb + 1x 1g.5gb"
            ", or 1x 3g.20gb + 1x 1g.10gb + 1x 1g.5gb",
        ),
        ("{1g.5gb: 1000}", "at most 7x 1g.5gb fit on it, not 1000; what"),
        ("{1g.5gb+me: 2}", "1x 1g.5gb+me takes the only JPEG engine"),
        ("{1g.6gb: 1}", "l.yaml:6 (label x): no profile 1g.6gb, which is"),
        ("{99: 1}", "l.yaml:6 (label x): no profile 99; it has 1g.5gb"),
        ("{19: 1, 1g.5gb: 1}", "19 and 1g.5gb are one profile here, 1g.5gb"),
        ("{3g.20gb: [1]}", "3g.20gb cannot lie at 1; it can at 0:4, 4:4"),
        ("{3g.20gb: ['0:3']}", "3g.20gb cannot lie at 0:3; it can at"),
        (
            "{3g.20gb: [4], 1g.5gb: [5]}",
            "3g.20gb at 4:4 and 1g.5gb at 5:1 overlap; it fits as",
        ),
        ("{3g.20gb: [4, 4]}", "3g.20gb at 4:4 and 3g.20gb at 4:4 overlap"),
        (
            "{2g.10gb: [2], 3g.20gb: 1, 1g.5gb: [4]}",
            "leave no place for 3g.20gb (which can start at 0, 4); it fits as",
        ),
        (
            "{1c.3g.20gb: 7}",
            "7 compute instances with 7 slices do not fit in 2x 3g.20gb,"
            " which have 3 compute slices each; declare fewer",
        ),
        (
            "{2c.3g.20gb: [4, 4]}",
            "2 compute instances with 4 slices do not fit in 1x 3g.20gb at"
            " 4:4, which has 3 compute slices; declare fewer",
        ),
        ("{1c.3g.20gb: 1024}", "1024 compute instances with 1024 slices"),
    ],
)
def test_what_the_gpu_cannot_have_is_an_error(
    mig_devices: str, error: str
) -> None:
    with pytest.raises(exception.LayoutError) as caught:
        _settle(mig_devices)
    assert error in str(caught.value)


def test_the_placement_that_would_fit_is_offered() -> None:
    with pytest.raises(exception.LayoutError) as caught:
        _settle("{3g.20gb: [4], 1g.5gb: [4, 5]}")
    assert caught.value.mend == (
        "it fits as 3g.20gb at 0:4, 1g.5gb at 4:1, 1g.5gb at 5:1"
    )


@pytest.mark.parametrize("name", models.NAMES)
def test_as_many_as_nvml_says_of_each_profile_are_possible(
    name: str,
) -> None:
    for profile in models.profiles(name):
        found = _settle(f"{{{profile.name}: {profile.max_instances}}}", name)
        counts = collections.Counter(each.profile for each in found)
        assert counts == {profile.name: profile.max_instances}
