"""Alpha spending functions (Lan and DeMets, 1983): how much of the error may be used up by a share of the information.

All are for *one* side. A two-sided test at .05 spends .025 on each, as in rpact and gsDesign; the O'Brien-Fleming-type
function is the only one for which this makes a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abplatform.stats.validation import FloatArray, finite_values, instance_of, non_negative, probability

SpendingKind = Literal["obrien_fleming", "pocock", "power", "hwang_shih_decani"]


@dataclass(frozen=True, slots=True)
class Spending:
    """A spending function.

    Args:
        kind: ``obrien_fleming`` and ``pocock`` imitate these bounds (Lan and DeMets, 1983); ``power`` is
            ``alpha t^shape`` (Kim and DeMets, 1987), ``hwang_shih_decani`` the gamma family (Hwang, Shih and
            DeCani, 1990).
        shape: above 0 for ``power`` (1 resembles Pocock, 3 O'Brien-Fleming), any number for
            ``hwang_shih_decani`` (1 resembles Pocock, -4 O'Brien-Fleming); none for the others.

    Raises:
        ValueError: naming ``kind`` or ``shape``.

    >>> Spending("power", 3.0)
    Spending(kind='power', shape=3.0)
    """

    kind: SpendingKind = "obrien_fleming"
    shape: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(SpendingKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(SpendingKind))}, not {self.kind!r}")
        if self.kind in {"obrien_fleming", "pocock"}:
            if self.shape is not None:
                raise ValueError(f"shape must be None for {self.kind}")
            return
        if self.shape is None:
            raise ValueError(f"shape must be given for {self.kind}")
        finite_values("shape", self.shape)
        if self.kind == "power" and self.shape <= 0:
            raise ValueError("shape must be greater than 0 for power")


OBRIEN_FLEMING = Spending("obrien_fleming")
POCOCK = Spending("pocock")


@np.errstate(divide="ignore")
def spend(information_fraction: ArrayLike, alpha: ArrayLike, spending: Spending = OBRIEN_FLEMING) -> FloatArray:
    """Return the one-sided error that may be spent up to a share of the planned information.

    With t the fraction, nothing is spent at 0 and all from 1 on:

    - ``obrien_fleming``: ``2 - 2 Phi(z_{alpha/2} / sqrt t)``, ``Phi(z_{alpha/2}) = 1 - alpha / 2``;
    - ``pocock``: ``alpha ln(1 + (e - 1) t)``;
    - ``power``: ``alpha t^shape``;
    - ``hwang_shih_decani``: ``alpha (1 - exp(-shape t)) / (1 - exp(-shape))``, and ``alpha t`` for shape 0.

    Args:
        information_fraction: at least 0; above 1 counts as 1 (over-running). Any shape.
        alpha: one-sided error rate between 0 and 1; half of a two-sided one. Broadcast.
        spending: the function.

    Raises:
        ValueError: naming the argument that does not fit.

    >>> spend([0.5, 1.0, 1.2], 0.025).round(6).tolist()
    [0.001525, 0.025, 0.025]
    """
    time = np.minimum(non_negative("information_fraction", information_fraction), 1.0)
    return share_spent(time, probability("alpha", alpha), spending)


@np.errstate(divide="ignore")
def share_spent(time: FloatArray, alpha: FloatArray, spending: Spending) -> FloatArray:
    """Return `spend` for a time of at most 1 and any level, unchecked."""
    instance_of("spending", spending, Spending, 'Spending("pocock")')
    if spending.kind == "obrien_fleming":
        spent = 2 * special.ndtr(special.ndtri(alpha / 2) / np.sqrt(time))
        # Exactly all at the end: looks after it must not find a rest that is only rounding.
        return np.where(time == 1, alpha, spent)
    return np.asarray(alpha * _share(time, spending))


def _share(time: FloatArray, spending: Spending) -> FloatArray:
    shape = spending.shape or 0.0
    if spending.kind == "pocock":
        return np.asarray(np.log1p((np.e - 1) * time))
    if spending.kind == "power":
        return np.asarray(time**shape)
    return np.asarray(time if shape == 0 else _expm1_ratio(time, shape))


def _expm1_ratio(time: FloatArray, shape: float) -> FloatArray:
    """Return ``(1 - exp(-shape t)) / (1 - exp(-shape))`` without overflow at very negative shapes."""
    if shape > 0:
        return np.asarray(np.expm1(-shape * time) / np.expm1(-shape))
    return np.asarray(np.exp(shape * (1 - time)) * np.expm1(shape * time) / np.expm1(shape))
