"""Experiments that need others: which they may name, and who must not change while others need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from abplatform.assignment import check_prerequisites as check_evaluations
from abplatform.domain.checks import Faults
from abplatform.domain.experiment import UNDER_WAY, Experiment, ExperimentDefinition, Prerequisite

MOST_PREREQUISITES = 10
LONGEST_CHAIN = 10


def check_prerequisites(
    definition: ExperimentDefinition, experiments: Mapping[str, Experiment], faults: Faults
) -> None:
    """Note what is wrong with the prerequisites of a definition.

    Args:
        definition: of a draft, or of the next phase.
        experiments: all of the project by key, drafts included; what is stored of this one itself does not count.
        faults: takes the notes.
    """
    named = definition.prerequisites
    faults.check(len(named) <= MOST_PREREQUISITES, "prerequisites", f"must be at most {MOST_PREREQUISITES}")
    seen = Counter(prerequisite.experiment for prerequisite in named)
    others = {key: each for key, each in experiments.items() if key != definition.key}
    for index, prerequisite in enumerate(named[:MOST_PREREQUISITES]):
        path = f"prerequisites.{index}"
        once = seen[prerequisite.experiment] == 1
        faults.check(once, f"{path}.experiment", f"{prerequisite.experiment!r} stands here more than once")
        if prerequisite.experiment != definition.key:  # that is a circle
            _check_one(prerequisite, others, path, faults)
    if named:
        _check_chains(definition, experiments, faults)


def unready(definition: ExperimentDefinition, experiments: Mapping[str, Experiment]) -> tuple[str, ...]:
    """Keys of the needed experiments that have not started or are archived: nobody can get their variants."""
    return tuple(
        need.experiment
        for need in definition.prerequisites
        if experiments[need.experiment].status in {"draft", "archived"}
    )


def dependants(key: str, experiments: Iterable[Experiment], *, drafts: bool = False) -> tuple[str, ...]:
    """Keys of the experiments whose units depend on that one now: those under way, and those that have shipped.

    Args:
        drafts: whether drafts count too.
    """
    return tuple(
        each.key
        for each in experiments
        if _serves(each) or (drafts and each.status == "draft")
        if any(need.experiment == key for need in each.definition.prerequisites)
    )


def _serves(experiment: Experiment) -> bool:
    return experiment.status in UNDER_WAY or (experiment.status == "stopped" and experiment.shipped is not None)


def _check_one(need: Prerequisite, experiments: Mapping[str, Experiment], path: str, faults: Faults) -> None:
    other = experiments.get(need.experiment)
    if other is None or other.definition.assignment != "served":
        hint = faults.suggest(need.experiment, (key for key, each in experiments.items() if _can_be_needed(each)))
        faults.add(f"{path}.experiment", f"there is no experiment {need.experiment!r} that is served here{hint}")
        return
    faults.check(other.status != "archived", f"{path}.experiment", f"{need.experiment!r} is archived")
    faults.check(bool(need.variants), f"{path}.variants", "must be at least one")
    known = [variant.key for variant in other.definition.variants]
    seen = Counter(need.variants)
    for index, variant in enumerate(need.variants):
        place = f"{path}.variants.{index}"
        if variant not in known:
            hint = faults.suggest(variant, known)
            faults.add(place, f"{need.experiment!r} has no variant {variant!r}{hint}")
        faults.check(seen[variant] == 1, place, f"{variant!r} stands here more than once")


def _can_be_needed(experiment: Experiment) -> bool:
    return experiment.definition.assignment == "served" and experiment.status != "archived"


def _check_chains(definition: ExperimentDefinition, experiments: Mapping[str, Experiment], faults: Faults) -> None:
    definitions = [each.definition for each in experiments.values() if each.status != "archived"]
    needs = {each.key: _needed(each) for each in (*definitions, definition)}
    problems = check_evaluations(needs)
    # What others already were, they stay: only this definition and those above it can have become worse.
    above = _above(definition.key, needs)
    for key in (definition.key, *sorted(above)):
        if key in problems:
            faults.add("prerequisites", f"{key} would {_PROBLEMS.get(problems[key], problems[key])}")
            return
    below = _longest(definition.key, needs)
    needed_by = {key: [other for other in above if key in needs[other]] for key in (definition.key, *above)}
    chain = below + _longest(definition.key, needed_by)
    faults.check(chain <= LONGEST_CHAIN, "prerequisites", f"make a chain of {chain}; at most {LONGEST_CHAIN}")


_PROBLEMS = {"form a circle": "need itself, through others or at once"}


def _needed(definition: ExperimentDefinition) -> list[str]:
    return [need.experiment for need in definition.prerequisites]


def _above(key: str, needs: Mapping[str, list[str]]) -> set[str]:
    """The experiments that need that one, through others or not."""
    found: set[str] = set()
    waiting = {key}
    while waiting:
        waiting = {other for other, needed in needs.items() if waiting.intersection(needed)} - found - {key}
        found |= waiting
    return found


def _longest(key: str, graph: Mapping[str, list[str]]) -> int:
    """How many steps the longest way from there has; there are no circles."""
    length, layer = 0, {key}
    while layer := {other for each in layer for other in graph.get(each, ())}:
        length += 1
    return length
