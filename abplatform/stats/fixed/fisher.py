"""Fisher's exact test of two rates, given how many did it in all."""

from __future__ import annotations

import numpy as np

from abplatform.stats.fixed.alternatives import Alternative, tail_rate
from abplatform.stats.fixed.restricted import rates_only
from abplatform.stats.sufficient import ProportionStats
from abplatform.stats.validation import FloatArray, same_grid

MAX_OUTCOMES = 10**6
"""Tables with more outcomes are refused: nothing about them is small, and ``compare_rates`` answers at once."""


def fisher_p_value(
    treatment: ProportionStats,
    control: ProportionStats,
    *,
    alternative: Alternative = "two_sided",
    mid_p: bool = False,
) -> FloatArray:
    """Return p-values of Fisher's (1934) exact test.

    Given the successes of both arms together, those of the treatment are hypergeometric under equal rates. Two-sided
    it is the probability of all outcomes no likelier than the observed one. It never errs more often than alpha, and
    mostly much less. The mid-p value (Lancaster, 1961) counts only half of those that are just as likely as the
    observed one; it errs about alpha, and is no longer exact. Cells are computed one by one.

    Args:
        treatment: units and successes of the treatment, any shape.
        control: units and successes of the control.
        alternative: ``two_sided``, ``greater`` or ``less``.
        mid_p: whether to count ties half.

    Returns:
        P-values; NaN where an arm has no units, and 1 where nobody or everybody did it.

    Raises:
        ValueError: for arms that are no rates, an unknown ``alternative``, shapes that do not broadcast, or counts
            with more than ``MAX_OUTCOMES`` outcomes.

    >>> arms = ProportionStats(10, 1), ProportionStats(10, 7)
    >>> round(float(fisher_p_value(*arms)), 5), round(float(fisher_p_value(*arms, mid_p=True)), 5)
    (0.01977, 0.01024)
    """
    tail_rate(0.05, alternative)
    rates_only(treatment=treatment, control=control)
    shape = same_grid(treatment=treatment.estimate, control=control.estimate)
    fields = (treatment.successes, treatment.n, control.successes, control.n)
    cells = [np.broadcast_to(values, shape).ravel().tolist() for values in fields]
    if any(min(hits + others, units, most) >= MAX_OUTCOMES for hits, units, others, most in zip(*cells, strict=True)):
        raise ValueError(f"treatment and control have more than {MAX_OUTCOMES} outcomes: use compare_rates")
    values = [_p_value(*cell, alternative=alternative, mid_p=mid_p) for cell in zip(*cells, strict=True)]
    return np.array(values, dtype=np.float64).reshape(shape)


def _p_value(
    hits: int, units: int, control_hits: int, control_units: int, *, alternative: Alternative, mid_p: bool
) -> float:
    if units == 0 or control_units == 0:
        return float("nan")
    outcomes, chances = _law(hits + control_hits, units, control_units)
    if outcomes.size == 1:
        return 1.0
    seen = chances[hits - int(outcomes[0])]
    # Equal probabilities may differ in the last digits.
    tied = np.abs(chances - seen) <= 1e-7 * seen if alternative == "two_sided" else outcomes == hits
    beyond = {"two_sided": chances < seen, "greater": outcomes > hits, "less": outcomes < hits}[alternative] & ~tied
    return float(min(1.0, chances[beyond].sum() + chances[tied].sum() * (0.5 if mid_p else 1.0)))


@np.errstate(under="ignore", divide="ignore")
def _law(total: int, units: int, control_units: int) -> tuple[FloatArray, FloatArray]:
    """Return the possible successes of the treatment and their probabilities.

    Neighbours have simple ratios; adding their logarithms loses fewer digits than differences of log factorials.
    """
    outcomes = np.arange(max(0, total - control_units), min(units, total) + 1, dtype=np.float64)
    left = outcomes[:-1]
    ratios = (total - left) * (units - left) / ((left + 1) * (control_units - total + left + 1))
    weights = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    chances = np.exp(weights - weights.max())
    return outcomes, chances / chances.sum()
