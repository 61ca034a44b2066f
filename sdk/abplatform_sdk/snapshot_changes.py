"""What a newer snapshot may answer otherwise."""

from __future__ import annotations

from typing import Any

from ._assignment import ExperimentRule, Snapshot, UnsupportedRule
from ._assignment.flags import flag_keys

Rule = ExperimentRule | UnsupportedRule | None


def changed_flags(before: Snapshot | None, after: Snapshot | None) -> list[str]:
    """Keys of the flags that may answer otherwise, sorted: experiments, and the fields at the top of their payloads.

    Targeting is compiled, and cannot be compared; an experiment that has some always counts as changed.
    """
    changed = _changed_experiments(before, after)
    keys = {*flag_keys(before), *flag_keys(after)}
    return sorted(key for key in keys if key.partition(".")[0] in changed)


def _changed_experiments(before: Snapshot | None, after: Snapshot | None) -> set[str]:
    old, new = ({} if snapshot is None else snapshot.experiments for snapshot in (before, after))
    changed = {key for key in old.keys() | new.keys() if not _same(old.get(key), new.get(key))}
    while True:
        dependent = {key for key, rule in new.items() if not changed.isdisjoint(_prerequisites(rule))}
        if dependent <= changed:
            return changed
        changed |= dependent


def _same(old: Rule, new: Rule) -> bool:
    return old is not None and new is not None and _comparable(old) == _comparable(new)


def _comparable(rule: ExperimentRule | UnsupportedRule) -> Any:
    """What two rules can be compared by; never equal where that is not all there is."""
    if isinstance(rule, UnsupportedRule):
        return rule.unit_type, rule.error
    if rule.targeting is not None:
        return object()
    # As text, since Python takes 1, 1.0 and True for the same.
    variants = repr(rule.variants)
    fields = (rule.status, rule.unit_type, rule.phase, rule.salt, rule.control, rule.shipped, rule.dimensions)
    return variants, fields, rule.forced, rule.holdouts, rule.prerequisites, rule.draws


def _prerequisites(rule: Rule) -> set[str]:
    return {needed.experiment for needed in rule.prerequisites} if isinstance(rule, ExperimentRule) else set()
