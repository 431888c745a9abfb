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
"""Typed access to a layout file's tree, with an error for what is amiss."""

import collections.abc

from mig_placement import exception
from mig_placement.geometry import profile_name
from mig_placement.geometry import yaml_tree

_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_LONGEST_NAME = 200


def text(node: yaml_tree.Node) -> str:
    """The text as written, quoted or not; nothing of a collection."""
    return node.text if isinstance(node, yaml_tree.Scalar) else ""


def plain(node: yaml_tree.Node) -> str:
    """The text where it is not quoted, else nothing."""
    is_plain = isinstance(node, yaml_tree.Scalar) and node.plain
    return text(node) if is_plain else ""


def is_null(node: yaml_tree.Node | None) -> bool:
    return node is None or (
        isinstance(node, yaml_tree.Scalar) and node.is_null
    )


def listed(names: collections.abc.Collection[str], most: int = 12) -> str:
    """Names for an error line."""
    shown = ", ".join(profile_name.shortened(n) for n in list(names)[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown


class Walker:
    """Knows the file and the label that the errors are to name.

    Every method raises LayoutError where the node is not what it is to
    be; ``name`` is the field's, for the text.
    """

    def __init__(self, source: str, label: str = "") -> None:
        self.source = source
        self.label = label

    def error(
        self, node: yaml_tree.Node, what: str, mend: str
    ) -> exception.LayoutError:
        return exception.LayoutError(
            what,
            where=yaml_tree.where(self.source, node.line, self.label),
            mend=mend,
        )

    def pairs(
        self, node: yaml_tree.Node, name: str
    ) -> tuple[tuple[yaml_tree.Scalar, yaml_tree.Node], ...]:
        if not isinstance(node, yaml_tree.Mapping):
            raise self.error(
                node, f"{name}: no mapping", "write it as 'key: value' lines"
            )
        return node.pairs

    def items(
        self, node: yaml_tree.Node, name: str
    ) -> tuple[yaml_tree.Node, ...]:
        if not isinstance(node, yaml_tree.Sequence) or not node.items:
            raise self.error(
                node,
                f"{name}: no list with something in it",
                "write each item on a line after '-'",
            )
        return node.items

    def fields(
        self, node: yaml_tree.Node, name: str, known: tuple[str, ...]
    ) -> dict[str, yaml_tree.Node]:
        fields = {}
        for key, value in self.pairs(node, name):
            if key.text not in known:
                raise self.error(
                    key,
                    f"unknown field {profile_name.shortened(key.text)!r}",
                    f"known are {', '.join(known)}"
                    f"{profile_name.meant(key.text, known)}",
                )
            fields[key.text] = value
        return fields

    def required(
        self,
        fields: dict[str, yaml_tree.Node],
        name: str,
        parent: yaml_tree.Node,
        mend: str,
    ) -> yaml_tree.Node:
        node = fields.get(name)
        if node is None:
            raise self.error(parent, f"no {name}", mend)
        return node

    def boolean(self, node: yaml_tree.Node, name: str) -> bool:
        # As YAML 1.1 and mig-parted have it: on and yes are true.
        word = plain(node)
        if word in {word.lower(), word.capitalize(), word.upper()}:
            if word.lower() in _TRUE:
                return True
            if word.lower() in _FALSE:
                return False
        raise self.error(
            node,
            f"{name}: neither true nor false",
            "write true or false, without quotes",
        )

    def name(self, node: yaml_tree.Node, name: str) -> str:
        """A label's or a host's, as written, quoted or not."""
        written = text(node)
        if not written.strip() or not written.isprintable():
            raise self.error(node, f"{name}: no name", "write a name")
        if len(written) > _LONGEST_NAME:
            raise self.error(
                node,
                f"{name}: a name of more than {_LONGEST_NAME} characters",
                "shorten it",
            )
        return written
