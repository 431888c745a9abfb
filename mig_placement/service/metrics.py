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
"""The metrics in Prometheus' words: the status, and what was counted.

Imported only where [metrics] listen is set: prometheus-client costs time and
memory that an agent without metrics has no use for.
"""

import collections
import collections.abc
import datetime
import itertools
from typing import Any

from prometheus_client import core
from prometheus_client import exposition
from prometheus_client import registry

from mig_placement import version
from mig_placement.geometry import verdict as verdicts
from mig_placement.service import measures

_PREFIX = "mig_placement_"
_GATE_STATES = ("open", "closed", "unknown")
_GPU = ("gpu", "uuid")

# Name without the prefix: the labels, and what it is. A counter's name gets
# _total, a histogram's _bucket, _count and _sum when it is served.
GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    "build_info": (("version",), "Always 1; the agent's version."),
    "gate_state": (
        ("state",),
        "1 for the state that the gate has: open, closed or unknown.",
    ),
    "gate_since_timestamp_seconds": (
        (),
        "When the gate came to the state that it has.",
    ),
    "gate_reasons": (
        ("reason",),
        "Findings against the node and its GPUs, by reason.",
    ),
    "gpu_open": (_GPU, "1 where the slices of the GPU are offered."),
    "gpu_fault": (_GPU, "1 where NVML does not answer for the GPU."),
    "instances": (
        (*_GPU, "profile", "state"),
        "Instances that exist, by profile: offered; closed (fit, the gate is"
        " closed); unknown (fit, Placement does not answer); unfit.",
    ),
    "last_cycle_timestamp_seconds": ((), "When the last cycle ended."),
    "placement_in_step": (
        (),
        "1 while Placement holds what the agent wants there.",
    ),
    "placement_root_missing": (
        (),
        "1 while Placement knows no compute root provider of the node.",
    ),
    "placement_last_success_timestamp_seconds": (
        (),
        "When Placement last held what the agent wanted there.",
    ),
}
COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "retries": ((), "Cycles that failed and were tried again."),
    "restores": (
        ("result",),
        "Attempts to bring the layout back: succeeded or failed.",
    ),
}
HISTOGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "cycle_duration_seconds": (
        (),
        "Length of a cycle, with the restore that it may contain.",
    ),
    "placement_request_duration_seconds": (
        ("method",),
        "Length of a request to Placement, by HTTP method.",
    ),
}

_Sample = tuple[tuple[str, ...], float]


class Collector(registry.Collector):
    """Renders the last status and the counts whenever it is asked."""

    def __init__(self, measured: measures.Measures) -> None:
        self._measured = measured

    def collect(self) -> collections.abc.Iterator[core.Metric]:
        yield _family("build_info", [((version.version(),), 1)])
        if (status := self._measured.status) is not None:
            for name, samples in _of_status(status).items():
                yield _family(name, samples)
        yield from self._counters()
        yield _histogram(
            "cycle_duration_seconds", {(): self._measured.cycles()}
        )
        yield _histogram(
            "placement_request_duration_seconds",
            {(k,): v for k, v in self._measured.requests().items()},
        )

    def _counters(self) -> collections.abc.Iterator[core.Metric]:
        count = self._measured.count
        yield _family("retries", [((), count("retries"))])
        yield _family(
            "restores",
            [
                ((result,), count(f"restores_{result}"))
                for result in ("succeeded", "failed")
            ],
        )


def page(measured: measures.Measures) -> tuple[bytes, str]:
    """The metrics in Prometheus' text format, and its media type."""
    served = registry.CollectorRegistry()
    served.register(Collector(measured))
    return exposition.generate_latest(served), exposition.CONTENT_TYPE_LATEST


def _of_status(status: dict[str, Any]) -> dict[str, list[_Sample]]:
    """The samples of the gauges, by name."""
    gate, placement, gpus = (
        status["gate"],
        status["placement"],
        status["gpus"],
    )
    state = gate["state"]
    return {
        "gate_state": [((s,), float(s == state)) for s in _GATE_STATES],
        "gate_since_timestamp_seconds": _moment(gate["since"]),
        "gate_reasons": _reasons(gate["reasons"]),
        "gpu_open": [(_labels(gpu), float(_is_open(gpu))) for gpu in gpus],
        "gpu_fault": [
            (_labels(gpu), float(bool(gpu["fault"]))) for gpu in gpus
        ],
        "instances": [
            sample for gpu in gpus for sample in _instances(gpu, state)
        ],
        "last_cycle_timestamp_seconds": [((), status["written"])],
        "placement_in_step": [((), float(placement["in_step"]))],
        "placement_root_missing": [((), float(placement["root_missing"]))],
        "placement_last_success_timestamp_seconds": _moment(
            placement["last_success"]
        ),
    }


def _moment(text: str | None) -> list[_Sample]:
    if not text:
        return []
    return [((), datetime.datetime.fromisoformat(text).timestamp())]


def _reasons(findings: list[dict[str, str]]) -> list[_Sample]:
    """Every reason, those against nothing too: a missing series is silent."""
    found = collections.Counter(each["reason"] for each in findings)
    return [((reason,), found[reason]) for reason in verdicts.Reason]


def _labels(gpu: dict[str, Any]) -> tuple[str, str]:
    return str(gpu["index"]), gpu["uuid"]


def _is_open(gpu: dict[str, Any]) -> bool:
    return gpu["mig_capable"] and not gpu["reasons"]


def _instances(
    gpu: dict[str, Any], gate: str
) -> collections.abc.Iterator[_Sample]:
    fit: dict[str, int] = gpu["units"]
    exist = collections.Counter(
        name for each in gpu["instances"] for name in _names(each)
    )
    state = "offered" if _is_open(gpu) else "closed"
    state = "unknown" if gate == "unknown" else state
    for profile in sorted(exist | collections.Counter(fit)):
        some = fit.get(profile, 0)
        counts = dict.fromkeys(("offered", "closed", "unknown"), 0)
        counts |= {state: some, "unfit": max(exist[profile] - some, 0)}
        for name, value in counts.items():
            yield (*_labels(gpu), profile, name), value


def _names(instance: dict[str, Any]) -> list[str]:
    """Profiles that an instance counts for: those of its parts."""
    parts = [each["profile"] for each in instance["compute_instances"]]
    return parts or [instance["profile"]]


def _family(
    name: str, samples: collections.abc.Iterable[_Sample]
) -> core.Metric:
    """A gauge or a counter."""
    is_gauge = name in GAUGES
    labels, text = (GAUGES if is_gauge else COUNTERS)[name]
    kind = core.GaugeMetricFamily if is_gauge else core.CounterMetricFamily
    family = kind(_PREFIX + name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _histogram(
    name: str,
    samples: collections.abc.Mapping[tuple[str, ...], measures.Histogram],
) -> core.Metric:
    labels, text = HISTOGRAMS[name]
    family = core.HistogramMetricFamily(_PREFIX + name, text, labels=labels)
    bounds = (*map(str, measures.BOUNDS), "+Inf")
    for values, each in samples.items():
        upto = itertools.accumulate(each.counts)
        family.add_metric(
            values,
            buckets=list(zip(bounds, upto, strict=True)),
            sum_value=each.total,
        )
    return family
