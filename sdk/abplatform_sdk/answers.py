"""A snapshot compiled for the request path: per experiment, one function that decides and one that also logs."""

from __future__ import annotations

from typing import NamedTuple

from ._assignment import Snapshot, UnsupportedRule
from .decision import Answer, FallBack, build_evaluate
from .overrides import Overrides
from .recorder import Recorder


class Answers(NamedTuple):
    """What answers the calls of the product, by experiment."""

    assign: dict[str, Answer]
    evaluate: dict[str, Answer]


NOTHING = Answers({}, {})


def compile_answers(
    snapshot: Snapshot | None, overrides: Overrides, recorder: Recorder, fall_back: FallBack
) -> Answers:
    """Prepare the answers of all experiments of a snapshot."""
    answers = Answers({}, {})
    for key, rule in (snapshot.experiments if snapshot is not None else {}).items():
        if isinstance(rule, UnsupportedRule):
            answers.assign[key] = answers.evaluate[key] = build_evaluate(rule.decide, (), fall_back)
        else:
            decide = overrides.apply(rule)
            answers.assign[key] = recorder.build_assign(rule, decide, fall_back)
            answers.evaluate[key] = build_evaluate(decide, rule.dimensions, fall_back)
    return answers
