"""Scorecards to be read: invented numbers, shaped like the three methods' results."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from abplatform.domain.experiment import DecisionRecord
from abplatform.domain.maturity import LateOutcome, Maturity
from abplatform.domain.scorecard import (
    ComparisonResult,
    Decision,
    Interval,
    Margin,
    MetricResult,
    Scorecard,
    Staleness,
    VariantResult,
)
from abplatform.domain.soundness import CovariateBalance, Health, SampleRatio

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"


def _span(estimate: float, half: float) -> Interval:
    return Interval(estimate=estimate, lower=estimate - half, upper=estimate + half)


def _arm(variant: str, units: int, total: str, mean: float, sd: float, **more: int) -> VariantResult:
    return VariantResult(
        variant=variant,
        units=units,
        open_units=more.get("open_units", 0),
        sum=total,
        mean=mean,
        sd=sd,
        clusters=more.get("clusters"),
    )


def fixed_scorecard() -> Scorecard:
    """Three arms, judged once at the planned size."""
    control, treatment = "No E-Mail", "Mens E-Mail"

    def effect(variant: str, absolute: Interval, relative: Interval, p_value: float) -> ComparisonResult:
        return ComparisonResult(
            variant=variant,
            control=control,
            absolute=absolute,
            relative=relative,
            interval_kind="fixed",
            p_value=p_value,
            adjusted_p_value=min(1.0, 2 * p_value),
            verdict="better" if p_value < 0.025 else "inconclusive",
        )

    visit = MetricResult(
        metric="visit",
        kind="conversion",
        role="primary",
        direction="increase",
        always_valid=False,
        variants=(
            _arm(control, 21306, "2262", 0.10616727682343001, 0.30806),
            _arm(treatment, 21307, "3894", 0.1827568404749613, 0.38648),
        ),
        comparisons=(effect(treatment, _span(0.07658956365153, 0.0066), _span(0.7214045, 0.071), 1.2e-111),),
    )
    spend = MetricResult(
        metric="spend",
        kind="sum",
        role="secondary",
        direction="increase",
        always_valid=False,
        variants=(
            _arm(control, 21306, "13908.330000", 0.6527894, 11.588),
            _arm(treatment, 21307, "30311.690000", 1.4226165, 17.754),
        ),
        comparisons=(effect(treatment, _span(0.7698271, 0.2846), _span(1.179289, 0.5512), 1.1e-7),),
    )
    return Scorecard(
        experiment="e-mail",
        name="E-mail to lapsed customers",
        phase=1,
        status="stopped",
        method="fixed",
        alpha=0.05,
        planned_units=42613,
        look=1,
        computed_at=NOON,
        data_through=NOON - timedelta(minutes=1),
        preregistered=False,
        health=Health(
            ok=True,
            units={control: 21306, treatment: 21307},
            sample_ratio=SampleRatio(p_value=0.9961, sequential_p_value=1.0, ok=True),
            multi_variant_units=0,
            multi_variant_p_value=None,
            mismatched_exposures=0,
            covariates=(
                CovariateBalance(covariate="history", means={control: 240.8827, treatment: 242.8359}, p_value=0.4304),
            ),
        ),
        metrics=(visit, spend),
        decision=Decision(
            recommendation="ship", variant=treatment, reasons=("visit is better in Mens E-Mail (p < 0.0001)",)
        ),
    )


def sequential_scorecard(look: int = 3) -> Scorecard:
    """A running experiment with a guardrail, at its first, second or third look."""
    units = 4000 * look
    half = 0.35 / look**0.5
    lift = 0.22 + 0.08 / look
    effect = ComparisonResult(
        variant="treatment",
        control="control",
        absolute=_span(0.1 * lift, 0.1 * half),
        relative=_span(lift, half),
        interval_kind="confidence_sequence",
        p_value=0.4 / 10**look,
        adjusted_p_value=0.4 / 10**look,
        simultaneous=_span(0.1 * lift, 0.1 * half),
        variance_reduction=0.4236,
        verdict="better" if lift > half else "inconclusive",
    )
    harm = ComparisonResult(
        variant="treatment",
        control="control",
        absolute=Interval(estimate=0.0001, lower=None, upper=0.0009),
        relative=Interval(estimate=0.04, lower=None, upper=0.36),
        interval_kind="confidence_sequence",
        p_value=0.012,
        adjusted_p_value=None,
        margin=Margin(relative=None, absolute=0.001),
        verdict="non_inferior",
        warnings=("fewer than 100 units with a complaint in each arm",),
    )
    purchase = MetricResult(
        metric="purchase",
        kind="conversion",
        role="primary",
        direction="increase",
        always_valid=True,
        variants=(
            _arm("control", units // 2, str(units // 20), 0.1, 0.3, open_units=120),
            _arm("treatment", units // 2, str(int(units / 20 * (1 + lift))), 0.1 * (1 + lift), 0.32, open_units=131),
        ),
        comparisons=(effect,),
    )
    complaint = MetricResult(
        metric="complaint",
        kind="conversion",
        role="guardrail",
        direction="decrease",
        always_valid=True,
        variants=(
            _arm("control", units // 2, str(units // 800), 0.0025, 0.05),
            _arm("treatment", units // 2, str(units // 770), 0.0026, 0.05),
        ),
        comparisons=(harm,),
    )
    return Scorecard(
        experiment="rate-display",
        name="Rate display: 每万元收益 instead of a percentage",
        phase=1,
        status="running",
        method="sequential",
        alpha=0.05,
        planned_units=20000,
        look=look,
        computed_at=NOON + timedelta(hours=look),
        data_through=NOON + timedelta(hours=look),
        preregistered=True,
        health=Health(
            ok=True,
            units={"control": units // 2, "treatment": units // 2},
            sample_ratio=SampleRatio(p_value=0.87, sequential_p_value=1.0, ok=True),
            multi_variant_units=3,
            multi_variant_p_value=0.56,
            mismatched_exposures=0,
            warnings=("3 units met both variants and are left out",),
        ),
        metrics=(complaint, purchase),
        decision=Decision(
            recommendation="continue", variant=None, reasons=("12,000 of 20,000 planned units have been analysed",)
        ),
    )


def sequential_looks() -> tuple[Scorecard, ...]:
    """Three looks of the running experiment."""
    return tuple(sequential_scorecard(look) for look in (1, 2, 3))


def exploratory_scorecard() -> Scorecard:
    """The mails by another method than the plan's, which has no loss threshold; a guardrail with a relative margin."""
    fixed = fixed_scorecard()
    spend = fixed.metrics[1]
    opened = replace(
        spend,
        role="guardrail",
        metric="seconds_until_the_first_page_is_complete",
        direction="decrease",
        comparisons=(
            replace(
                spend.comparisons[0],
                margin=Margin(relative=0.01, absolute=0.006527894),
                adjusted_p_value=0.9999,
                verdict="worse",
            ),
        ),
    )
    return replace(
        fixed,
        method="bayesian",
        look=0,
        metrics=tuple(_as_bayesian(metric) for metric in (*fixed.metrics, opened)),
    )


