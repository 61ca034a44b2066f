"""The ship rule: what a plan recommends, given the verdicts of one look. A pure function with its reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.late_outcomes import Sign, guardrail_signs
from abplatform.domain.scorecard import ComparisonResult, Decision, MetricResult
from abplatform.domain.soundness import Health
from abplatform.stats.sequential import MIN_EVEN_CLUSTERS, MIN_EVEN_NONZERO_CLUSTERS, MIN_NONZERO, MIN_UNITS

UNSOUND = "The data are not sound."
WAITING: Mapping[str, str] = {
    "TOO_FEW_UNITS": f"an arm is smaller than the {MIN_UNITS} units",
    "TOO_FEW_NONZERO": f"an arm has fewer than the {MIN_NONZERO} units with a value (for rates: of the rarer outcome)",
    "TOO_FEW_CLUSTERS": f"an arm is smaller than the {MIN_EVEN_CLUSTERS} clusters ({MIN_UNITS} where arms are uneven)",
    "TOO_FEW_NONZERO_CLUSTERS": f"an arm has fewer than the {MIN_EVEN_NONZERO_CLUSTERS} clusters ({MIN_NONZERO} where "
    "arms are uneven) with a value (for rates: with a unit of the rarer outcome)",
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
    signs: tuple[Sign, ...]
    lift: float

    @property
    def ships(self) -> bool:
        refuted = any(sign.worse for sign in self.signs)
        return bool(self.better) and not self.worse and not self.guardrails_open and not refuted

    @property
    def unsettled(self) -> tuple[Sign, ...]:
        """Early signs whose outcome is to be waited for, or will never be known."""
        return tuple(sign for sign in self.signs if sign.state != "passes")


def decide(
    definition: ExperimentDefinition, health: Health, metrics: Sequence[MetricResult], *, finished: bool
) -> Decision:
    """Apply the plan to the verdicts of a look.

    Ship only if the data are sound, at least one primary is better and none worse, and every guardrail is shown
    to stay within its margin: missing data never count as a pass. Roll back when every treatment does harm.

    A guardrail that is the early sign of a late outcome does not pass on its own: while nothing is known of the outcome
    the decision waits, as it does for an outcome that is a guardrail itself and not shown to be safe while windows are
    open; and where the outcome is shown to be worse it does not ship.

    Args:
        definition: the experiment.
        health: whether the data can be trusted.
        metrics: verdicts by the plan's own method.
        finished: whether no further units will come (stopped, or ``planned_units`` reached).
    """
    if not health.ok:
        return Decision(recommendation="invalid", variant=None, reasons=(UNSOUND, *health.warnings))
    alpha = definition.plan.alpha
    cases = [_case(variant, metrics, definition.control, alpha=alpha) for variant in definition.treatments]
    shipping = [case for case in cases if case.ships]
    if shipping:
        return _ship(shipping)
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


def _ship(shipping: Sequence[_Case]) -> Decision:
    """Of those that would ship the best one whose late outcomes are known; without one, wait for them."""
    ready = [case for case in shipping if not case.unsettled]
    best = max(ready or shipping, key=lambda case: case.lift)
    rivals = [case.variant for case in ready if case is not best]
    reasons = (*_speak_for(best), *(sign.speak() for sign in best.signs), *_rival_reasons(best, rivals))
    if ready:
        return Decision(recommendation="ship", variant=best.variant, reasons=reasons)
    if any(sign.hopeless for sign in best.unsettled):
        return Decision(recommendation="inconclusive", variant=None, reasons=reasons)
    awaits = tuple(dict.fromkeys(sign.outcome.metric for sign in best.unsettled))
    return Decision(recommendation="continue", variant=best.variant, reasons=reasons, awaits=awaits)


def _case(variant: str, metrics: Sequence[MetricResult], control: str, *, alpha: float) -> _Case:
    def named(role: str, *verdicts: str) -> tuple[str, ...]:
        return tuple(
            metric.metric
            for metric in metrics
            if metric.role == role and _comparison(metric, variant).verdict in verdicts
        )

    primaries = [metric for metric in metrics if metric.role == "primary"]
    signs = guardrail_signs(metrics, variant, control)
    late = {sign.outcome.metric for sign in signs if sign.unknown or sign.state == "waits"}
    still_open = named("guardrail", "inconclusive", "not_computable")
    return _Case(
        variant=variant,
        better=named("primary", "better"),
        worse=named("primary", "worse") + named("guardrail", "worse"),
        guardrails_open=tuple(name for name in still_open if name not in late),
        guardrails_waiting=tuple(
            metric.metric
            for metric in metrics
            if metric.role == "guardrail" and WAITING.keys() & _comparison(metric, variant).warnings
        ),
        withheld=tuple(_withheld(variant, primaries, alpha)),
        signs=signs,
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
    late = [sign.speak() for sign in case.signs if sign.state != "passes"]
    return [*case.withheld, *sentences, *late]


def _rival_reasons(best: _Case, rivals: Sequence[str]) -> list[str]:
    if not rivals:
        return []
    return [f"{_list(rivals)} would ship too; {best.variant} has the larger lift on the first primary metric."]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
