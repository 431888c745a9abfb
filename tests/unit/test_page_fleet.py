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
"""The page's text; what a browser makes of it is in tests/functional."""

import base64
import datetime
import hashlib
import html.parser
import re

import pytest

from mig_placement.page import fleet as pages
from mig_placement.placement import fleet

_AT = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
_HOSTILE = "</script><img src=x onerror=alert(1)>'\"&{0}"
SMALL = "CUSTOM_MIG_1G_5GB"


def _gpu(
    node: str = "n1",
    *rows: fleet.ClassRow,
    reasons: tuple[str, ...] = (),
    trouble: str = "",
) -> fleet.Gpu:
    return fleet.Gpu(
        "u", node, "0000:41:00.0", "", reasons, "L", "A100", rows, trouble
    )


def _page(*gpus: fleet.Gpu, notes: tuple[str, ...] = ()) -> str:
    return pages.page(fleet.Fleet(gpus, notes), _AT)


class _Elements(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, tag: str) -> int:
        return sum(each == tag for each, _ in self.found)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_page(_gpu(_HOSTILE)), id="node"),
        pytest.param(
            _page(_gpu("n", fleet.ClassRow(_HOSTILE, 1))), id="class"
        ),
        pytest.param(_page(_gpu(reasons=(_HOSTILE,))), id="reason"),
        pytest.param(_page(_gpu(trouble=_HOSTILE)), id="trouble"),
        pytest.param(_page(notes=(_HOSTILE,)), id="note"),
        pytest.param(
            _page(fleet.Gpu("u", "n", _HOSTILE, "", (), _HOSTILE, _HOSTILE)),
            id="address, layout, product",
        ),
    ],
)
def test_no_name_becomes_an_element(text: str) -> None:
    elements = _Elements(text)
    assert elements.open == []
    assert elements.count("img") == 0
    assert elements.count("script") == 1
    assert "&lt;img" in text


def test_one_style_and_one_script_are_allowed_by_their_hashes() -> None:
    text = _page()
    policy = re.search(r'Policy" content="([^"]*)"', text)
    assert policy
    for tag in ("style", "script"):
        (part,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = hashlib.sha256(part.encode()).digest()
        wanted = base64.b64encode(digest).decode()
        assert f"{tag}-src 'sha256-{wanted}';" in policy[1]
    assert policy[1].startswith("default-src 'none';")
    assert "unsafe" not in policy[1]


def test_nothing_on_the_page_needs_the_policy_to_be_wider() -> None:
    text = _page(_gpu("n1", fleet.ClassRow(SMALL, 7, 3, 0, 4)))
    for _, attributes in _Elements(text).found:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert not {"src", "href"} & set(attributes)
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text


def test_each_unit_is_a_box_as_wide_as_its_slices() -> None:
    row = fleet.ClassRow("CUSTOM_MIG_3G_20GB", 3, 1, 0, 1)
    text = _page(_gpu("n1", row))
    for state in ("used", "free", "blocked"):
        assert text.count(f'<i class="u {state} w3"></i>') == 1
    assert "1 used, 1 free, 1 blocked</span>" in text


def test_a_total_without_an_end_does_not_draw_without_an_end() -> None:
    text = _page(_gpu("n1", fleet.ClassRow(SMALL, 2**31, 100, 0, 0)))
    assert text.count('<i class="u used w1">') == 64
    assert f"and {2**31 - 64} more" in text


def test_a_blocked_gpu_says_so_in_words() -> None:
    text = _page(_gpu(reasons=("HOLD", "GPU_LOST")))
    assert '<span class="gate">blocked</span>' in text
    assert "Why: HOLD, GPU_LOST" in text


def test_the_search_is_hidden_until_a_script_shows_it() -> None:
    forms = [a for tag, a in _Elements(_page()).found if tag == "form"]
    assert [("hidden" in attributes) for attributes in forms] == [True]


def test_an_empty_fleet_is_a_page() -> None:
    assert "0 nodes, 0 GPUs" in _page()
