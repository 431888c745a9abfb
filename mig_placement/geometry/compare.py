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
"""The verdict: does the node have what the layout declares; pure."""

import collections
import collections.abc

from mig_placement.geometry import advice
from mig_placement.geometry import layout as layouts
from mig_placement.geometry import matching
from mig_placement.geometry import verdict
from mig_placement.hardware import model

_Findings = collections.abc.Iterator[verdict.Finding]
_Ailments = collections.abc.Collection[model.Ailment]
_Reason = verdict.Reason


def compare(
    node: model.Node,
    layout: layouts.NodeLayout,
    ailments: _Ailments = (),
) -> verdict.Verdict:
    """Compare a node with what it is to be."""
    gone = sorted(set(layout.gpus) - {gpu.index for gpu in node.gpus})
    return verdict.Verdict(
        findings=tuple(
            verdict.Finding(
                _Reason.GPU_LOST, f"GPU {index} is declared and has vanished"
            )
            for index in gone
        ),
        gpus=tuple(
            _gpu(gpu, layout.gpus.get(gpu.index), _of(gpu, ailments))
            for gpu in node.gpus
        ),
    )


def _of(gpu: model.Gpu, ailments: _Ailments) -> _Ailments:
    """A GPU's ailments, less those of instances that are gone."""
    ids = {None, *(instance.gi_id for instance in gpu.instances)}
    return [
        each
        for each in ailments
        if each.gpu_uuid == gpu.uuid and each.gi_id in ids
    ]


def _gpu(
    gpu: model.Gpu, declared: layouts.GpuLayout | None, ailments: _Ailments
) -> verdict.GpuVerdict:
    if declared is None:
        return _undeclared(gpu)
    if gpu.fault:
        lost = verdict.Finding(_Reason.GPU_LOST, gpu.fault)
        return verdict.GpuVerdict(gpu.index, (lost,))
    matched = matching.match(declared.instances, gpu.instances)
    findings = [*_mode(gpu, declared), *_gpu_health(ailments)]
    if gpu.mig_mode and declared.mig_enabled:
        findings += _instances(declared, matched)
    return verdict.GpuVerdict(
        index=gpu.index,
        findings=tuple(findings),
        unfit=tuple(_instance_health(gpu, ailments)),
        units=_units(declared, matched, ailments),
    )


def _undeclared(gpu: model.Gpu) -> verdict.GpuVerdict:
    """Nothing of it is offered; instances on it deserve a word."""
    findings = []
    if gpu.fault:
        findings.append(verdict.Finding(_Reason.GPU_LOST, gpu.fault))
    elif gpu.instances:
        findings.append(
            verdict.Finding(
                _Reason.UNDECLARED,
                f"has {_counted(each.profile for each in gpu.instances)},"
                " and the layout does not name this GPU",
            )
        )
    return verdict.GpuVerdict(gpu.index, tuple(findings), declared=False)


def _mode(gpu: model.Gpu, declared: layouts.GpuLayout) -> _Findings:
    if gpu.mig_mode != gpu.mig_pending:
        yield verdict.Finding(
            _Reason.MODE_PENDING,
            f"MIG mode is {_on(gpu.mig_mode)} and will be"
            f" {_on(gpu.mig_pending)} after a reset of the GPU",
        )
    if declared.mig_enabled and not gpu.mig_mode:
        missing = _counted(each.profile for each in declared.instances)
        more = f", {missing} missing" if declared.instances else ""
        yield verdict.Finding(_Reason.MIG_DISABLED, f"MIG mode is off{more}")
    if gpu.mig_mode and not declared.mig_enabled:
        extra = _counted(each.profile for each in gpu.instances)
        more = f", with {extra}" if gpu.instances else ""
        yield verdict.Finding(_Reason.MIG_ENABLED, f"MIG mode is on{more}")


def _on(mode: bool) -> str:
    return "on" if mode else "off"


def _counted(profiles: collections.abc.Iterable[str]) -> str:
    return advice.counted(collections.Counter(profiles))


