"""The ship rule: what a plan recommends, given the verdicts of one look. A pure function with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.scorecard import ComparisonResult, Decision, Health, MetricResult

UNSOUND = "The data are not sound."
WAITING = frozenset({"TOO_FEW_UNITS", "TOO_FEW_NONZERO"})


@dataclass(frozen=True, slots=True)
class _Case:
    """What speaks for and against one treatment."""

    variant: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    guardrails_open: tuple[str, ...]
    guardrails_waiting: tuple[str, ...]
    lift: float

    @property
    def ships(self) -> bool:
        return bool(self.better) and not self.worse and not self.guardrails_open


def decide(
    definition: ExperimentDefinition, health: Health, metrics: Sequence[MetricResult], *, finished: bool
) -> Decision:
    """Apply the plan to the verdicts of a look.

    Ship only if the data are sound, at least one primary is better and none worse, and every guardrail is shown
    to stay within its margin: missing data never count as a pass. Roll back when every treatment does harm.

    Args:
        definition: the experiment.
        health: whether the data can be trusted.
        metrics: verdicts by the plan's own method.
        finished: whether no further units will come (stopped, or ``planned_units`` reached).
    """
    if not health.ok:
        return Decision(recommendation="invalid", variant=None, reasons=(UNSOUND, *health.warnings))
    cases = [_case(variant, metrics) for variant in definition.treatments]
    shipping = [case for case in cases if case.ships]
    if shipping:
        best = max(shipping, key=lambda case: case.lift)
        rivals = [case.variant for case in shipping if case is not best]
        reasons = [*_speak_for(best), *_rival_reasons(best, rivals)]
        return Decision(recommendation="ship", variant=best.variant, reasons=tuple(reasons))
    if cases and all(case.worse for case in cases):
        reasons = [sentence for case in cases for sentence in _speak_against(case)]
        return Decision(recommendation="roll_back", variant=definition.control, reasons=tuple(reasons))
    reasons = [sentence for case in cases for sentence in (*_speak_for(case), *_speak_against(case))]
    if finished:
        return Decision(
            recommendation="inconclusive",
            variant=None,
            reasons=(*reasons, "All planned data are in, and they do not carry a decision."),
        )
    return Decision(recommendation="continue", variant=None, reasons=(*reasons, "More data can still decide."))


def _case(variant: str, metrics: Sequence[MetricResult]) -> _Case:
    def named(role: str, *verdicts: str) -> tuple[str, ...]:
        return tuple(
            metric.metric
            for metric in metrics
            if metric.role == role and _comparison(metric, variant).verdict in verdicts
        )

    primaries = [metric for metric in metrics if metric.role == "primary"]
    return _Case(
        variant=variant,
        better=named("primary", "better"),
        worse=named("primary", "worse") + named("guardrail", "worse"),
        guardrails_open=named("guardrail", "inconclusive", "not_computable"),
        guardrails_waiting=tuple(
            metric.metric
            for metric in metrics
            if metric.role == "guardrail" and WAITING.intersection(_comparison(metric, variant).warnings)
        ),
        lift=_good_lift(primaries[0], variant) if primaries else 0.0,
    )


def _comparison(metric: MetricResult, variant: str) -> ComparisonResult:
    return next(comparison for comparison in metric.comparisons if comparison.variant == variant)


def _good_lift(metric: MetricResult, variant: str) -> float:
    estimate = _comparison(metric, variant).absolute.estimate or 0.0
    return estimate if metric.direction == "increase" else -estimate


def _speak_for(case: _Case) -> list[str]:
    if case.better:
        return [f"{case.variant}: better on {_list(case.better)}."]
    return [] if case.worse else [f"{case.variant}: no primary metric is better."]


def _speak_against(case: _Case) -> list[str]:
    sentences = [f"{case.variant}: worse on {_list(case.worse)}."] if case.worse else []
    if case.guardrails_open:
        sentences.append(f"{case.variant}: {_list(case.guardrails_open)} not shown to stay within the margin.")
    if case.guardrails_waiting:
        sentences.append(f"{case.variant}: {_list(case.guardrails_waiting)} has too few events for a verdict.")
    return sentences


def _rival_reasons(best: _Case, rivals: Sequence[str]) -> list[str]:
    if not rivals:
        return []
    return [f"{_list(rivals)} would ship too; {best.variant} has the larger lift on the first primary metric."]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
