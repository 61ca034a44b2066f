"""A snapshot compiled for the request path: per experiment, one function that decides and one that also logs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from ._assignment import Decider, Evaluation, ExperimentRule, Reason, Snapshot, UnsupportedRule
from .decision import Answer, Decision, FallBack, build_evaluate
from .recorder import Recorder
from .snapshot import SnapshotStore

Rule = ExperimentRule | UnsupportedRule


class Answers(NamedTuple):
    """What answers the calls of the product, by experiment.

    ``quick`` decides, for calls without ids of other types; None where exposures carry attributes.
    """

    assign: dict[str, Answer]
    evaluate: dict[str, Answer]
    quick: dict[str, Decider | None]


NOTHING = Answers({}, {}, {})


class Overrides:
    """Variants that somebody wants to see, in this process only: by experiment, for one unit id or, under None, all."""

    def __init__(self) -> None:
        self._choices: dict[str, dict[str | None, str]] = {}

    def force(self, experiment: str, variant: str | None, unit_id: str | None) -> None:
        choices = dict(self._choices.get(experiment, {}))
        if variant is None:
            choices.pop(unit_id, None)
        else:
            choices[unit_id] = variant
        self._choices = {**self._choices, experiment: choices}

    def rules(self, snapshot: Snapshot | None) -> Mapping[str, Rule]:
        return {} if snapshot is None else snapshot.experiments

    def apply(self, rule: ExperimentRule) -> Decider:
        """How to decide the experiment; a variant that it does not have forces nothing."""
        choices = self._choices.get(rule.key)
        if not choices:
            return rule.decide
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


class Compiler:
    """Prepares the answers of each snapshot once.

    Attributes:
        answers: those prepared last.
    """

    def __init__(self, store: SnapshotStore, recorder: Recorder, fall_back: FallBack) -> None:
        self.overrides = Overrides()
        self.answers = NOTHING
        self._store = store
        self._recorder = recorder
        self._fall_back = fall_back
        self._source: Snapshot | None = None
        self.renew()

    def renew(self) -> None:
        self._lock = threading.RLock()

    def force(self, experiment: str, variant: str | None, unit_id: str | None) -> None:
        """As `Overrides.force`; the next `latest` knows of it."""
        with self._lock:
            self.overrides.force(experiment, variant, unit_id)
            self._source = None

    def latest(self) -> Answers:
        with self._lock:
            # Read under the lock: who waited for it must not bring back what answered before.
            snapshot = self._store.current
            if snapshot is not self._source:
                self.answers = self._compile(snapshot)
                self._source = snapshot
            return self.answers

    def _compile(self, snapshot: Snapshot | None) -> Answers:
        answers = Answers({}, {}, {})
        for key, rule in self.overrides.rules(snapshot).items():
            if isinstance(rule, UnsupportedRule):
                answers.assign[key] = answers.evaluate[key] = build_evaluate(rule.decide, (), self._fall_back)
                answers.quick[key] = rule.decide
            else:
                decide = self.overrides.apply(rule)
                answers.assign[key] = self._recorder.build_assign(rule, decide, self._fall_back)
                answers.evaluate[key] = build_evaluate(decide, rule.dimensions, self._fall_back)
                answers.quick[key] = None if rule.dimensions else decide
        return answers


def evaluate_all(
    answers: Answers, unit_id: Any, attributes: Any, units: Any, fall_back: FallBack
) -> dict[str, Decision]:
    decisions = {}
    for key, decide in answers.quick.items():
        if decide is None or units:
            decisions[key] = answers.evaluate[key](unit_id, attributes, units, None)
        else:
            evaluation = decide(unit_id, attributes, None)
            decisions[key] = Decision(evaluation, unit_id) if evaluation[1] is not None else fall_back(evaluation, None)
    return decisions
