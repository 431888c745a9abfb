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
"""Dashboard, alert rules and documentation name metrics that exist."""

import configparser
import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from mig_placement.service import measures
from mig_placement.service import metrics

_ROOT = pathlib.Path(__file__).parents[2]
_DASHBOARD = _ROOT / "etc/grafana/mig-placement.json"
_RULES = _ROOT / "etc/prometheus/mig-placement.rules.yml"
_DOC = _ROOT / "doc/source/metrics.rst"
_SELECTOR = re.compile(r"\b(mig_placement_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r'(\w+)=~?"')
# Given by Prometheus, not by us.
_TARGET = {"instance", "job"}


def _served() -> dict[str, set[str]]:
    """Labels by the name under which samples are served."""
    tables = {
        "": metrics.GAUGES,
        "_total": metrics.COUNTERS,
        "_count": metrics.HISTOGRAMS,
        "_sum": metrics.HISTOGRAMS,
        "_bucket": metrics.HISTOGRAMS,
    }
    return {
        f"mig_placement_{name}{suffix}": {
            *labels,
            *(["le"] if suffix == "_bucket" else []),
        }
        for suffix, table in tables.items()
        for name, (labels, _) in table.items()
    }


def _expressions(value: Any) -> list[str]:
    """Everything under an ``expr`` or ``query`` of a parsed file."""
    if isinstance(value, list):
        return [text for each in value for text in _expressions(each)]
    if not isinstance(value, dict):
        return []
    own = [
        str(value[key])
        for key in ("expr", "query")
        if isinstance(value.get(key), str)
    ]
    return own + _expressions(list(value.values()))


def _parsed(path: pathlib.Path) -> Any:
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


@pytest.mark.parametrize("path", [_DASHBOARD, _RULES], ids=lambda p: p.name)
def test_every_metric_and_label_that_is_asked_for_is_served(
    path: pathlib.Path,
) -> None:
    served = _served()
    asked = _SELECTOR.findall("\n".join(_expressions(_parsed(path))))
    assert asked
    for name, selector in asked:
        assert name in served
        assert set(_LABEL.findall(selector)) <= served[name] | _TARGET


@pytest.mark.parametrize("path", [_DASHBOARD, _RULES], ids=lambda p: p.name)
def test_what_prometheus_and_grafana_need_is_shipped(
    path: pathlib.Path,
) -> None:
    parsed = configparser.ConfigParser()
    parsed.read(_ROOT / "setup.cfg")
    shipped = parsed["files"]["data_files"]
    assert f"= {path.parent.relative_to(_ROOT)}/*" in shipped


def test_the_dashboards_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in _parsed(_DASHBOARD)["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24, "Grafana has 24 columns"
        taken |= cells


def test_the_documentation_has_every_metric_with_its_labels_and_text() -> None:
    text = " ".join(_DOC.read_text().split())
    kinds = (
        ("gauge", "", metrics.GAUGES),
        ("counter", "_total", metrics.COUNTERS),
        ("histogram", "", metrics.HISTOGRAMS),
    )
    rows = [
        f"* - ``mig_placement_{name}{suffix}`` - {kind} -"
        f" {', '.join(f'``{each}``' for each in labels) or 'none'} - {what}"
        for kind, suffix, table in kinds
        for name, (labels, what) in table.items()
    ]
    assert [row for row in rows if row not in text] == []
    assert text.count("* - ``mig_placement_") == len(rows)


def _promtool(*arguments: str) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    run = subprocess.run(
        [tool, *arguments],
        cwd=_RULES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_takes_the_rules() -> None:
    _promtool("check", "rules", _RULES.name)


def test_the_rules_fire_when_they_should() -> None:
    _promtool("test", "rules", "mig-placement.rules.test.yml")


def test_promtool_finds_no_fault_with_names_and_units() -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    body, _ = metrics.page(_measured())
    run = subprocess.run(
        [tool, "check", "metrics"],
        input=body,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def _measured() -> measures.Measures:
    """With a status, so that every metric has a sample."""
    measured = measures.Measures()
    moment = "2026-01-01T00:00:00+00:00"
    measured.status = {
        "written": 1.0,
        "gate": {"state": "open", "since": moment, "reasons": []},
        "placement": {
            "in_step": True,
            "root_missing": False,
            "last_success": moment,
        },
        "gpus": [
            {
                "index": 0,
                "uuid": "GPU-0",
                "mig_capable": True,
                "fault": None,
                "reasons": [],
                "units": {"1g.5gb": 1, "1c.3g.20gb": 1},
                "instances": [
                    {"profile": "1g.5gb", "compute_instances": []},
                    {
                        "profile": "3g.20gb",
                        "compute_instances": [
                            {"profile": "1c.3g.20gb"},
                            {"profile": "1c.3g.20gb"},
                        ],
                    },
                ],
            }
        ],
    }
    return measured


def test_every_declared_metric_is_served() -> None:
    families = metrics.Collector(_measured()).collect()
    with_samples = {each.name for each in families if each.samples}
    declared = {*metrics.GAUGES, *metrics.COUNTERS, *metrics.HISTOGRAMS}
    assert with_samples == {f"mig_placement_{name}" for name in declared}


def test_parts_of_an_instance_count_as_what_they_are_offered_as() -> None:
    served = metrics.Collector(_measured()).collect()
    (family,) = (f for f in served if f.name == "mig_placement_instances")
    found = {
        (each.labels["profile"], each.labels["state"]): each.value
        for each in family.samples
        if each.value
    }
    assert found == {
        ("1g.5gb", "offered"): 1,
        ("1c.3g.20gb", "offered"): 1,
        ("1c.3g.20gb", "unfit"): 1,
    }


def test_a_histogram_counts_what_took_longest_too() -> None:
    measured = measures.Measures()
    for seconds in (0.01, 0.02, 1e6):
        measured.request("GET", seconds)
    text = metrics.page(measured)[0].decode()
    name = "mig_placement_placement_request_duration_seconds"
    for line in (
        f'{name}_bucket{{le="0.01",method="GET"}} 1.0',
        f'{name}_bucket{{le="300.0",method="GET"}} 2.0',
        f'{name}_bucket{{le="+Inf",method="GET"}} 3.0',
        f'{name}_count{{method="GET"}} 3.0',
    ):
        assert line in text
