"""Early signs and the late outcomes that they stand for: put beside each other, and waited for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.maturity import LateOutcome, Maturity, last_close
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Decision, MetricResult


def add_maturity(
    results: Sequence[MetricResult],
    metrics: Sequence[Metric],
    request: AggregationRequest,
    *,
    data_through: datetime | None,
) -> tuple[MetricResult, ...]:
    """Results with how far their windows have closed, and what each is an early sign of.

    Args:
        results: of the metrics of an experiment.
        metrics: their definitions.
        request: what an engine was asked for them.
        data_through: latest receipt of an event that it has seen.
    """
    by_key = {metric.key: metric for metric in metrics}
    matured = {
        result.metric: replace(result, maturity=_mature(result, by_key[result.metric], request, data_through))
        for result in results
    }
    return tuple(
        replace(result, outcome=_late(matured.get(by_key[key].outcome or ""))) for key, result in matured.items()
    )


def _mature(
    result: MetricResult, metric: Metric, request: AggregationRequest, data_through: datetime | None
) -> Maturity:
    closed = sum(variant.units for variant in result.variants)
    still_open = sum(variant.open_units for variant in result.variants)
    return Maturity(
        known_share=closed / (closed + still_open) if closed + still_open else None,
        closes_by=last_close(metric, request, data_through) if still_open else None,
    )


def _late(outcome: MetricResult | None) -> LateOutcome | None:
    if outcome is None or outcome.maturity is None:
        return None
    return LateOutcome(
        metric=outcome.metric,
        known_share=outcome.maturity.known_share,
        closes_by=outcome.maturity.closes_by,
        known_units={variant.variant: variant.units for variant in outcome.variants},
        verdicts={comparison.variant: comparison.verdict for comparison in outcome.comparisons},
    )


State = Literal["waits", "fails", "passes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A guardrail and the late outcome that it stands for, in one treatment.

    Attributes:
        guarded: whether the outcome is a guardrail as well, so that it must be shown to be safe itself.
    """

    guardrail: str
    outcome: LateOutcome
    guarded: bool
    variant: str
    control: str

    @property
    def unknown(self) -> bool:
        """Whether nothing can be said about the outcome, since an arm has no unit whose window has closed."""
        return not (self.outcome.known_units[self.variant] and self.outcome.known_units[self.control])

    @property
    def hopeless(self) -> bool:
        """Whether no more of it will be known."""
        return self.outcome.closes_by is None

    @property
    def worse(self) -> bool:
        """Whether the outcome is shown to be worse."""
        return self.outcome.verdicts[self.variant] == "worse"

    @property
    def safe(self) -> bool:
        """Whether the outcome, as a guardrail, is shown to stay within its margin."""
        return self.outcome.verdicts[self.variant] == "non_inferior"

    @property
    def state(self) -> State:
        """Whether a decision to ship has to wait for the outcome, must not be taken, or may be."""
        if self.worse:
            return "fails"
        if not self.unknown and (self.safe or not self.guarded):
            return "passes"
        return "fails" if self.hopeless else "waits"

    @property
    def subject(self) -> str:
        """How sentences about it begin."""
        return f"{self.variant}: {self.outcome.metric}, the late outcome of {self.guardrail},"

    def speak(self) -> str:
        """What is known about the outcome."""
        if self.unknown and self.hopeless:
            return f"{self.subject} is not known, and never will be: no window closes any more."
        if self.unknown:
            return f"{self.subject} is not known yet for any unit of an arm."
        return f"{self.subject} is known for {say_share(self.outcome.known_share)}, and {self._found()}."

    def _found(self) -> str:
        if self.worse:
            return "worse"
        if not self.guarded:
            return "not shown to be worse"
        return "stays within its margin" if self.safe else "not shown to stay within its margin"


def say_share(share: float | None) -> str:
    """The share of units as people read it: never rounded up, nor to none of them.

    >>> say_share(0.3789), say_share(0.9999), say_share(0.0001), say_share(1.0), say_share(0.0)
    ('37% of units', '99% of units', 'less than 1% of units', 'all units', 'no unit')
    """
    if not share:
        return "no unit"
    if share >= 1:
        return "all units"
    return f"{int(100 * share)}% of units" if share >= 1 / 100 else "less than 1% of units"


def guardrail_signs(metrics: Sequence[MetricResult], variant: str, control: str) -> tuple[Sign, ...]:
    """The guardrails that are early signs of something, in a treatment."""
    roles = {metric.metric: metric.role for metric in metrics}
    return tuple(
        Sign(
            guardrail=metric.metric,
            outcome=metric.outcome,
            guarded=roles[metric.outcome.metric] == "guardrail",
            variant=variant,
            control=control,
        )
        for metric in metrics
        if metric.role == "guardrail" and metric.outcome is not None
    )


def release(decision: Decision, metrics: Sequence[MetricResult], control: str) -> Decision:
    """A decision that waits for late outcomes, as it stands by what is known of them now.

    It ships once they are known and nothing speaks against it; nothing else is decided again.

    Args:
        decision: of an earlier look.
        metrics: results of now.
        control: key of the control.
    """
    if decision.variant is None or not decision.awaits:
        return decision
    signs = guardrail_signs(metrics, decision.variant, control)
    signs = tuple(sign for sign in signs if sign.outcome.metric in decision.awaits)
    states = {sign.state for sign in signs}
    kept = [reason for reason in decision.reasons if not any(reason.startswith(sign.subject) for sign in signs)]
    reasons = (*kept, *(sign.speak() for sign in signs))
    if "fails" in states:
        return Decision(recommendation="inconclusive", variant=None, reasons=reasons)
    if "waits" in states:
        return replace(decision, reasons=reasons)
    return Decision(recommendation="ship", variant=decision.variant, reasons=reasons)
