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

"""Who may enable and disable nova-compute's service, and when."""

import pytest

from mig_placement.nova import compute_service

ENABLE = compute_service.Action.ENABLE
DISABLE = compute_service.Action.DISABLE
UUID = "11111111-1111-4111-8111-111111111111"
WHY = compute_service.reason_text("INSTANCE_MISSING: 1 of 7 1g.5gb missing")


def _service(reason: str | None) -> compute_service.Service:
    """:param reason: of a disabled one; None is enabled."""
    return compute_service.Service(UUID, reason is None, reason or "")


@pytest.mark.parametrize(
    ("reason", "wanted_open", "action"),
    [
        pytest.param(None, False, DISABLE, id="closing disables"),
        pytest.param(None, True, None, id="open and enabled is right"),
        pytest.param(WHY, True, ENABLE, id="opening enables ours"),
        pytest.param(WHY, False, None, id="closed and disabled is right"),
        pytest.param(
            f"{compute_service.PREFIX}HOLD: fans", False, DISABLE, id="new why"
        ),
        pytest.param("broken fan", True, None, id="an operator's stays"),
        pytest.param("broken fan", False, None, id="and is not overwritten"),
        pytest.param("", True, None, id="also without a reason"),
        pytest.param("", False, None, id="and is not given one"),
        pytest.param("AUTO: libvirt", True, None, id="Nova's own stays"),
        pytest.param("AUTO: libvirt", False, None, id="for Nova to enable"),
        pytest.param("mig-placement is off", True, None, id="no prefix"),
        pytest.param(f" {WHY}", True, None, id="not at the start"),
        pytest.param("Mig-Placement: x", True, None, id="another case"),
    ],
)
def test_only_what_carries_our_prefix_is_ours(
    reason: str | None,
    wanted_open: bool,
    action: compute_service.Action | None,
) -> None:
    assert compute_service.decide(_service(reason), wanted_open, WHY) is action


@pytest.mark.parametrize(
    ("said", "given"),
    [
        ("HOLD: fans", "mig-placement: HOLD: fans"),
        ("", "mig-placement: the gate is closed"),
        (" \n ", "mig-placement: the gate is closed"),
        ("two\nlines\tand  more", "mig-placement: two lines and more"),
        # MySQL's utf8 takes no more than three bytes for a character.
        ("fan \N{COLLISION SYMBOL}", "mig-placement: fan ?"),
        ("\x1b[2J", "mig-placement: ?[2J"),
    ],
)
def test_the_reason_is_one_line_that_nova_takes(said: str, given: str) -> None:
    assert compute_service.reason_text(said) == given


@pytest.mark.parametrize("said", ["", " " * 300, "x" * 5000, "\n" * 300])
def test_what_we_disabled_is_known_for_ours_whatever_the_reason(
    said: str,
) -> None:
    reason = compute_service.reason_text(said)
    assert len(reason) <= 255
    assert _service(reason).is_ours
    assert compute_service.decide(_service(reason), False, reason) is None


def test_an_enabled_service_is_not_ours_though_its_reason_is_left() -> None:
    service = compute_service.Service(UUID, enabled=True, reason=WHY)
    assert compute_service.decide(service, True, WHY) is None


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (None, "enabled"),
        (WHY, "disabled by us"),
        ("fan", "disabled by an operator (fan)"),
        ("", "disabled by an operator (no reason given)"),
        ("AUTO: libvirt", "disabled by Nova (AUTO: libvirt)"),
        ("\x1b[2J\n", "disabled by an operator (?[2J)"),
    ],
)
def test_the_status_says_whose_it_is(reason: str | None, line: str) -> None:
    assert str(_service(reason)) == line
