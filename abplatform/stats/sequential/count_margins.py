"""Is a guardrail on a rate safe? Exact non-inferiority from four counts, valid at every unit and event.

Counts need no guard and no normal approximation: a complaint rate of 0.1% may be watched from the first unit on.
The null hypothesis is that the treatment is worse by the margin or more. Bets against it (``bets``) win wealth where
it is wrong; the wealth is the e-value, and the harm that it does not refute ends at the confidence bound.

It needs what randomisation gives: each unit goes to the treatment with the planned share, independently of all
else. Rates may drift. A sample ratio mismatch breaks it, and is reported first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from abplatform.stats.margins import Margin
from abplatform.stats.results import NonInferiority, NotComputable, named_reasons, reason_code
from abplatform.stats.roots import find_crossing
from abplatform.stats.sequential.bets import Bets, Border, log_wealth, place_bets, second_wealth
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import (
    Direction,
    FloatArray,
    instance_of,
    known_direction,
    positive,
    probability,
    same_grid,
)

METHOD = "count_e_process"

UNPLANNED_RATES = np.array([0.0, 0.5, 1.0])
UNPLANNED_WEIGHTS = np.array([0.5, 0.25, 0.25])
"""Without a base rate bets are centred on rare, even and near-certain outcomes at once."""

RARE = 0.01
"""A rate, or its complement, for tuning only: where the plan does not say how rare outcomes are."""

FARTHEST = 10.0
"""Ratios whose log lies beyond count as unbounded."""


@np.errstate(all="ignore")
def log_margin_e_value(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    margin: Margin,
    share: ArrayLike,
    planned_units: ArrayLike,
    alpha: ArrayLike = 0.05,
    direction: Direction,
    base_rate: ArrayLike | None = None,
) -> FloatArray:
    """Return the log e-value against "worse by the margin or more"; arguments as ``count_non_inferiority``.

    >>> complaints = ProportionStats(40_000, 41), ProportionStats(40_000, 40)
    >>> plan = {"share": 0.5, "planned_units": 80_000, "direction": "decrease", "base_rate": 0.001}
    >>> round(float(log_margin_e_value(*complaints, margin=Margin(0.001), **plan)), 2)
    7.52
    """
    design = _design(share, planned_units, alpha, base_rate)
    watch = _watch(treatment, control, margin, design, direction)
    return watch.log_e_value(watch.border.x)


@np.errstate(all="ignore")
def count_non_inferiority(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    margin: Margin,
    share: ArrayLike,
    planned_units: ArrayLike,
    alpha: ArrayLike = 0.05,
    direction: Direction,
    base_rate: ArrayLike | None = None,
) -> NonInferiority:
    """Test at every look, one-sided at ``alpha`` over all of them and exactly, that harm stays below the margin.

    Args:
        treatment: units and converted units of the treatment, any shape. Every unit enters once, when its outcome
            is known.
        control: the same of the control, broadcast against treatment.
        margin: what is still acceptable, absolute or relative. 0 asks for superiority, by converted units alone where
            it is relative and there is no ``base_rate``: the other side of what ``harm_p_value`` watches.
        share: planned share of the treatment's units among those of both arms, between 0 and 1.
        planned_units: units of both arms at which the plan decides; tunes the bets and never affects validity.
        alpha: one-sided error rate over all looks, below 0.5.
        direction: ``increase`` where more is better (harm is a fall), ``decrease`` where less is.
        base_rate: rate of the control that the plan expects, between 0 and 1. It removes noise and never affects
            validity; without it a fifth more units are needed, and two fifths for rates near 1.

    Returns:
        A ``NonInferiority`` of kind ``confidence_sequence``. The bound is on the difference, or on the lift for a
        relative margin, and excludes the limit exactly when p < alpha. No events in either arm are evidence about
        an absolute margin and none about a relative one, whose bound is then NaN. Arms without units carry
        ``NO_UNITS``; a single unit, or no variation, is no special case.

    Raises:
        ValueError: naming the argument that does not fit; ``margin`` also where a fall by 100% would be accepted.

    >>> complaints = ProportionStats(40_000, 41), ProportionStats(40_000, 40)
    >>> plan = {"share": 0.5, "planned_units": 80_000, "direction": "decrease", "base_rate": 0.001}
    >>> test = count_non_inferiority(*complaints, margin=Margin(0.001), **plan)
    >>> bool(test.non_inferior), round(float(test.bound), 6)
    (True, 0.000656)
    """
    design = _design(share, planned_units, alpha, base_rate)
    watch = _watch(treatment, control, margin, design, direction)
    log_e = watch.log_e_value(watch.border.x)
    empty = np.broadcast_to(np.minimum(treatment.n, control.n) == 0, log_e.shape)
    p_value = np.where(empty, np.nan, np.exp(np.minimum(-log_e, 0.0)))
    bound = np.where(empty, np.nan, _bound(watch, design.alpha, log_e.shape, falls=direction == "decrease"))
    return NonInferiority(
        method=METHOD,
        interval_kind="confidence_sequence",
        bound=bound,
        limit=np.broadcast_to(margin.size if direction == "decrease" else -margin.size, log_e.shape),
        p_value=p_value,
        non_inferior=p_value < design.alpha,
        not_computable=named_reasons(np.where(empty, reason_code(NotComputable.NO_UNITS), 0).astype(np.int8)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """What the plan knows before the data; only the share decides validity, the rest tightness.

    Attributes:
        share: planned share of the first arm.
        planned_units: of both arms.
        alpha: one-sided error rate.
        base_rate: expected rate of the control, if known.
    """

    share: FloatArray
    planned_units: FloatArray
    alpha: FloatArray
    base_rate: FloatArray | None


def _design(share: ArrayLike, planned_units: ArrayLike, alpha: ArrayLike, base_rate: ArrayLike | None) -> _Design:
    return _Design(
        share=probability("share", share),
        planned_units=positive("planned_units", planned_units),
        alpha=probability("alpha", alpha, below=0.5),
        base_rate=None if base_rate is None else probability("base_rate", base_rate),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Watch:
    """All that stays while the border moves. The first arm is the one that converts more where there is harm."""

    first: ProportionStats
    border: Border
    bets: Bets
    earned: FloatArray

    def log_e_value(self, x: FloatArray) -> FloatArray:
        """Return the log e-value against the border ``x``, which it rises with."""
        return log_wealth(self.bets, self.first, Border(x, self.border.relative), self.earned)


def _watch(
    treatment: ProportionStats, control: ProportionStats, margin: Margin, design: _Design, direction: Direction
) -> _Watch:
    known_direction(direction)
    instance_of("margin", margin, Margin, "Margin(0.001)")
    for name, arm in (("treatment", treatment), ("control", control)):
        instance_of(name, arm, ProportionStats, "ProportionStats(40_000, 41)")
    falls = direction == "decrease"
    grid = same_grid(
        treatment=treatment.estimate,
        control=control.estimate,
        margin=margin.size,
        share=design.share,
        planned_units=design.planned_units,
        alpha=design.alpha,
        base_rate=np.zeros(()) if design.base_rate is None else design.base_rate,
    )
    first, second = (treatment, control) if falls else (control, treatment)
    design = design if falls else replace(design, share=1 - design.share)
    border = _border(margin, falls=falls)
    bets = _bets(border, design, falls=falls, axes=len(grid))
    return _Watch(first, border, bets, second_wealth(bets, second))


def _border(margin: Margin, *, falls: bool) -> Border:
    """Return what "worse by the margin" means for the first arm against the second."""
    if not margin.relative:
        return Border(margin.size, relative=False)
    if falls:
        return Border(1 + margin.size, relative=True)
    if (margin.size >= 1).any():
        raise ValueError("margin must be below 100% where more is better")
    return Border(1 / (1 - margin.size), relative=True)


def _bets(border: Border, design: _Design, *, falls: bool, axes: int) -> Bets:
    """Centre the bets on the base rate of the control, or on rates of every kind where there is none."""
    if design.base_rate is not None:
        base = design.base_rate
        rates, weights = base.reshape(1, *[1] * (axes - base.ndim), *base.shape), np.ones([1] * (axes + 1))
    else:
        behind = (-1, *[1] * axes)
        # Without a margin converted units alone decide, as they do in harm alarms.
        without = border.x == border.nothing
        rates = UNPLANNED_RATES.reshape(behind)
        weights = np.where(without, rates == 0, UNPLANNED_WEIGHTS.reshape(behind)).astype(np.float64)
    # The control is the second arm where less is better, else the first.
    planned_second = design.base_rate is not None and falls
    centres = rates if planned_second else _second_rate(rates, border)
    return place_bets(border, _tuned_stake(border, rates, design), share=design.share, centres=centres, weights=weights)


def _second_rate(first_rate: FloatArray, border: Border) -> FloatArray:
    """Return the second arm's rate on the border."""
    return np.asarray(first_rate / border.x if border.relative else np.maximum(first_rate - border.x, 0.0))


