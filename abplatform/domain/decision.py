"""The ship rule: what a plan recommends, given the verdicts of one look. A pure function with its reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.scorecard import ComparisonResult, Decision, Health, MetricResult
from abplatform.stats.sequential import MIN_NONZERO, MIN_UNITS

UNSOUND = "The data are not sound."
WAITING: Mapping[str, str] = {
    "TOO_FEW_UNITS": f"an arm is smaller than the {MIN_UNITS} units",
    "TOO_FEW_NONZERO": f"an arm has fewer than the {MIN_NONZERO} units with a value (for rates: of the rarer outcome)",
}
"""What a guard of the method waits for, in words."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What speaks for and against one treatment."""

    variant: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    guardrails_open: tuple[str, ...]
    guardrails_waiting: tuple[str, ...]
    withheld: tuple[str, ...]
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
    alpha = definition.plan.alpha
    cases = [_case(variant, metrics, alpha) for variant in definition.treatments]
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


def _case(variant: str, metrics: Sequence[MetricResult], alpha: float) -> _Case:
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
            if metric.role == "guardrail" and WAITING.keys() & _comparison(metric, variant).warnings
        ),
        withheld=tuple(_withheld(variant, primaries, alpha)),
        lift=_good_lift(primaries[0], variant) if primaries else 0.0,
    )


def _withheld(variant: str, primaries: Sequence[MetricResult], alpha: float) -> Iterator[str]:
    """Say of each primary that would have a verdict why the method gives none."""
    for metric in primaries:
        comparison = _comparison(metric, variant)
        significant = comparison.adjusted_p_value is not None and comparison.adjusted_p_value < alpha
        blocks = [why for code, why in WAITING.items() if code in comparison.warnings]
        if significant and blocks:
            verdict = "better" if _good_lift(metric, variant) > 0 else "worse"
            needs = f"{blocks[0]} that this method needs before it may speak of efficacy"
            yield f"{variant}: {metric.metric} would be {verdict}, but {needs}."


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
    return [*case.withheld, *sentences]


def _rival_reasons(best: _Case, rivals: Sequence[str]) -> list[str]:
    if not rivals:
        return []
    return [f"{_list(rivals)} would ship too; {best.variant} has the larger lift on the first primary metric."]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
