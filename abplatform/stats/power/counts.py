"""Power of the harm alarm on counts (``sequential.harm_p_value``): how soon it sounds at a true harm.

Each arriving unit is the treatment's with its planned share w and converts by its arm's rate, so that each
converted unit is the treatment's with probability ``w p_t / (w p_t + (1 - w) p_c)``, independently of all others.
The alarm after m conversions is a bound on the treatment's part of them; what has crossed it follows exactly from
a recursion over m, and the number of conversions among N units is binomial.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from abplatform.stats.power.results import Unplannable
from abplatform.stats.sequential.counts import log_harm_e_value
from abplatform.stats.validation import FloatArray, IntArray, positive, probability, whole_counts

MOST_CONVERSIONS = 10_000
"""Alarms that take more converted units than this are not planned: they guard against very small harms."""
_TAIL = 1e-12


@dataclass(frozen=True, slots=True)
class AlarmPlan:
    """When a harm alarm sounds.

    Attributes:
        units: fewest units of both arms together with the wanted power, or ``None``.
        power: probability that the alarm has sounded by then.
        conversions: converted units expected by then.
        not_plannable: ``NOT_REACHED`` where ``MOST_CONVERSIONS`` converted units are too few.
    """

    units: int | None
    power: float | None
    conversions: float | None
    not_plannable: Unplannable | None


def alarm_power(
    treatment_rate: float, control_rate: float, *, units: int, share: float = 0.5, alpha: float = 0.05
) -> float:
    """Return the probability that the harm alarm has sounded by the time ``units`` of both arms have come.

    Args:
        treatment_rate: true rate of the treatment, between 0 and 1.
        control_rate: true rate of the control.
        units: of both arms together.
        share: planned share of the treatment among them, between 0 and 1.
        alpha: one-sided error rate over all time.

    Raises:
        ValueError: naming the argument that does not fit, ``units`` when it means more conversions than can
            be followed.

    >>> round(alarm_power(0.002, 0.001, units=100_000), 2)
    0.92
    """
    merged, odds = _conversions(treatment_rate, control_rate, share)
    total = int(positive("units", whole_counts("units", units)))
    most = _most_conversions(total, merged)
    if most > MOST_CONVERSIONS:
        raise ValueError(f"units must mean at most {MOST_CONVERSIONS} conversions")
    return _mixed(_sounded(odds, share, alpha, most), total, merged)


def alarm_units(
    treatment_rate: float, control_rate: float, *, power: float = 0.8, share: float = 0.5, alpha: float = 0.05
) -> AlarmPlan:
    """Return the fewest units of both arms by which the harm alarm has sounded with the wanted power.

    Args:
        treatment_rate: true rate of the treatment, above the control's.
        control_rate: true rate of the control, between 0 and 1.
        power: wanted, between alpha and 1.
        share: planned share of the treatment among both arms.
        alpha: one-sided error rate over all time.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> alarm_units(0.002, 0.001).units
    70152
    """
    merged, odds = _conversions(treatment_rate, control_rate, share)
    if not float(probability("alpha", alpha)) < power < 1:
        raise ValueError(f"power must lie strictly between alpha, {alpha:g}, and 1")
    if treatment_rate <= control_rate:
        raise ValueError("treatment_rate must exceed control_rate: there is no harm to find")
    most = 64
    while most < MOST_CONVERSIONS and _sounded(odds, share, alpha, most)[-1] < power:
        most = min(2 * most, MOST_CONVERSIONS)
    curve = _sounded(odds, share, alpha, min(4 * most, MOST_CONVERSIONS))
    high = _fitting_units(curve.size - 1, merged)
    if _mixed(curve, high, merged) < power:
        return AlarmPlan(None, None, None, Unplannable.NOT_REACHED)
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _mixed(curve, middle, merged) >= power else (middle, high)
    return AlarmPlan(high, _mixed(curve, high, merged), high * merged, None)


def _conversions(treatment_rate: float, control_rate: float, share: float) -> tuple[float, float]:
    """Return the rate of both arms together, and the treatment's part of the converted units."""
    first, second = probability("treatment_rate", treatment_rate), probability("control_rate", control_rate)
    w = probability("share", share)
    merged = w * first + (1 - w) * second
    return float(merged), float(w * first / merged)


def _most_conversions(units: int, rate: float) -> int:
    """Return a count that converted units exceed with negligible probability."""
    return min(units, int(units * rate + 8 * np.sqrt(units * rate) + 30))


def _fitting_units(conversions: int, rate: float) -> int:
    """Return the most units whose converted ones do not exceed a count."""
    # Solves units * rate + 8 sqrt(units * rate) + 31 = conversions.
    mean = np.square(np.sqrt(16.0 + conversions - 31) - 4)
    return max(int(mean / rate), 1)


def _mixed(curve: FloatArray, units: int, rate: float) -> float:
    """Average the curve over the binomial number of converted units."""
    counts = np.arange(curve.size)
    with np.errstate(divide="ignore"):
        log_mass = (
            -special.betaln(units - counts + 1.0, counts + 1.0)
            - np.log1p(units)
            + counts * np.log(rate)
            + (units - counts) * np.log1p(-rate)
        )
    mass = np.where(counts <= units, np.exp(np.where(counts <= units, log_mass, -np.inf)), 0.0)
    return float(np.clip((mass / mass.sum()) @ curve, 0.0, 1.0))


@lru_cache(maxsize=64)
def _alarm_counts(share: float, alpha: float, most: int) -> IntArray:
    """Return, after 0, 1, ... most conversions, the treatment's count that sounds the alarm; one more if none does."""
    total = np.arange(most + 1)
    low, high = np.zeros(total.shape, dtype=np.int64), total + 1
    bar = -np.log(alpha)
    # The e-value grows with the treatment's part, so that halving finds the first count.
    for _ in range(int(most).bit_length() + 1):
        middle = np.minimum((low + high) // 2, total)
        sounds = log_harm_e_value(middle, total - middle, share=share) >= bar
        low, high = np.where(sounds, low, np.minimum(middle + 1, high)), np.where(sounds, middle, high)
    return high.astype(np.int64)


@lru_cache(maxsize=64)
def _sounded(odds: float, share: float, alpha: float, most: int) -> FloatArray:
    """Return the probability that the alarm has sounded by the m-th converted unit, m = 0 to ``most``."""
    bounds = _alarm_counts(share, float(probability("alpha", alpha)), most)
    silent = np.zeros(most + 2)
    silent[0] = 1.0
    sounded = np.zeros(most + 1)
    for conversions in range(1, most + 1):
        # Beyond ten standard deviations of the binomial path without any bound there is nothing to move.
        centre, reach = conversions * odds, 5 * np.sqrt(conversions) + 10
        low, high = max(int(centre - reach), 1), min(int(centre + reach), conversions)
        silent[low : high + 1] = silent[low : high + 1] * (1 - odds) + silent[low - 1 : high] * odds
        silent[0] *= 1 - odds
        bar = bounds[conversions]
        sounded[conversions] = sounded[conversions - 1] + silent[bar : high + 1].sum()
        silent[bar : high + 1] = 0.0
    return sounded
