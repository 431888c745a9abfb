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
"""Which label of a layout file a host has."""

import fnmatch

from mig_placement import exception
from mig_placement.geometry import declared
from mig_placement.geometry import profile_name
from mig_placement.geometry import walker
from mig_placement.geometry import yaml_tree


def select(
    layout_file: declared.LayoutFile, host: str, configured: str = ""
) -> declared.Label:
    """The file's mig-nodes first, then the configuration, then the only one.

    In mig-nodes the exact host name counts before every glob, and of the
    globs the first in the file.

    :param configured: [layout] config.
    :raises LayoutError: no label, or one that the file does not have.
    """
    rule = _rule(layout_file, host)
    if rule is not None:
        return layout_file.labels[rule.label]
    if configured:
        return _configured(layout_file, configured)
    if len(layout_file.labels) == 1:
        return next(iter(layout_file.labels.values()))
    raise exception.LayoutError(
        f"no label for host {host}",
        where=layout_file.source,
        mend="set [layout] config, or mig-nodes in the file, to one of"
        f" {walker.listed(layout_file.labels)}",
    )


def _rule(
    layout_file: declared.LayoutFile, host: str
) -> declared.HostRule | None:
    name = host.lower()
    fitting = [
        rule
        for rule in layout_file.hosts
        if rule.glob.lower() == name
        or fnmatch.fnmatchcase(name, rule.glob.lower())
    ]
    exact = [rule for rule in fitting if rule.glob.lower() == name]
    return next(iter(exact + fitting), None)


def _configured(
    layout_file: declared.LayoutFile, configured: str
) -> declared.Label:
    label = layout_file.labels.get(configured)
    if label is None:
        raise exception.LayoutError(
            f"no label {profile_name.shortened(configured)!r}",
            where=yaml_tree.where(layout_file.source, 1),
            mend=f"the file has {walker.listed(layout_file.labels)}"
            f"{profile_name.meant(configured, layout_file.labels)}",
        )
    return label
