"""What planned units are expected to show: distances from the null hypotheses in standard errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.goal import Goal, Kind, Split
from abplatform.stats.validation import Direction, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedRates:
    """What tests that read counts need to know, beyond z, of a goal on a rate; arrays broadcast.

    Attributes:
        treatment_units, control_units: of the two arms.
        treatment, control: their true rates, which may lie outside of 0 to 1 where the goal is impossible.
        margin: what is still acceptable.
        relative: whether the margin is a share of the control's rate.
        direction: which way is better.
        share: planned share of the treatment among the units of the two arms.
        inflation: what adjustment and clustering do to the variance.
    """

    treatment_units: FloatArray
    control_units: FloatArray
    treatment: FloatArray
    control: FloatArray
    margin: FloatArray
    relative: bool
    direction: Direction
    share: float
    inflation: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The expected test statistics of a goal at given units.

    Attributes:
        kind: of the goal.
        near: expected z against "worse by the margin" (superiority: no margin); a claim is a large one.
        far: the same against "better by the margin"; infinite unless the goal is equivalence.
        freedom: degrees of freedom (Welch, 1947); infinite where tests are normal.
        standard_error: of the contrast with control behind ``near``.
        magnitude: of the control mean, for thresholds relative to it.
        rates: rates and units behind all this; ``None`` where the metric is no rate.
    """

    kind: Kind
    near: FloatArray
    far: FloatArray
    freedom: FloatArray
    standard_error: FloatArray
    magnitude: FloatArray
    rates: ExpectedRates | None = None


@np.errstate(all="ignore")
def expected_evidence(baseline: Baseline, goal: Goal, arms: FloatArray, split: Split) -> Evidence:
    """Return what is expected with ``arms`` units in the arms along the last axis.

    The contrasts are those of the tests themselves (``margins.margin_contrast``): a relative margin m weighs
    the control by ``1 -+ m``, so that the control's noise counts. NaN where history has no variance, where a
    relative goal has no control mean, or where a rate would leave 0 to 1.
    """
    magnitude = np.abs(baseline.mean)
    scale = magnitude if goal.relative else np.ones(())
    effect, margin = goal.effect * scale, goal.margin * scale
    treatment = baseline.treatment_variance(baseline.mean + goal.better * effect) / arms[..., split.treatment]
    control = baseline.unit_variance / arms[..., split.control]
    tilt = goal.better * np.sign(baseline.mean) * goal.margin if goal.relative else np.zeros(())
    control_near = np.square(1 - tilt) * control
    error = np.sqrt(treatment + control_near)
    far = np.full(error.shape, np.inf)
    if goal.kind == "equivalence":
        far = (margin - effect) / np.sqrt(treatment + np.square(1 + tilt) * control)
    share = treatment / (treatment + control_near)
    freedom = [np.maximum(baseline.freedom_share * arms[..., arm] - 1, 1.0) for arm in (split.treatment, split.control)]
    return Evidence(
        kind=goal.kind,
        near=np.where(error > 0, (effect + margin) / error, np.nan),
        far=far,
        freedom=1 / (np.square(share) / freedom[0] + np.square(1 - share) / freedom[1]),
        standard_error=error,
        magnitude=magnitude,
        rates=_expected_rates(baseline, goal, arms, split) if baseline.binary else None,
    )


def _expected_rates(baseline: Baseline, goal: Goal, arms: FloatArray, split: Split) -> ExpectedRates:
    effect = goal.effect * (baseline.mean if goal.relative else 1.0)
    pair = split.weights[split.treatment], split.weights[split.control]
    return ExpectedRates(
        treatment_units=arms[..., split.treatment],
        control_units=arms[..., split.control],
        treatment=baseline.mean + goal.better * effect,
        control=baseline.mean,
        margin=goal.margin,
        relative=goal.relative,
        direction=goal.direction,
        share=pair[0] / sum(pair),
        inflation=baseline.inflation,
    )
