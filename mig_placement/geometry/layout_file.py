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
"""The layout file: mig-parted's format and our additions, read and valid."""

import collections.abc
import errno
import os
import stat
import types

from mig_placement import exception
from mig_placement.geometry import declared
from mig_placement.geometry import entry_parser
from mig_placement.geometry import profile_name
from mig_placement.geometry import walker
from mig_placement.geometry import yaml_tree

LayoutFile = declared.LayoutFile

_FIELDS = ("version", "mig-configs", "mig-nodes")
_VERSION = "v1"


def load(path: str | os.PathLike[str]) -> LayoutFile:
    """Read and validate a layout file.

    :raises LayoutError: it cannot be read or is not valid.
    """
    source = os.fspath(path)
    return parse(_read(source), source)


def parse(raw: bytes, source: str) -> LayoutFile:
    """Validate a layout file's content.

    :param source: the file's name, for errors.
    :raises LayoutError: it is not valid.
    """
    root = yaml_tree.read(raw, source)
    walk = walker.Walker(source)
    fields = walk.fields(root, "the file", _FIELDS)
    version = walk.required(fields, "version", root, "add version: v1")
    if walker.text(version) != _VERSION:
        raise walk.error(version, "version is not v1", "write version: v1")
    labels = _labels(
        walk, walk.required(fields, "mig-configs", root, "declare a label")
    )
    hosts = fields.get("mig-nodes")
    return LayoutFile(
        source=source,
        labels=types.MappingProxyType(labels),
        hosts=_hosts(walk, hosts, labels) if hosts else (),
    )


def _read(source: str) -> bytes:
    try:
        return _content(source)
    except (OSError, ValueError) as error:
        # ValueError: a NUL byte in the path, or no plain file.
        raise exception.LayoutError(
            f"cannot be read: {getattr(error, 'strerror', None) or error}",
            where=source,
            mend=_read_mend(error),
        ) from None


def _read_mend(error: Exception) -> str:
    if getattr(error, "errno", None) in (errno.EACCES, errno.EPERM):
        return "let the agent's user read it"
    return "let [layout] file name a layout file"


def _content(source: str) -> bytes:
    # Not blocking: it may be a FIFO that nobody writes to.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    handle = os.open(source, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("not a plain file")
        return _bytes(handle, yaml_tree.MAX_BYTES + 1)
    finally:
        os.close(handle)


def _bytes(handle: int, most: int) -> bytes:
    content = b""
    while len(content) < most:
        more = os.read(handle, most - len(content))
        if not more:
            break
        content += more
    return content


def _labels(
    walk: walker.Walker, node: yaml_tree.Node
) -> dict[str, declared.Label]:
    pairs = walk.pairs(node, "mig-configs")
    if not pairs:
        raise walk.error(node, "mig-configs: empty", "declare a label")
    return {key.text: _label(walk, key, value) for key, value in pairs}


def _label(
    walk: walker.Walker, key: yaml_tree.Scalar, node: yaml_tree.Node
) -> declared.Label:
    name = walk.name(key, "mig-configs")
    inside = walker.Walker(walk.source, name)
    entries = tuple(
        entry_parser.entry(inside, item)
        for item in inside.items(node, "the label")
    )
    return declared.Label(name, key.line, entries)


def _hosts(
    walk: walker.Walker,
    node: yaml_tree.Node,
    labels: collections.abc.Collection[str],
) -> tuple[declared.HostRule, ...]:
    return tuple(
        declared.HostRule(
            glob=walk.name(key, "mig-nodes"),
            label=_known_label(walk, value, labels),
            line=key.line,
        )
        for key, value in walk.pairs(node, "mig-nodes")
    )


def _known_label(
    walk: walker.Walker,
    node: yaml_tree.Node,
    labels: collections.abc.Collection[str],
) -> str:
    label = walk.name(node, "mig-nodes")
    if label not in labels:
        raise walk.error(
            node,
            f"mig-nodes: no label {profile_name.shortened(label)!r}",
            f"mig-configs has {walker.listed(labels)}"
            f"{profile_name.meant(label, labels)}",
        )
    return label