def _as_bayesian(metric: MetricResult) -> MetricResult:
    comparison = replace(
        metric.comparisons[0], interval_kind="credible", p_value=None, chance_to_win=0.99999, exploratory=True
    )
    if comparison.margin is None:
        comparison = replace(comparison, adjusted_p_value=None, verdict="inconclusive")
    return replace(metric, comparisons=(comparison,))


def hostile_scorecard() -> Scorecard:
    """A Bayesian result that cannot be trusted, with names that attack whoever shows them unescaped."""
    effect = ComparisonResult(
        variant=HOSTILE,
        control='"><img src=x onerror=alert(2)>',
        absolute=Interval(estimate=None, lower=None, upper=None),
        relative=Interval(estimate=None, lower=None, upper=None),
        interval_kind="credible",
        p_value=None,
        adjusted_p_value=None,
        chance_to_win=0.99995,
        expected_loss=0.0,
        verdict="not_computable",
        not_computable="no variation </script><script>alert(3)</script>",
    )
    metric = MetricResult(
        metric="clicks",
        kind="sum",
        role="primary",
        direction="increase",
        always_valid=False,
        variants=(
            replace(_arm(effect.control, 10, "0", 0.0, 0.0), clusters=4),
            _arm(HOSTILE, 1_234_567, "-98765432109876.123456", -80000000.5, 1.0),
        ),
        comparisons=(effect,),
    )
    return replace(
        fixed_scorecard(),
        experiment="hostile",
        name=f"{HOSTILE} \x1b[31m{{{{ 7*7 }}}} [red]{chr(0x202E)}",
        method="bayesian",
        look=0,
        data_through=None,
        health=Health(
            ok=False,
            units={effect.control: 10, HOSTILE: 1_234_567},
            sample_ratio=SampleRatio(p_value=0.0, sequential_p_value=0.0, ok=False),
            multi_variant_units=12,
            multi_variant_p_value=None,
            mismatched_exposures=7,
            warnings=(f"the split is not as planned {HOSTILE}",),
        ),
        metrics=(metric,),
        decision=Decision(
            recommendation="invalid",
            variant=None,
            reasons=("The data are not sound.", f"the split is not as planned {HOSTILE}"),
        ),
    )


