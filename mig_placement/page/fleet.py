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
"""The fleet as one HTML page that needs nothing else; pure but for its parts.

It holds for the page: all that comes from Placement is escaped; no inline
style or handler, so that the policy allows one style and one script by their
hashes and nothing from the network; everything is shown where scripts are
off; and nothing is told by colour alone.
"""

import base64
import collections.abc
import datetime
import hashlib
import html
import importlib.resources

from mig_placement.placement import fleet

# Of a class; Placement takes totals of any size, a browser does not.
_MOST_UNITS = 64

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>MIG fleet</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>MIG fleet</h1>
<p>{summary}</p>
<p class="soft">Read from Placement at <time datetime="{time}">{time}</time>\
</p>
{notes}</header>
{form}
<main>
{legend}
{totals}
{nodes}
</main>
<script>{script}</script>
</body>
</html>
"""

_FORM = """\
<form id="filters" role="search" aria-label="GPUs" hidden>
<label>Search <input id="search" type="search" autocomplete="off" \
placeholder="node, address, reason"></label>
<label>Gate <select id="gate"><option value="">all</option>\
<option value="open">open</option><option value="blocked">blocked</option>\
</select></label>
<label>Class <select id="class">{classes}</select></label>
<label>Layout <select id="layout">{layouts}</select></label>
<button type="reset">Show all</button>
<output id="shown" aria-live="polite" class="soft"></output>
</form>"""

_LEGEND = """\
<ul class="legend" aria-label="Legend">
<li><i class="u free" aria-hidden="true"></i> free, empty box</li>
<li><i class="u used" aria-hidden="true"></i> used by a VM, dot</li>
<li><i class="u blocked" aria-hidden="true"></i> blocked, cross: no VM has it \
and none gets it</li>
</ul>"""

_HEAD = "".join(
    f'<th scope="col">{name}</th>'
    for name in ("Class", "GPUs", "Total", "Used", "Free", "Blocked")
)


def page(found: fleet.Fleet, at: datetime.datetime) -> str:
    """The whole page.

    :param at: when the fleet was read, with its time zone.
    """
    style, script = _part("fleet.css"), _part("fleet.js")
    return _PAGE.format(
        policy=_policy(style, script),
        style=style,
        script=script,
        summary=_text(fleet.summary(found)),
        time=_text(at.isoformat(timespec="seconds")),
        notes=_notes(found),
        form=_form(found),
        legend=_LEGEND,
        totals=_totals(found),
        nodes="\n".join(
            _node(number, node) for number, node in enumerate(found.nodes)
        ),
    )


def _part(name: str) -> str:
    return (importlib.resources.files(__package__) / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    return (
        "default-src 'none';"
        f" style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _notes(found: fleet.Fleet) -> str:
    """What is missing on the page."""
    lines = [
        *found.notes,
        *(f"{g.node} {g.address}: {g.trouble}" for g in found.troubled),
    ]
    if not lines:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return (
        f'<details class="notes"><summary>Not all could be read:'
        f" {len(lines)}</summary><ul>{items}</ul></details>\n"
    )


def _form(found: fleet.Fleet) -> str:
    classes = {row.name for gpu in found.gpus for row in gpu.rows}
    layouts = {gpu.layout for gpu in found.gpus if gpu.layout}
    return _FORM.format(classes=_options(classes), layouts=_options(layouts))


def _options(values: collections.abc.Iterable[str]) -> str:
    named = "".join(
        f'<option value="{_text(value)}">{_text(value)}</option>'
        for value in sorted(values)
    )
    return f'<option value="">all</option>{named}'


def _totals(found: fleet.Fleet) -> str:
    counts: dict[str, int] = {}
    for gpu in found.gpus:
        for row in gpu.rows:
            counts[row.name] = counts.get(row.name, 0) + 1
    rows = "".join(
        f'<tr><th scope="row">{_text(row.name)}</th>'
        + "".join(f"<td>{each}</td>" for each in (counts[row.name], *_of(row)))
        + "</tr>"
        for row in fleet.totals(found.gpus)
    )
    return (
        '<div class="totals" role="region" aria-label="Totals" tabindex="0">'
        "<table><caption>Units by class, of the whole"
        f" fleet</caption><thead><tr>{_HEAD}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _of(row: fleet.ClassRow) -> tuple[int, ...]:
    return row.total, row.used, row.free, row.blocked


def _node(number: int, node: fleet.Node) -> str:
    gpus = "\n".join(map(_gpu, node.gpus))
    is_open = sum(gpu.is_open for gpu in node.gpus)
    return (
        f'<section class="node" aria-labelledby="n{number}">\n'
        f'<h2 id="n{number}">{_text(node.name)}</h2>\n'
        f'<p class="soft">{is_open} of {len(node.gpus)} GPUs open</p>\n'
        f'<ul class="gpus" role="list">\n{gpus}\n</ul>\n</section>'
    )


def _gpu(gpu: fleet.Gpu) -> str:
    gate = "open" if gpu.is_open else "blocked"
    classes = " ".join(row.name for row in gpu.rows)
    return (
        f'<li class="gpu {gate}" data-gate="{gate}"'
        f' data-classes="{_text(classes)}" data-layout="{_text(gpu.layout)}">'
        f'<h3>{_text(gpu.address)} <span class="gate">{gate}</span></h3>'
        f"{_why(gpu)}{_about(gpu)}"
        f'<ul role="list">{"".join(map(_row, gpu.rows))}</ul></li>'
    )


def _why(gpu: fleet.Gpu) -> str:
    lines = [f"Why: {', '.join(gpu.reasons)}"] if gpu.reasons else []
    lines += [f"Not read: {gpu.trouble}"] if gpu.trouble else []
    return "".join(f"<p>{_text(line)}</p>" for line in lines)


def _about(gpu: fleet.Gpu) -> str:
    known = (("Product", gpu.product), ("Layout", gpu.layout))
    line = "; ".join(f"{name} {value}" for name, value in known if value)
    return f'<p class="soft">{_text(line)}</p>' if line else ""


def _row(row: fleet.ClassRow) -> str:
    """The boxes are for the eye; a screen reader gets the numbers."""
    return (
        f'<li><span class="soft">{_text(row.name)}: {_counts(row)}</span>'
        f'<div class="units" aria-hidden="true">{_units(row)}</div></li>'
    )


def _counts(row: fleet.ClassRow) -> str:
    """Without what there is none of: most GPUs are open."""
    told = ", ".join(f"{count} {state}" for state, count in _states(row))
    return told or "none"


def _states(row: fleet.ClassRow) -> list[tuple[str, int]]:
    states = ("used", row.used), ("free", row.free), ("blocked", row.blocked)
    return [(state, count) for state, count in states if count]


def _units(row: fleet.ClassRow) -> str:
    wide = fleet.width(row.name)
    drawn = ""
    left = _MOST_UNITS
    for state, count in _states(row):
        drawn += f'<i class="u {state} w{wide}"></i>' * min(count, left)
        left -= min(count, left)
    more = row.used + row.free + row.blocked - (_MOST_UNITS - left)
    return drawn + (f'<span class="soft">and {more} more</span>' * (more > 0))
