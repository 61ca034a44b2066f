"""An e-process for harm on rates, from counts of converted units alone: exact, and valid from the first event on.

Units are assigned at random with fixed shares, so that under equal rates each converted unit is one of the
treatment's with the treatment's share w, independently of all others. If the treatment's rate is lower, the
probability is lower still. For any theta above w the likelihood ratio

    (theta / w)^k_t ((1 - theta) / (1 - w))^k_c

is then a non-negative supermartingale along the converted units, and so is its average over a prior on (w, 1):
here a beta distribution cut off below w. By Ville's inequality it ever reaches 1 / alpha with probability at
most alpha (Ville, 1939; mixture as in Lindon and Malek, 2022). Nothing about it is asymptotic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.validation import FloatArray, probability, same_grid, whole_counts

CONCENTRATION = 2.0
"""Of the beta prior, whose mean is w: little, since a harm that matters is not small against the counts."""


def log_harm_e_value(treatment: ArrayLike, control: ArrayLike, *, share: ArrayLike) -> FloatArray:
    """Return the log e-value against "the treatment's rate is not higher".

    Args:
        treatment: converted units of the treatment, any shape.
        control: converted units of the control, broadcast against treatment.
        share: planned share of the treatment's units among those of both arms, between 0 and 1.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> round(float(log_harm_e_value(10, 0, share=0.5)), 3)
    5.226
    >>> float(log_harm_e_value(0, 0, share=0.5))
    0.0
    """
    hit, missed = whole_counts("treatment", treatment), whole_counts("control", control)
    w = probability("share", share)
    same_grid(treatment=hit, control=missed, share=w)
    a, b = CONCENTRATION * w, CONCENTRATION * (1 - w)
    with np.errstate(divide="ignore"):
        mass = np.log(special.betaincc(a + hit, b + missed, w)) - np.log(special.betaincc(a, b, w))
    gained = special.betaln(a + hit, b + missed) - special.betaln(a, b)
    return np.asarray(gained + mass - hit * np.log(w) - missed * np.log1p(-w))


def harm_p_value(treatment: ArrayLike, control: ArrayLike, *, share: ArrayLike) -> FloatArray:
    """Return the always-valid one-sided p-value of harm, ``min(1, 1 / e-value)``; arguments as `log_harm_e_value`.

    >>> round(float(harm_p_value(60, 0, share=0.5)), 15)
    0.0
    """
    return np.exp(np.minimum(-log_harm_e_value(treatment, control, share=share), 0.0))