def empty_scorecard() -> Scorecard:
    """An experiment that nobody has met yet."""
    return replace(
        sequential_scorecard(1),
        look=1,
        data_through=None,
        health=Health(
            ok=True,
            units={},
            sample_ratio=SampleRatio(p_value=None, sequential_p_value=None, ok=True),
            multi_variant_units=0,
            multi_variant_p_value=None,
            mismatched_exposures=0,
        ),
        metrics=(),
        decision=Decision(recommendation="continue", variant=None, reasons=("no unit has been exposed yet",)),
    )


def decided_scorecard() -> Scorecard:
    """A second phase that leaves units of the first one out, shipped by people before the data recommend it.

    It is read while the disk is full.
    """
    running = sequential_scorecard(1)
    stale = Staleness(since=running.computed_at, reason="the disk of the database is full; try again shortly")
    return replace(
        running,
        phase=2,
        alpha=0.025,
        status="stopped",
        health=replace(running.health, earlier_phase_units=1_204, warnings=(stale.warning, *running.health.warnings)),
        stale=stale,
        decision=Decision(
            recommendation="inconclusive", variant=None, reasons=("treatment: no primary metric is better.",)
        ),
        decision_taken=DecisionRecord(
            outcome="ship",
            variant="treatment",
            reason="The new law asks for it:\nfrom 1 December on.",
            decided_at=NOON + timedelta(days=1, minutes=5),
        ),
    )


def lending_scorecard() -> Scorecard:
    """A guardrail that is an early sign of bad debt, which is known for few units so far; both have had versions."""
    running = sequential_scorecard()
    complaint, purchase = running.metrics
    closes_by = datetime(2027, 5, 22, 12, 0, tzinfo=UTC)
    outcome = LateOutcome(
        metric="bad-debt",
        known_share=0.3789,
        closes_by=closes_by,
        known_units={"control": 2270, "treatment": 2276},
        verdicts={"treatment": "inconclusive"},
    )
    early = replace(
        complaint,
        metric="early-overdue",
        variants=tuple(replace(each, open_units=1490, open_share=1490 / 7490) for each in complaint.variants),
        maturity=Maturity(known_share=6000 / 7490, closes_by=closes_by - timedelta(days=90)),
        version=2,
        outcome=outcome,
    )
    effect = replace(
        complaint.comparisons[0],
        relative=Interval(estimate=-0.06, lower=-0.51, upper=0.39),
        absolute=Interval(estimate=-0.0001, lower=-0.0008, upper=0.0006),
        margin=None,
        adjusted_p_value=0.79,
        verdict="inconclusive",
        warnings=(),
    )
    late = replace(
        complaint,
        metric="bad-debt",
        role="secondary",
        variants=(
            replace(_arm("control", 2270, "4", 0.00176, 0.042, open_units=5220), open_share=5220 / 7490),
            replace(_arm("treatment", 2276, "4", 0.00176, 0.042, open_units=5214), open_share=5214 / 7490),
        ),
        comparisons=(effect,),
        maturity=Maturity(known_share=0.3789, closes_by=closes_by),
        version=1,
        newer_version=3,
    )
    known = (
        "treatment: bad-debt, the late outcome of early-overdue, is known for 37% of units, and not shown to be worse."
    )
    return replace(
        running,
        metrics=(early, late, replace(purchase, version=1)),
        decision=Decision(
            recommendation="ship",
            variant="treatment",
            reasons=("treatment: better on purchase.", known),
        ),
    )


ALL = {
    "fixed": fixed_scorecard,
    "sequential": sequential_scorecard,
    "exploratory": exploratory_scorecard,
    "hostile": hostile_scorecard,
    "empty": empty_scorecard,
    "decided": decided_scorecard,
    "lending": lending_scorecard,
}
