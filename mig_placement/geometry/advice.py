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
"""Why instances do not fit on a GPU together, and what close to them does."""

import collections
import collections.abc
import dataclasses
import itertools

from mig_placement.geometry import solver
from mig_placement.hardware import model

# Possible multisets looked at for the nearest; the GPUs known have 128 at
# most.
_MAX_LOOKED_AT = 2_000

_ENGINE_WORDS = ("decoder", "encoder", "JPEG engine", "OFA engine")

_ByName = collections.abc.Mapping[str, model.Profile]
_Fixed = collections.abc.Collection[solver.Located]


def counted(counts: solver.Demand, fixed: _Fixed = ()) -> str:
    """``2x 3g.20gb + 1x 1g.5gb``, and what is fixed with its placement."""
    parts = [str(each) for each in fixed]
    parts += [f"{count}x {name}" for name, count in counts.items() if count]
    return " + ".join(parts) or "nothing"


def explain(
    profiles: solver.Profiles, demand: solver.Demand, fixed: _Fixed = ()
) -> str:
    """Why there is no way to place the demand beside what is fixed.

    In slices, in media engines or in NVML's maximum of a profile,
    whichever it is that stands against it.
    """
    by_name = {profile.name: profile for profile in profiles}
    return (
        _misplaced(by_name, fixed)
        or _engines_where_the_cause(by_name, demand, fixed)
        or _above_maximum(by_name, demand, fixed)
        or _no_room(by_name, demand, fixed)
        or f"{counted(demand, fixed)} do not fit together"
    )


def _misplaced(by_name: _ByName, fixed: _Fixed) -> str:
    for each in fixed:
        places = by_name[each.profile].placements
        if each.placement not in places:
            return (
                f"{each.profile} cannot lie at {each.placement}, only at"
                f" {', '.join(map(str, places))}"
            )
    for one, other in itertools.combinations(fixed, 2):
        if one.placement.overlaps(other.placement):
            return f"{one} and {other} overlap"
    return ""


def _in_memory_alone(by_name: _ByName) -> tuple[model.Profile, ...]:
    """The profiles without any limit but their placements."""
    return tuple(
        dataclasses.replace(
            profile,
            max_instances=len(profile.placements),
            engines=model.Engines(),
        )
        for profile in by_name.values()
    )


def _engines_where_the_cause(
    by_name: _ByName, demand: solver.Demand, fixed: _Fixed
) -> str:
    if solver.solve(_in_memory_alone(by_name), demand, fixed) is None:
        return ""
    counts = solver.total(demand, fixed)
    budget = solver.engine_budget(list(by_name.values()))
    for kind, word in enumerate(_ENGINE_WORDS):
        uses = {
            name: solver.engines_of(by_name[name])[kind] for name in counts
        }
        if sum(uses[n] * count for n, count in counts.items()) > budget[kind]:
            return _engine_text(counts, uses, budget[kind], word)
    return ""


def _engine_text(
    counts: collections.Counter[str],
    uses: collections.abc.Mapping[str, int],
    budget: int,
    word: str,
) -> str:
    """Who takes the engines, and who is the first to get none."""
    kept: collections.Counter[str] = collections.Counter()
    taken = 0
    greedy = sorted(counts.elements(), key=lambda name: (-uses[name], name))
    for name in greedy:
        if taken + uses[name] > budget:
            break
        kept[name] += 1
        taken += uses[name]
    else:
        return ""
    return (
        f"{counted(kept)} {_verb('take', kept.total())}"
        f" {_share(taken, budget, word)},"
        f" {_one_more(name, kept)} needs {uses[name]}"
    )


def _share(taken: int, budget: int, word: str) -> str:
    if budget == 1:
        return f"the only {word}"
    if taken == budget:
        return f"all {budget} {word}s"
    return f"{taken} of {budget} {word}s"


def _above_maximum(
    by_name: _ByName, demand: solver.Demand, fixed: _Fixed
) -> str:
    for name, count in solver.total(demand, fixed).items():
        most = by_name[name].max_instances
        if count > most:
            return f"at most {most}x {name} fit on it, not {count}"
    return ""


def _no_room(by_name: _ByName, demand: solver.Demand, fixed: _Fixed) -> str:
    """What fills the GPU, the widest first, and what has no place then."""
    profiles = _in_memory_alone(by_name)
    kept: collections.Counter[str] = collections.Counter()
    used = sum(each.placement.size for each in fixed)
    for name in sorted(demand, key=lambda n: (-_width(by_name[n]), n)):
        for _ in range(demand[name]):
            found = solver.solve(
                profiles, kept + collections.Counter([name]), fixed
            )
            if found is None:
                return _room_text(by_name, kept, fixed, used, name)
            kept[name] += 1
            used = sum(each.placement.size for each in found)
    return ""


def _room_text(
    by_name: _ByName,
    kept: collections.Counter[str],
    fixed: _Fixed,
    used: int,
    name: str,
) -> str:
    slices = solver.total_slices(list(by_name.values()))
    several = kept.total() + len(fixed)
    more = _one_more(name, solver.total(kept, fixed))
    have = counted(kept, fixed)
    if used == slices:
        return (
            f"{have} {_verb('fill', several)} all {slices} memory slices,"
            f" {more} does not fit"
        )
    starts = ", ".join(str(p.start) for p in by_name[name].placements)
    return (
        f"{have} {_verb('take', several)} {used} of {slices} memory slices"
        f" and {_verb('leave', several)} no place for {more} (which can"
        f" start at {starts or 'no slice'})"
    )


def _width(profile: model.Profile) -> int:
    return max((each.size for each in profile.placements), default=0)


def _verb(verb: str, subjects: int) -> str:
    return verb if subjects > 1 else f"{verb}s"


def _one_more(name: str, kept: solver.Demand) -> str:
    return f"another {name}" if kept.get(name) else name


def nearest(
    profiles: solver.Profiles, demand: solver.Demand, limit: int = 3
) -> list[dict[str, int]]:
    """Possible multisets of instances close to an impossible one.

    Close is what differs by the fewest instances; then what leaves the
    fewest slices free. An empty GPU is none of them. Each has its widest
    profile first.
    """
    # What the demand names comes first, should the look be cut short.
    ordered = sorted(profiles, key=lambda each: each.name not in demand)
    looked_at = itertools.islice(_possible(ordered), _MAX_LOOKED_AT)
    close = sorted(
        (_distance(counts, demand), free, sorted(counts.items()))
        for counts, free in looked_at
        if counts
    )
    widths = {profile.name: _width(profile) for profile in profiles}
    return [
        dict(sorted(counts, key=lambda item: -widths[item[0]]))
        for _, _, counts in close[:limit]
    ]


def _possible(
    profiles: solver.Profiles,
) -> collections.abc.Iterator[tuple[dict[str, int], int]]:
    """Every possible multiset and the slices that it leaves free."""
    slices = solver.total_slices(profiles)
    waiting: list[tuple[dict[str, int], int]] = [({}, 0)]
    while waiting:
        counts, first = waiting.pop()
        found = solver.solve(profiles, counts)
        if found is None:
            # Nothing that has more of anything is possible either.
            continue
        yield counts, slices - sum(each.placement.size for each in found)
        for at in range(first, len(profiles)):
            name = profiles[at].name
            waiting.append(({**counts, name: counts.get(name, 0) + 1}, at))


def _distance(counts: solver.Demand, demand: solver.Demand) -> int:
    return sum(
        abs(counts.get(name, 0) - demand.get(name, 0))
        for name in {*counts, *demand}
    )
