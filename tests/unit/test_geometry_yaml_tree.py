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
"""YAML to a bounded tree with lines."""

import re
import time

import hypothesis
import pytest
import yaml
from hypothesis import strategies as st

from mig_placement import exception
from mig_placement.geometry import yaml_tree

Plain = str | list["Plain"] | dict[str, "Plain"]


def _read(text: str) -> yaml_tree.Node:
    return yaml_tree.read(text.encode(), "l.yaml")


def _complaint(raw: bytes) -> str:
    """The error's line, empty where there is none."""
    try:
        yaml_tree.read(raw, "l.yaml")
    except exception.LayoutError as error:
        return str(error)
    return ""


def _plain(node: yaml_tree.Node) -> Plain:
    if isinstance(node, yaml_tree.Scalar):
        return node.text
    if isinstance(node, yaml_tree.Sequence):
        return [_plain(item) for item in node.items]
    return {key.text: _plain(value) for key, value in node.pairs}


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def each_loader(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libyaml may not be there."""
    loader = getattr(yaml, request.param)
    monkeypatch.setattr(yaml_tree, "_LOADER", loader)


def test_the_text_counts_and_not_what_yaml_makes_of_it() -> None:
    text = "{a: 4:1, b: 0x1F, c: on, d: 010, e: 41:00.0, f: ~, g: 1_0}"
    assert _plain(_read(text)) == {
        "a": "4:1",
        "b": "0x1F",
        "c": "on",
        "d": "010",
        "e": "41:00.0",
        "f": "~",
        "g": "1_0",
    }


@pytest.mark.usefixtures("each_loader")
def test_every_node_knows_its_line() -> None:
    root = _read("a: 1\nb:\n  - x\n  - y: z\n")
    assert isinstance(root, yaml_tree.Mapping)
    assert [key.line for key, _ in root.pairs] == [1, 2]
    items = root.pairs[1][1]
    assert isinstance(items, yaml_tree.Sequence)
    assert [item.line for item in items.items] == [3, 4]


def test_quotes_are_seen() -> None:
    root = _read("[a, 'a', \"a\"]")
    assert isinstance(root, yaml_tree.Sequence)
    plain = [n.plain for n in root.items if isinstance(n, yaml_tree.Scalar)]
    assert plain == [True, False, False]


def test_anchors_and_merges_are_resolved() -> None:
    text = """
    base: &base {x: 1, y: 2}
    more: &more {y: 3, z: 4}
    one: {<<: *base, y: 9}
    two: {<<: [*base, *more]}
    same: *base
    """
    plain = _plain(_read(text))
    assert isinstance(plain, dict)
    assert plain["one"] == {"y": "9", "x": "1"}
    assert plain["two"] == {"x": "1", "y": "2", "z": "4"}
    assert plain["same"] == {"x": "1", "y": "2"}


@pytest.mark.usefixtures("each_loader")
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "l.yaml:1: empty"),
        ("# nothing", "l.yaml:1: empty"),
        ("a: 1\nb: 2\na: 3", "l.yaml:3: 'a' is there twice, first in line 1"),
        ("a: 1\n---\nb: 1", "l.yaml:2: a second document"),
        ("a: &x [*x]", r"l.yaml:1: alias \*x: contains itself"),
        ("a: 1\nb: *y", r"l.yaml:2: alias \*y: unknown"),
        ("a: !!python/object:os.system x", "YAML tag .*python/object"),
        ("a: !x [1]", "YAML tag !x"),
        ("? [a]\n: b", "a key is no text"),
        ("<<: 5", "<< merges what is no mapping"),
        ("a: b\n c: d", "l.yaml:2: no valid YAML: mapping values"),
        ("a: 'x", "no valid YAML"),
        ("a: [", "no valid YAML"),
        ("\ta: b", "no valid YAML"),
        ("a: b\nc: \x00", r"l.yaml:2: control character '\\x00'"),
        ("a: \x1b[31m", "control character"),
        ("%YAML 9.0\n---\na", "no valid YAML"),
    ],
)
def test_what_is_amiss_is_named_with_its_line(text: str, error: str) -> None:
    with pytest.raises(exception.LayoutError, match=error) as caught:
        _read(text)
    assert "; " in str(caught.value)


def test_what_is_not_utf8_is_refused_with_its_line() -> None:
    with pytest.raises(exception.LayoutError, match=r"l\.yaml:2: not UTF-8"):
        yaml_tree.read(b"a: b\nc: \xff\n", "l.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert _plain(yaml_tree.read(b"\xef\xbb\xbfa: b", "l")) == {"a": "b"}


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(exception.LayoutError, match="1048576 bytes"):
        yaml_tree.read(b"#" * (yaml_tree.MAX_BYTES + 1), "l.yaml")


def _laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for at in range(1, 60):
        names = ", ".join([f"*a{at - 1}"] * 10)
        lines.append(f"a{at}: &a{at} [{names}]")
    return "\n".join(lines)


def _merge_bomb() -> str:
    pairs = ", ".join(f"k{at}: v" for at in range(2000))
    merges = ", ".join(["*a"] * 100_000)
    return f"a: &a {{{pairs}}}\nb: {{<<: [{merges}]}}"


@pytest.mark.parametrize(
    "bomb",
    [
        _laughs(),
        _merge_bomb(),
        "[" * 500_000,
        "{a: " * 200_000,
        "- " * 400_000,
        "a,\n" * 300_000,
        "[" + "a, " * 300_000 + "]",
        "? " * 100_000,
    ],
    ids=["laughs", "merges", "lists", "maps", "dash", "text", "long", "keys"],
)
def test_a_bomb_goes_off_without_harm(bomb: str) -> None:
    began = time.process_time()
    complaint = _complaint(bomb.encode()[: yaml_tree.MAX_BYTES])
    assert len(complaint) < 300
    # Less than two seconds; without bounds it would be days.
    assert time.process_time() - began < 20


@pytest.mark.usefixtures("each_loader")
@pytest.mark.parametrize("bomb", [_laughs(), "[" * 5_000, "- " * 5_000])
def test_depth_and_size_are_bounded_without_libyaml(bomb: str) -> None:
    assert re.search("nest|more than", _complaint(bomb.encode()))


def test_a_long_file_is_left_where_it_becomes_too_long() -> None:
    complaint = _complaint(b"- a\n" * 250_000)
    assert re.match(r"l\.yaml:199999: more than 100000 values", complaint)


@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_a_layout_error(raw: bytes) -> None:
    assert "\n" not in _complaint(raw)


@hypothesis.given(
    st.text(alphabet="ab:-?[]{}&*!|>'\"%@`#,~< \n\t", max_size=60)
)
def test_any_punctuation_is_a_tree_or_a_layout_error(text: str) -> None:
    assert "\n" not in _complaint(text.encode())
