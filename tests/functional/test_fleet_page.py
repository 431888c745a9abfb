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

"""The fleet's page, in a real browser, of a real Placement."""

import json
import pathlib
from collections.abc import Iterator

import pytest

from mig_placement import exception
from tests.functional import chromium
from tests.functional import fleets
from tests.functional import gpu_node

Node = gpu_node.GpuNode
Browser = chromium.Browser

needs_browser = pytest.mark.skipif(
    chromium.path() is None,
    reason="there is no Chromium; CHROMIUM may name one",
)

_SHOWN = """[...document.querySelectorAll(".gpu")].filter(
    (each) => each.checkVisibility()
).map((each) => each.closest(".node").querySelector("h2").textContent)"""


@pytest.fixture
def page(node: Node) -> pathlib.Path:
    """Three nodes, one blocked, one with a layout of its own."""
    made = fleets.Builder(node.cloud)
    first = made.node("n1", {fleets.SMALL: 7})
    made.node("n2", {fleets.SMALL: 6}, reasons=("INSTANCE_MISSING",))
    made.node("<b>n3</b>", {fleets.LARGE: 2}, layout="two-3g")
    node.cloud.allocate({first: {fleets.SMALL: 3}})
    path = node.folder / "fleet.html"
    done = node.tool("fleet", "--html", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "3 nodes, 3 GPUs: 2 open, 1 blocked."
        " 15 slices: 3 used, 6 free, 6 blocked.\n"
    )
    return path


@pytest.fixture
def browser(tmp_path: pathlib.Path) -> Iterator[Browser]:
    with chromium.Browser(tmp_path) as started:
        yield started


def _set(browser: Browser, field: str, value: str) -> list[str]:
    """Fill in a field as a person does; nodes of the GPUs then shown."""
    browser.value(
        f"""(() => {{
            const field = document.getElementById({json.dumps(field)});
            field.value = {json.dumps(value)};
            field.dispatchEvent(new Event("input", {{bubbles: true}}));
            return new Promise((done) => setTimeout(done, 400));
        }})()"""
    )
    return _shown(browser)


def _shown(browser: Browser) -> list[str]:
    found: list[str] = browser.value(_SHOWN)
    return found


def test_a_file_that_cannot_be_written_is_one_line(node: Node) -> None:
    done = node.tool("fleet", "--html", str(node.folder / "no" / "where"))
    assert done.returncode == exception.EXIT_USAGE
    assert len(done.stderr.splitlines()) == 1


@needs_browser
def test_search_and_filters_leave_what_fits(
    page: pathlib.Path, browser: Browser
) -> None:
    browser.open(page)
    assert _shown(browser) == ["<b>n3</b>", "n1", "n2"]
    assert _set(browser, "search", "missing N2") == ["n2"]
    said = 'document.getElementById("shown").textContent'
    assert browser.value(said) == "1 of 3 GPUs shown"
    assert _set(browser, "search", "") == ["<b>n3</b>", "n1", "n2"]
    assert _set(browser, "gate", "blocked") == ["n2"]
    assert _set(browser, "gate", "open") == ["<b>n3</b>", "n1"]
    assert _set(browser, "class", fleets.LARGE) == ["<b>n3</b>"]
    assert _set(browser, "layout", "ALL_1G_5GB") == []
    browser.value('document.querySelector("button").click()')
    assert _set(browser, "search", "") == ["<b>n3</b>", "n1", "n2"]


@needs_browser
def test_without_scripts_everything_is_shown(
    page: pathlib.Path, browser: Browser
) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(page)
    assert _shown(browser) == ["<b>n3</b>", "n1", "n2"]
    form = 'document.getElementById("filters").checkVisibility()'
    assert browser.value(form) is False


@needs_browser
def test_nothing_is_asked_for_and_nothing_can_be(
    page: pathlib.Path, browser: Browser
) -> None:
    browser.open(page)
    assert browser.requested() == [page.as_uri()]
    errors = [e for e in browser.events if e["method"] == "Log.entryAdded"]
    assert errors == []
    refused = """new Promise((done) => {
        document.addEventListener("securitypolicyviolation",
            (event) => done(event.effectiveDirective));
        document.body.append(Object.assign(
            new Image(), {src: "http://192.0.2.1/x.png"}));
    })"""
    assert browser.value(refused) == "img-src"


@needs_browser
def test_a_screen_reader_gets_headings_numbers_and_no_boxes(
    page: pathlib.Path, browser: Browser
) -> None:
    # So small that nearly nothing is in sight.
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=400,
        height=60,
        deviceScaleFactor=1,
        mobile=False,
    )
    browser.open(page)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    told = [
        (each["role"]["value"], each.get("name", {}).get("value"))
        for each in nodes
        if not each["ignored"]
    ]
    assert [role for role, _ in told].count("heading") == 1 + 3 + 3
    assert ("heading", "n2") in told
    assert ("heading", "0000:41:00.0 blocked") in told
    assert ("searchbox", "Search") in told
    assert ("combobox", "Gate") in told
    line = f"{fleets.SMALL}: 3 used, 4 free"
    assert ("StaticText", line) in told
    assert "\u25cf" not in json.dumps(told, ensure_ascii=False)


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(
    scheme: str, page: pathlib.Path, browser: Browser
) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.call("Emulation.setEmulatedMedia", features=[feature])
    browser.open(page)
    for selector in ("body", ".gpu .soft", ".u.used", ".u.blocked"):
        # 4.5 to 1 is what WCAG 2.2 (1.4.3) asks of text.
        assert _contrast(browser, selector) >= 4.5, selector


def _contrast(browser: Browser, selector: str) -> float:
    colours = browser.value(
        f"""(() => {{
            let one = document.querySelector({json.dumps(selector)});
            const ink = getComputedStyle(one).color;
            const clear = "rgba(0, 0, 0, 0)";
            while (getComputedStyle(one).backgroundColor === clear)
                one = one.parentElement;
            return [ink, getComputedStyle(one).backgroundColor];
        }})()"""
    )
    light, dark = sorted(map(_luminance, colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of ``rgb(1, 2, 3)``, as WCAG defines it."""
    parts = colour.removeprefix("rgb(").removesuffix(")").split(", ")
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (int(part) / 255 for part in parts)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
