"""Breakdowns to show: slices of two arms, one of them better, one too small; and the same with hostile names."""

from __future__ import annotations

from abplatform.domain.breakdown import Breakdown, MetricBreakdown, SliceResult
from abplatform.domain.differences import Difference, Differences
from abplatform.domain.scorecard import ComparisonResult, Interval, VariantResult, Verdict
from tests.builders import NOW
from tests.readouts.scorecards import HOSTILE


def a_breakdown(by: str = "channel", slice_: str = "douyin", metric: str = "purchase") -> Breakdown:
    """Rates in three slices: one is better, one is not, and one has a single unit."""
    slices = (
        SliceResult(slice=slice_, variants=(_arm("control", 0.1), _arm("treatment", 0.15)), comparisons=(_effect(),)),
        SliceResult(
            slice="(none)",
            variants=(_arm("control", 0.1), _arm("treatment", 0.1)),
            comparisons=(_effect(0.0, p_value=1.0, adjusted=1.0, verdict="inconclusive"),),
        ),
        SliceResult(
            slice="(rest)",
            variants=(_arm("control", 1.0, units=1), _arm("treatment", None, units=0)),
            comparisons=(_effect(None, p_value=None, adjusted=None, verdict="not_computable"),),
        ),
    )
    return Breakdown(
        experiment="rate-display",
        phase=1,
        by=by,
        method="fixed",
        alpha=0.05,
        computed_at=NOW,
        data_through=NOW,
        metrics=(
            MetricBreakdown(metric=metric, kind="conversion", role="guardrail", direction="increase", slices=slices),
        ),
        differences=(a_difference(by, metric),),
    )


def a_difference(dimension: str = "channel", metric: str = "purchase") -> Difference:
    """One that is sure."""
    return Difference(
        dimension=dimension,
        metric=metric,
        variant="treatment",
        slices=2,
        p_value=0.001,
        adjusted_p_value=0.002,
        found=True,
        share=0.9,
        not_computable=None,
    )


def some_differences() -> Differences:
    """One that is sure, and one that could not be asked."""
    unknown = Difference(
        dimension="city",
        metric="purchase",
        variant="treatment",
        slices=1,
        p_value=None,
        adjusted_p_value=None,
        found=False,
        share=None,
        not_computable="TOO_FEW_GROUPS",
    )
    return Differences(
        experiment="rate-display",
        phase=1,
        alpha=0.05,
        computed_at=NOW,
        data_through=NOW,
        differences=(a_difference(), unknown),
    )


def a_hostile_breakdown() -> Breakdown:
    """Names that would be markup, code or terminal commands."""
    return a_breakdown(by=HOSTILE, slice_=HOSTILE)


def _arm(variant: str, mean: float | None, *, units: int = 2000) -> VariantResult:
    total = "0" if mean is None else f"{mean * units:.0f}"
    return VariantResult(variant=variant, units=units, open_units=0, sum=total, mean=mean, sd=0.3)


def _effect(
    size: float | None = 0.05,
    *,
    p_value: float | None = 0.0001,
    adjusted: float | None = 0.0002,
    verdict: Verdict = "better",
) -> ComparisonResult:
    return ComparisonResult(
        variant="treatment",
        control="control",
        absolute=_span(size, 1),
        relative=_span(size, 10),
        interval_kind="fixed",
        p_value=p_value,
        adjusted_p_value=adjusted,
        holm_p_value=None,
        simultaneous=None,
        chance_to_win=None,
        expected_loss=None,
        margin=None,
        probability_worse_than_margin=None,
        information_fraction=None,
        information_fractions=None,
        boundary=None,
        exploratory=True,
        verdict=verdict,
        not_computable="NO_UNITS" if size is None else None,
        warnings=() if size is None else ("FEW_EVENTS",),
    )


def _span(size: float | None, times: float) -> Interval:
    if size is None:
        return Interval(estimate=None, lower=None, upper=None)
    return Interval(estimate=times * size, lower=times * (size - 0.02), upper=times * (size + 0.02))
