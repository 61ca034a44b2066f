"""A guardrail of every kind: safe where the arms agree, harmed where one is far worse, whatever its margin is of."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest

from abplatform.domain.arm_cell import ArmCell, BelowCuts, Denominator, Lifetimes
from abplatform.domain.arms import Comparand
from abplatform.domain.experiment import Amount
from abplatform.domain.guardrails import GuardrailCell, judge_guardrail
from abplatform.domain.metric import Direction, Measure, Metric, Step
from tests.builders import a_metric, a_metric_use, an_experiment
from tests.domain.aggregations import a_rate

UNITS = 40_000
"""Of each arm; with the plan's 100,000 in all most of the planned information is there."""
CUTS = tuple(float(cut) for cut in range(20, 401, 20))
RELATIVE, ABSOLUTE = Amount(relative=0.2), Amount(absolute=20.0)
STEPS = (Step(event="open"), Step(event="pay"))
KINDS: dict[str, Metric] = {
    "conversion": a_metric("guard"),
    "retention": a_metric("guard", kind="retention"),
    "funnel": a_metric("guard", kind="funnel", event="", steps=STEPS),
    "count": a_metric("guard", kind="count"),
    "sum": a_metric("guard", kind="sum"),
    "capped sum": a_metric("guard", kind="sum"),
    "ratio": a_metric("guard", kind="ratio", denominator=Measure(event="order")),
    "quantile of units": a_metric("guard", kind="quantile"),
    "quantile of events": a_metric("guard", kind="quantile", over="events"),
    "time_to in a window": a_metric("guard", kind="time_to"),
    "time_to without end": a_metric("guard", kind="time_to", window=None),
}


def a_cell(kind: str, variant: str, scale: float) -> ArmCell:
    """Units whose values are even from 0 to 200 times ``scale``; a share of ``scale`` / 4 of them converted."""
    if KINDS[kind].is_rate:
        return a_rate(variant, UNITS, round(UNITS * scale / 4), name="guard")
    mean, variance = 100 * scale, (200 * scale) ** 2 / 12
    below = [min(cut / (200 * scale), 1.0) for cut in CUTS]
    changes: dict[str, object] = {}
    if kind == "capped sum":
        changes = {"m3": 0.0}
    if kind == "ratio":
        # Two orders each on average, whose number is not correlated with what they bring.
        changes = {"denominator": Denominator(total=Decimal(2 * UNITS), mean=2.0, m2=float(UNITS), product=0.0)}
    if kind.startswith("quantile") or kind == "time_to in a window":
        changes = {"below": cut_counts(below)}
    if kind == "time_to without end":
        done = [0, *(round(UNITS * share) for share in below)]
        finished = tuple(high - low for low, high in pairwise(done))
        changes = {"lifetimes": Lifetimes(cuts=CUTS, finished=finished, censored=(0,) * len(CUTS))}
    return ArmCell(
        name="guard",
        variant=variant,
        units=UNITS,
        open_units=0,
        nonzero=UNITS,
        total=Decimal(round(mean * UNITS)),
        mean=mean,
        m2=variance * UNITS,
        **changes,  # type: ignore[arg-type]
    )


def cut_counts(below: list[float]) -> BelowCuts:
    """Every unit has one value."""
    none = (0.0,) * len(below)
    return BelowCuts(
        cuts=CUTS,
        members=UNITS,
        mean_d=1.0,
        m2_d=0.0,
        mean_y=tuple(below),
        m2_y=tuple(UNITS * share * (1 - share) for share in below),
        c_yd=none,
    )


def judge(kind: str, scale: float, margin: Amount, direction: Direction = "increase") -> GuardrailCell:
    """The guardrail of a treatment whose values are ``scale`` times those of the control."""
    metric = a_metric("guard", **{**fields_of(KINDS[kind]), "direction": direction})
    use = a_metric_use("guard", role="guardrail", mde=None, non_inferiority_margin=margin)
    row = Comparand(
        use=use, metric=metric, control=a_cell(kind, "control", 1.0), treatments=(a_cell(kind, "treatment", scale),)
    )
    (judged,) = judge_guardrail(an_experiment(metrics=(a_metric_use(), use)), row, None)
    return judged


def fields_of(metric: Metric) -> dict[str, object]:
    return {name: getattr(metric, name) for name in Metric.__dataclass_fields__ if name != "key"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relative", [True, False])
def test_arms_that_agree_are_safe(kind: str, relative: bool) -> None:
    absolute = Amount(absolute=0.05) if KINDS[kind].is_rate else ABSOLUTE
    judged = judge(kind, 1.0, RELATIVE if relative else absolute)
    assert (judged.non_inferior, judged.harmful, judged.block) == (True, False, None)
    assert judged.p_value is not None
    assert judged.p_value < 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("direction", "scale"), [("increase", 0.6), ("decrease", 1.6)])
def test_an_arm_that_is_far_worse_is_harmed(kind: str, direction: Direction, scale: float) -> None:
    judged = judge(kind, scale, RELATIVE, direction)
    assert (judged.non_inferior, judged.harmful) == (False, True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("direction", "scale"), [("increase", 1.6), ("decrease", 0.6)])
def test_an_arm_that_is_far_better_is_safe(kind: str, direction: Direction, scale: float) -> None:
    judged = judge(kind, scale, RELATIVE, direction)
    assert (judged.non_inferior, judged.harmful) == (True, False)
