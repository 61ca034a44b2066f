"""Variants that somebody wants to see: for QA, in this process only."""

from __future__ import annotations

from typing import Any

from ._assignment import Decider, Evaluation, ExperimentRule, Reason


class Overrides:
    """Forced variants by experiment, for one unit id or, under None, for all."""

    def __init__(self) -> None:
        self._choices: dict[str, dict[str | None, str]] = {}

    def force(self, experiment: str, variant: str | None, unit_id: str | None) -> None:
        """Force a variant; None lifts what was forced."""
        choices = dict(self._choices.get(experiment, {}))
        if variant is None:
            choices.pop(unit_id, None)
        else:
            choices[unit_id] = variant
        self._choices = {**self._choices, experiment: choices}

    def apply(self, rule: ExperimentRule) -> Decider:
        """How to decide the experiment; a variant that it does not have forces nothing."""
        choices = self._choices.get(rule.key)
        return _force(rule, choices) if choices else rule.decide


def _force(rule: ExperimentRule, choices: dict[str | None, str]) -> Decider:
    by_key = {
        variant.key: Evaluation(rule.key, variant.key, variant.payload, False, Reason.FORCED, rule.phase)
        for variant in rule.variants
    }
    forced = {unit_id: by_key[variant] for unit_id, variant in choices.items() if variant in by_key}
    for_all = forced.pop(None, None)

    def decide(unit_id: Any, attributes: Any, units: Any) -> Evaluation:
        chosen = forced.get(unit_id, for_all) if isinstance(unit_id, str) else for_all
        return chosen if chosen is not None else rule.decide(unit_id, attributes, units)

    return decide
