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
"""Names in Placement."""

import pytest

from mig_placement import exception
from mig_placement.placement import names

_ROOT = "6f2b0c5e-53a8-4e4e-8c3f-0d8f3f6f9a10"


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("1g.5gb", "CUSTOM_MIG_1G_5GB"),
        ("1g.5gb+me", "CUSTOM_MIG_1G_5GB_ME"),
        ("1g.24gb-me", "CUSTOM_MIG_1G_24GB_NO_ME"),
        ("1g.24gb+gfx", "CUSTOM_MIG_1G_24GB_GFX"),
        ("1g.24gb+me.all", "CUSTOM_MIG_1G_24GB_ME_ALL"),
        ("1c.3g.20gb", "CUSTOM_MIG_1C_3G_20GB"),
    ],
)
def test_a_class_is_named_after_its_profile(
    profile: str, expected: str
) -> None:
    assert names.class_name(profile, {}) == expected


@pytest.mark.parametrize(
    "profile",
    [
        "1g.5gb",
        "7g.141gb",
        "1g.5gb+me",
        "1g.24gb-me",
        "1g.24gb+gfx",
        "1g.24gb+me.all",
        "1g.24gb+me+gfx",
        "1c.3g.20gb",
        "2c.4g.20gb+me",
    ],
)
def test_the_class_of_a_profile_s_vgpu_is_known_again(profile: str) -> None:
    assert names.is_vgpu_class(names.vgpu_class(profile))


@pytest.mark.parametrize(
    "name",
    [
        "CUSTOM_VGPU_L40S_12Q",
        "CUSTOM_VGPU_A100_10C",
        "CUSTOM_VGPU_A100_1_5C",
        "CUSTOM_VGPU_1G_5GBX",
        "CUSTOM_VGPU_",
        "CUSTOM_MIG_1G_5GB",
        "VGPU",
    ],
)
def test_another_vgpu_s_class_is_not_taken_for_ours(name: str) -> None:
    assert not names.is_vgpu_class(name)


def test_an_operator_names_a_class() -> None:
    assert names.class_name("1g.5gb", {"1g.5gb": "CUSTOM_S"}) == "CUSTOM_S"


def test_two_profiles_never_share_a_class_by_accident() -> None:
    with pytest.raises(exception.ConfigError, match="share the class") as it:
        names.class_names(["1g.24gb+me.all", "1g.24gb+me+all"], {})
    assert it.value.exit_status == exception.EXIT_USAGE


def test_an_override_cannot_make_two_profiles_share_a_class() -> None:
    override = {"2g.10gb": "CUSTOM_MIG_1G_5GB"}
    with pytest.raises(exception.ConfigError, match="share the class"):
        names.class_names(["1g.5gb", "2g.10gb"], override)


@pytest.mark.parametrize("name", ["VGPU", "CUSTOM_a", "CUSTOM_" + "A" * 250])
def test_an_override_must_be_a_custom_class(name: str) -> None:
    with pytest.raises(exception.ConfigError, match="custom resource class"):
        names.check_overrides({"1g.5gb": name})


@pytest.mark.parametrize("profile", ["1g 5gb!", "19", ""])
def test_an_override_must_be_for_a_profile(profile: str) -> None:
    with pytest.raises(exception.ConfigError, match="no MIG profile"):
        names.check_overrides({profile: "CUSTOM_A"})


@pytest.mark.parametrize("profile", ["1g.5gb", "1c.3g.20gb", "1g.24gb+me.all"])
def test_every_kind_of_profile_may_have_a_class(profile: str) -> None:
    names.check_overrides({profile: "CUSTOM_A"})


@pytest.mark.parametrize(
    "trait",
    [
        "not a trait",
        "CUSTOM_MIG_READY",
        "CUSTOM_MIG_NODE_READY",
        "CUSTOM_MIG_BLOCKED_HOLD",
        "OWNER_NOVA",
        "COMPUTE_MANAGED_PCI_DEVICE",
    ],
)
def test_an_extra_trait_may_not_speak_for_the_gate_or_nova(
    trait: str,
) -> None:
    with pytest.raises(exception.ConfigError):
        names.check_extra_traits([trait])


def test_extra_traits_may_be_custom_or_standard() -> None:
    names.check_extra_traits(["CUSTOM_RACK_7", "HW_CPU_X86_AVX2"])


def test_a_provider_is_named_after_root_and_address() -> None:
    name = names.provider_name("n1", "0000:41:00.0")
    assert name == "n1_mig_0000_41_00_0"
    assert names.is_gpu_provider(name, "n1")


@pytest.mark.parametrize(
    "name",
    [
        "n1_pci_0000_81_00_0",
        "n1_0000:81:00.0",
        "n1_mig_0000_41_00_0_extra",
        "n10_mig_0000_41_00_0",
        "n1",
    ],
)
def test_a_provider_of_somebody_elses_is_not_taken_for_ours(
    name: str,
) -> None:
    assert not names.is_gpu_provider(name, "n1")


def test_a_provider_name_longer_than_placement_takes_is_refused() -> None:
    with pytest.raises(exception.ConfigError, match="shorter host name"):
        names.provider_name("n" * 190, "0000:41:00.0")


def test_a_providers_uuid_depends_on_root_and_name_alone() -> None:
    first = names.provider_uuid(_ROOT, "n1_mig_0000_41_00_0")
    assert first == names.provider_uuid(_ROOT, "n1_mig_0000_41_00_0")
    assert first != names.provider_uuid(_ROOT, "n1_mig_0000_42_00_0")


def test_novas_pci_providers_have_capitals_in_their_names() -> None:
    name = names.pci_provider_name("n1", "0000:ca:00.0")
    assert name == "n1_0000:CA:00.0"
    assert names.is_pci_provider(name, "n1")
    assert not names.is_pci_provider("n1_mig_0000_ca_00_0", "n1")