def _tuned_stake(border: Border, rates: FloatArray, design: _Design) -> FloatArray:
    """Return the stake whose wealth grows fastest if both arms have these rates.

    With a gap g between that truth and the border and a variance ``V = p (1 - p) / (w (1 - w))`` of a unit, this is
    ``g / V``. A plan of usual power has ``n g^2 / V`` near ``B = 3.6 ln(1 / alpha)``, so that ``B / (n g)`` serves
    where V is unknown. For rare outcomes under a relative margin g and V shrink alike, and their ratio stays. Without
    a margin it is ``sqrt(B / (n V))``.
    """
    needed = -3.6 * np.log(design.alpha) / design.planned_units
    odds = design.share * (1 - design.share)
    lift = 1 - 1 / border.x if border.relative else border.x / np.where(rates > 0, rates, 1.0)
    if design.base_rate is None:
        tuned = needed / (lift * np.where(rates > 0, rates, 1.0))
        tuned = np.where(rates > 0, tuned, lift * odds) if border.relative else tuned
    else:
        tuned = lift * odds / (1 - rates)
    searching = np.sqrt(needed * odds / np.where(rates > 0, rates * (1 - rates), RARE))
    return np.where(border.x > border.nothing, tuned, searching)


def _bound(watch: _Watch, alpha: FloatArray, shape: tuple[int, ...], *, falls: bool) -> FloatArray:
    """Return where harm is no longer refuted, on the scale of the margin; NaN where nothing is."""
    threshold = np.sqrt(-np.log(alpha))

    def beyond(x: FloatArray) -> FloatArray:
        # Log e-values are nearly quadratic in x, so that their roots are nearly straight lines.
        log_e = watch.log_e_value(np.exp(x) if watch.border.relative else x)
        return np.copysign(np.sqrt(np.abs(log_e)), log_e) - threshold

    reach = FARTHEST if watch.border.relative else 1.0
    lower, upper = np.full(shape, -reach), np.full(shape, reach)
    root = np.where(beyond(lower) > 0, lower, find_crossing(beyond, upper, lower))
    harm = root if falls else -root
    return np.where(root < reach, np.expm1(harm), np.nan) if watch.border.relative else harm
