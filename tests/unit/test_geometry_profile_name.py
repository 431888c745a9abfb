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
"""Profile names, and which profile of a GPU a declared one means."""

import contextlib

import hypothesis
import pytest
from hypothesis import strategies as st

from mig_placement import exception
from mig_placement.geometry import profile_name
from tests.unit.data import models


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1g.5gb", (None, 1, 5, "")),
        ("7g.141gb", (None, 7, 141, "")),
        ("1g.5gb+me", (None, 1, 5, "+me")),
        ("1g.24gb-me", (None, 1, 24, "-me")),
        ("1g.24gb+gfx", (None, 1, 24, "+gfx")),
        ("1g.24gb+me.all", (None, 1, 24, "+me.all")),
        ("1c.3g.20gb", (1, 3, 20, "")),
        ("2c.3g.20gb+me", (2, 3, 20, "+me")),
    ],
)
def test_a_name_is_read_and_written_alike(
    text: str, expected: tuple[int | None, int, int, str]
) -> None:
    name = profile_name.parse(text)
    assert name == profile_name.ProfileName(*expected)
    assert str(name) == text


def test_a_compute_instance_of_all_slices_is_the_whole_instance() -> None:
    assert str(profile_name.parse("3c.3g.20gb")) == "3g.20gb"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1g",
        "1g.5",
        "1g5gb",
        "0g.5gb",
        "01g.5gb",
        "1g.0gb",
        "1G.5GB",
        "MIG 1g.5gb",
        "1g.5gb+",
        "1g.5gb me",
        "1g.5gb\n",
        "\u0661g.5gb",
        "1g." + "9" * 500 + "gb",
        "4c.3g.20gb",
        "5c.7g.40gb",
        "c.3g.20gb",
    ],
)
def test_what_is_no_profile_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        profile_name.parse(text)


@pytest.mark.parametrize("model", models.NAMES)
def test_every_profile_of_every_model_is_found_by_name_and_number(
    model: str,
) -> None:
    profiles = models.profiles(model)
    for profile in profiles:
        found = profile_name.find_profile(profile.name, profiles)
        assert found is profile
        number = str(profile.profile_id)
        assert profile_name.find_profile(number, profiles) is profile


@pytest.mark.parametrize(
    ("model", "declared", "expected"),
    [
        ("GB200-186GB", "1g.24gb", "1g.23gb"),
        ("GB200-186GB", "7g.189gb", "7g.186gb"),
        ("A100-80GB", "7g.79gb", "7g.80gb"),
        ("A100-80GB", "3g.39gb", "3g.40gb"),
        ("H100-80GB", "1g.9gb+me", "1g.10gb+me"),
        (models.A100, "1c.3g.19gb", "3g.20gb"),
    ],
)
def test_a_memory_figure_may_differ_a_little(
    model: str, declared: str, expected: str
) -> None:
    found = profile_name.find_profile(declared, models.profiles(model))
    assert found.name == expected


@pytest.mark.parametrize(
    ("model", "declared"),
    [
        (models.A100, "1g.7gb"),
        (models.A100, "2g.5gb"),
        (models.A100, "1g.10gb+me"),
        (models.A100, "1g.5gb+gfx"),
        (models.A100, "1g.5gb-me"),
        (models.A100, "99"),
        (models.A100, "nonsense"),
        ("H100-80GB", "1g.12gb"),
    ],
)
def test_an_unknown_profile_is_an_error_that_lists_the_known(
    model: str, declared: str
) -> None:
    with pytest.raises(exception.LayoutError) as caught:
        profile_name.find_profile(declared, models.profiles(model), "f:3")
    assert str(caught.value).startswith(f"f:3: no profile {declared}")
    assert "it has 1g." in str(caught.value)


def test_a_profile_of_another_model_is_said_to_be_so() -> None:
    with pytest.raises(exception.LayoutError, match="one of A30; it has"):
        profile_name.find_profile("1g.6gb", models.profiles(models.A100))


def test_the_close_profile_is_suggested() -> None:
    with pytest.raises(exception.LayoutError, match=r"mean 1g\.5gb\+me\?"):
        profile_name.find_profile("1g.5gb+mee", models.profiles(models.A100))


@pytest.mark.parametrize(
    ("model", "declared", "meant"),
    [
        ("H100-80GB", "1g.5gb", "1g.10gb"),
        ("H100-80GB", "1g.40gb", "1g.20gb"),
        ("H100-80GB", "1g.5gb+me", "1g.10gb+me"),
        (models.A100, "3g.40gb", "3g.20gb"),
        (models.A100, "7g.80gb", "7g.40gb"),
    ],
)
def test_what_another_model_calls_otherwise_is_suggested(
    model: str, declared: str, meant: str
) -> None:
    with pytest.raises(exception.LayoutError) as caught:
        profile_name.find_profile(declared, models.profiles(model))
    assert str(caught.value).endswith(f"; did you mean {meant}?")


def test_between_two_profiles_nothing_is_guessed() -> None:
    profiles = [
        each
        for model in ("B200-180GB", "GB200-186GB")
        for each in models.profiles(model)
        if each.slices == 2
    ]
    with pytest.raises(
        exception.LayoutError, match=r"may mean 2g\.45gb or 2g\.47gb"
    ):
        profile_name.find_profile("2g.46gb", profiles)


def test_the_exact_name_wins_over_a_close_one() -> None:
    profiles = [
        each
        for model in ("B200-180GB", "GB200-186GB")
        for each in models.profiles(model)
    ]
    found = profile_name.find_profile("2g.47gb", profiles)
    assert found.name == "2g.47gb"


@hypothesis.given(
    st.builds(
        profile_name.ProfileName,
        compute=st.none(),
        slices=st.integers(1, 99),
        memory_gb=st.integers(1, 99999),
        attributes=st.sampled_from(["", "+me", "-me", "+gfx", "+me.all"]),
    )
)
def test_a_written_name_reads_as_itself(
    name: profile_name.ProfileName,
) -> None:
    assert profile_name.parse(str(name)) == name


@hypothesis.given(st.text(max_size=80))
def test_any_text_is_a_name_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert profile_name.parse(text).slices > 0


@hypothesis.given(st.text(max_size=80))
def test_any_declared_text_is_a_profile_or_a_layout_error(text: str) -> None:
    with contextlib.suppress(exception.LayoutError):
        profile_name.find_profile(text, models.profiles(models.A100))