def _gpu_health(ailments: _Ailments) -> _Findings:
    xids = {each.xid for each in ailments if each.gi_id is None}
    if xids:
        yield verdict.Finding(_Reason.GPU_UNHEALTHY, _xids(xids))


def _instance_health(gpu: model.Gpu, ailments: _Ailments) -> _Findings:
    for instance in gpu.instances:
        xids = {e.xid for e in ailments if e.gi_id == instance.gi_id}
        if xids:
            yield verdict.Finding(
                _Reason.INSTANCE_UNHEALTHY,
                f"{instance.profile} at {instance.placement}: {_xids(xids)}",
            )


def _xids(xids: collections.abc.Iterable[int]) -> str:
    return f"XID {', '.join(map(str, sorted(xids)))}"


def _instances(
    declared: layouts.GpuLayout, matched: matching.Matching
) -> _Findings:
    yield from _missing(declared, matched)
    yield from _extra(matched)
    yield from _compute_instances(matched)


def _missing(
    declared: layouts.GpuLayout, matched: matching.Matching
) -> _Findings:
    wanted = collections.Counter(e.profile for e in declared.instances)
    missing = collections.Counter(e.profile for e in matched.missing)
    for profile, count in missing.items():
        places = sorted(
            each.placement
            for each in matched.missing
            if each.profile == profile and each.placement
        )
        yield verdict.Finding(
            _Reason.INSTANCE_MISSING,
            f"{count} of {wanted[profile]} {profile} missing{_at(places)}",
        )


def _extra(matched: matching.Matching) -> _Findings:
    extra = collections.Counter(each.profile for each in matched.extra)
    for profile, count in extra.items():
        places = sorted(
            e.placement for e in matched.extra if e.profile == profile
        )
        yield verdict.Finding(
            _Reason.INSTANCE_EXTRA,
            f"{count}x {profile} more than declared{_at(places)}",
        )


def _at(places: collections.abc.Collection[model.Placement]) -> str:
    return f" at {', '.join(map(str, places))}" if places else ""


def _compute_instances(matched: matching.Matching) -> _Findings:
    """Equal findings of several GPU instances are one, with all places."""
    places: dict[tuple[_Reason, str, str], list[model.Placement]] = (
        collections.defaultdict(list)
    )
    for wanted, instance in matched.pairs:
        if matching.has_declared_cis(wanted, instance):
            continue
        want = collections.Counter(wanted.compute_instances)
        have = collections.Counter(matching.ci_names(instance))
        for reason, amiss in (
            (_Reason.COMPUTE_INSTANCE_MISSING, want - have),
            (_Reason.INSTANCE_EXTRA, have - want),
        ):
            if amiss:
                key = reason, instance.profile, advice.counted(amiss)
                places[key].append(instance.placement)
    for (reason, profile, cis), where in places.items():
        missing = reason is _Reason.COMPUTE_INSTANCE_MISSING
        word = "missing" if missing else "more than declared"
        yield verdict.Finding(
            reason,
            f"in {profile}{_at(sorted(where))}: compute instance {cis} {word}",
        )


def _units(
    declared: layouts.GpuLayout,
    matched: matching.Matching,
    ailments: _Ailments,
) -> tuple[tuple[str, int], ...]:
    """What exists and is fit, declared or not: while it is not all as
    declared, the findings keep the GPU closed.
    """
    sick = {each.gi_id for each in ailments}
    if not declared.mig_enabled or None in sick:
        return ()
    unasked = {
        instance.gi_id
        for wanted, instance in matched.pairs
        if wanted.compute_instances is None
    }
    units: collections.Counter[str] = collections.Counter()
    for instance in (*(i for _, i in matched.pairs), *matched.extra):
        if instance.gi_id not in sick:
            units.update(_units_of(instance, instance.gi_id in unasked))
    return tuple(sorted(units.items()))


def _units_of(
    instance: model.GpuInstance, without_cis: bool
) -> tuple[str, ...]:
    """A divided GPU instance is as many units as it has CIs."""
    if without_cis:
        return (instance.profile,)
    return matching.ci_names(instance)
