"""A snapshot compiled for the request path: per experiment, one function that decides and one that also logs."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._assignment import Decider, Snapshot, UnsupportedRule
from .decision import Answer, Decision, FallBack, build_evaluate
from .overrides import Overrides
from .recorder import Recorder


class Answers(NamedTuple):
    """What answers the calls of the product, by experiment.

    ``quick`` decides, for calls without ids of other types; None where exposures carry attributes.
    """

    assign: dict[str, Answer]
    evaluate: dict[str, Answer]
    quick: dict[str, Decider | None]


NOTHING = Answers({}, {}, {})


def compile_answers(
    snapshot: Snapshot | None, overrides: Overrides, recorder: Recorder, fall_back: FallBack
) -> Answers:
    """Prepare the answers of all experiments of a snapshot."""
    answers = Answers({}, {}, {})
    for key, rule in (snapshot.experiments if snapshot is not None else {}).items():
        if isinstance(rule, UnsupportedRule):
            answers.assign[key] = answers.evaluate[key] = build_evaluate(rule.decide, (), fall_back)
            answers.quick[key] = rule.decide
        else:
            decide = overrides.apply(rule)
            answers.assign[key] = recorder.build_assign(rule, decide, fall_back)
            answers.evaluate[key] = build_evaluate(decide, rule.dimensions, fall_back)
            answers.quick[key] = None if rule.dimensions else decide
    return answers


def evaluate_all(
    answers: Answers, unit_id: Any, attributes: Any, units: Any, fall_back: FallBack
) -> dict[str, Decision]:
    """Decide all experiments."""
    decisions = {}
    for key, decide in answers.quick.items():
        if decide is None or units:
            decisions[key] = answers.evaluate[key](unit_id, attributes, units, None)
        else:
            evaluation = decide(unit_id, attributes, None)
            decisions[key] = Decision(evaluation, unit_id) if evaluation[1] is not None else fall_back(evaluation, None)
    return decisions
