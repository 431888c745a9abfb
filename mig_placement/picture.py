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
"""From what was observed and declared to the picture that decides; pure."""

import collections.abc

from mig_placement import exception
from mig_placement.geometry import compare
from mig_placement.geometry import functions
from mig_placement.geometry import layout
from mig_placement.geometry import layout_file
from mig_placement.geometry import verdict as verdicts
from mig_placement.hardware import model
from mig_placement.placement import desired
from mig_placement.placement import names

Reason = verdicts.Reason


def closed(reason: Reason, detail: str) -> desired.Picture:
    """A picture of nothing but a reason to be closed."""
    finding = verdicts.Finding(reason, detail)
    return desired.Picture(verdicts.Verdict(findings=(finding,)))


def judged(
    node: model.Node,
    declared: layout_file.LayoutFile | exception.LayoutError,
    host: str,
    label: str,
    rules: desired.Rules,
    ailments: collections.abc.Collection[model.Ailment] = (),
) -> desired.Picture:
    """The picture of a node that was observed.

    :param declared: the layout file, or why it cannot be had.
    :param label: [layout] config.
    """
    try:
        if isinstance(declared, exception.LayoutError):
            raise declared
        wanted = layout.resolve(declared, host, label, node)
        compared = compare.compare(node, wanted, ailments)
        verdict = functions.judge(compared, node, wanted, rules.way)
        _check_classes(verdict, rules)
    except exception.LayoutError as error:
        return _not_judged(node, Reason.LAYOUT_INVALID, error)
    except exception.ConfigError as error:
        return _not_judged(node, Reason.CONFIG_INVALID, error)
    return desired.Picture(
        verdict,
        node,
        wanted.label,
        wanted=wanted,
        ailments=frozenset(ailments),
    )


def _not_judged(
    node: model.Node, reason: Reason, error: Exception
) -> desired.Picture:
    finding = verdicts.Finding(reason, str(error))
    return desired.Picture(verdicts.Verdict(findings=(finding,)), node)


def _check_classes(verdict: verdicts.Verdict, rules: desired.Rules) -> None:
    """:raises ConfigError: two profiles of the node share a class."""
    profiles = [name for gpu in verdict.gpus for name, _ in gpu.units]
    names.class_names(profiles, rules.classes)
