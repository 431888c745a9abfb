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
"""YAML text to a small tree of nodes with line numbers, whatever the text.

The tree is built from the parser's events, not composed or constructed:
the text of a value counts, and not what YAML 1.1 makes of it (``4:1`` is
241 there, ``on`` is true); depth and size are bounded, with what aliases
stand for counted in full; and a key is there once.
"""

import collections.abc
import dataclasses
import re

import yaml

from mig_placement import exception

MAX_BYTES = 1 << 20
# mig-parted's own file for all its models has some 2,500 nodes.
_MAX_NODES = 100_000
# The deepest value of a layout is at 7.
_MAX_DEPTH = 32

# libyaml is 10 times as fast; both parse the same.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What YAML does not allow to be written unescaped, less what would be
# refused for its place and not for itself. NUL is among it.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NULL = frozenset({"", "~", "null", "Null", "NULL"})


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value.

    :ivar plain: written without quotes.
    :ivar size: number of nodes, aliases counted as what they stand for;
        so for every kind of node.
    """

    text: str
    plain: bool
    line: int
    size: int = 1

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in _NULL


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    items: tuple["Node", ...]
    line: int
    size: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """Pairs in the order of the file, merge keys (``<<``) resolved."""

    pairs: tuple[tuple[Scalar, "Node"], ...]
    line: int
    size: int


Node = Scalar | Sequence | Mapping


def where(source: str, line: int, label: str = "") -> str:
    """``file:line (label x)``, for an error."""
    return f"{source}:{line}" + (f" (label {label})" if label else "")


def read(raw: bytes, source: str) -> Node:
    """The tree of a file's content.

    :param source: the file's name, for errors.
    :raises LayoutError: it is not one YAML document of a sane size.
    """
    text = _decode(raw, source)
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _syntax_error(error, source) from None
    except RecursionError:
        raise _too_deep(source, 1) from None
    return builder.root()


def _decode(raw: bytes, source: str) -> str:
    if len(raw) > MAX_BYTES:
        raise exception.LayoutError(
            f"more than {MAX_BYTES} bytes", where=source, mend="split it"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise exception.LayoutError(
            "not UTF-8", where=where(source, line), mend="save it as UTF-8"
        ) from None
    control = _CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        raise exception.LayoutError(
            f"control character {control[0]!r}",
            where=where(source, line),
            mend="remove it",
        )
    return text


def _syntax_error(error: yaml.YAMLError, source: str) -> exception.LayoutError:
    mark = getattr(error, "problem_mark", None) or getattr(
        error, "context_mark", None
    )
    problem = getattr(error, "problem", None) or getattr(
        error, "reason", "it cannot be parsed"
    )
    return exception.LayoutError(
        f"no valid YAML: {problem}",
        where=where(source, mark.line + 1) if mark else source,
        mend="check indents; quote what begins with * or has a colon",
    )


def _too_deep(source: str, line: int) -> exception.LayoutError:
    return exception.LayoutError(
        f"nested more than {_MAX_DEPTH} deep",
        where=where(source, line),
        mend="a layout has labels, entries and mig-devices, no more",
    )


@dataclasses.dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    is_mapping: bool
    line: int
    anchor: str | None
    children: list[Node] = dataclasses.field(default_factory=list)


class _Builder:
    """Takes the parser's events one by one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents: list[Node] = []
        self._taken = 0

    def root(self) -> Node:
        if not self._documents:
            raise self._error(1, "empty", "write version and mig-configs")
        return self._documents[0]

    def take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line = mark.line + 1 if mark else 1
        self._taken += 1
        # Early, for the memory's sake; a collection makes two events.
        self._check_size(self._taken // 2, line)
        if isinstance(event, yaml.DocumentStartEvent) and self._documents:
            raise self._error(line, "a second document", "keep one of them")
        if isinstance(event, yaml.AliasEvent):
            self._add(self._aliased(str(event.anchor), line))
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _error(self, line: int, what: str, mend: str) -> exception.LayoutError:
        return exception.LayoutError(
            what, where=where(self._source, line), mend=mend
        )

    def _check_size(self, size: int, line: int) -> None:
        if size > _MAX_NODES:
            raise self._error(
                line,
                f"more than {_MAX_NODES} values, aliases counted in full",
                "split it",
            )

    def _aliased(self, anchor: str, line: int) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            what = "contains itself" if anchor in self._anchors else "unknown"
            raise self._error(line, f"alias *{anchor}: {what}", "write it out")
        return node

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        self._refuse_tag(event, line)
        node = Scalar(event.value, plain=not event.style, line=line)
        self._add(node, event.anchor)

    def _refuse_tag(
        self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int
    ) -> None:
        if event.tag is not None:
            raise self._error(
                line, f"YAML tag {event.tag[:64]}", "remove the tag"
            )

    def _begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        self._refuse_tag(event, line)
        if len(self._open) >= _MAX_DEPTH:
            raise _too_deep(self._source, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(is_mapping, line, event.anchor))

    def _end(self) -> None:
        ended = self._open.pop()
        size = 1 + sum(child.size for child in ended.children)
        # Before anything is done with the children: it may be a bomb.
        self._check_size(size, ended.line)
        if ended.is_mapping:
            self._add(self._mapping(ended, size), ended.anchor)
        else:
            items = tuple(ended.children)
            self._add(Sequence(items, ended.line, size), ended.anchor)

    def _add(self, node: Node, anchor: str | None = None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._documents.append(node)

    def _mapping(self, ended: _Open, size: int) -> Mapping:
        pairs: dict[str, tuple[Scalar, Node]] = {}
        merged: list[tuple[Scalar, Node]] = []
        children = iter(ended.children)
        for key, value in zip(children, children, strict=True):
            if not isinstance(key, Scalar):
                raise self._error(key.line, "a key is no text", "name it")
            if key.plain and key.text == "<<":
                merged += self._merged(value, key.line)
                continue
            if key.text in pairs:
                raise self._twice(key, pairs[key.text][0])
            pairs[key.text] = key, value
        for key, value in merged:
            pairs.setdefault(key.text, (key, value))
        return Mapping(tuple(pairs.values()), ended.line, size)

    def _twice(self, key: Scalar, first: Scalar) -> exception.LayoutError:
        return self._error(
            key.line,
            f"{key.text[:64]!r} is there twice, first in line {first.line}",
            "keep one of them",
        )

    def _merged(
        self, value: Node, line: int
    ) -> collections.abc.Iterator[tuple[Scalar, Node]]:
        sources = value.items if isinstance(value, Sequence) else (value,)
        for source in sources:
            if not isinstance(source, Mapping):
                raise self._error(
                    line, "<< merges what is no mapping", "write it out"
                )
            yield from source.pairs
