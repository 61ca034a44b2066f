"""Power of methods that look on the way: the probability to have crossed a boundary by the planned size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.polynomial import Chebyshev
from scipy import special

from abplatform.stats import sequential
from abplatform.stats.group_sequential.recursion import crossing_probabilities
from abplatform.stats.power.baseline import Baseline
from abplatform.stats.power.evidence import Evidence
from abplatform.stats.power.goal import Kind
from abplatform.stats.sequential.guard import MIN_NONZERO, MIN_UNITS
from abplatform.stats.validation import FloatArray, positive, probability

_DEGREE = 48
"""Of the polynomials in the drift: power within 1e-12 of the recursion."""
_BELOW, _ABOVE = 4.0, 6.5
_LEAST = 1e-300


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Bounds on the z scale at shares of the planned information; a claim is crossing ``upper`` first."""

    fractions: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@lru_cache(maxsize=256)
def _curves(boundaries: Boundaries) -> tuple[Chebyshev, Chebyshev]:
    """Fit, over the drift at full information, the probit of the power and the expected share of the plan."""
    times = np.array(boundaries.fractions)

    def probit(drift: FloatArray) -> FloatArray:
        exits = crossing_probabilities(times, boundaries.lower, boundaries.upper, drift=drift)
        return np.asarray(special.ndtri(np.clip(exits.upper.sum(axis=-1), _LEAST, 1 - 1e-16)))

    def share(drift: FloatArray) -> FloatArray:
        exits = crossing_probabilities(times, boundaries.lower, boundaries.upper, drift=drift)
        # Paths that never leave run to the end.
        return np.asarray(1 + (exits.upper + exits.lower) @ (times - 1))

    domain = [-_BELOW, boundaries.upper[-1] + _ABOVE]
    return Chebyshev.interpolate(probit, _DEGREE, domain=domain), Chebyshev.interpolate(share, _DEGREE, domain=domain)


def crossing_power(boundaries: Boundaries, drift: FloatArray) -> FloatArray:
    """Return the probability of leaving through the upper bound, given the expected z at full information.

    Interpolated on the probit scale, where it is nearly a line. Beyond the nodes, where power is within 1e-10 of
    1 or below 1e-4, that line is prolonged with the slope of a single look: within 1e-6 for harm that large.
    """
    curve = _curves(boundaries)[0]
    inside = np.clip(drift, *curve.domain)
    return np.asarray(special.ndtr(curve(inside) + (drift - inside)))


def stopping_share(boundaries: Boundaries, drift: FloatArray) -> FloatArray:
    """Return the share of the planned units at which the test stops on average, a crossing or the end."""
    curve = _curves(boundaries)[1]
    return np.asarray(np.clip(curve(np.clip(drift, *curve.domain)), boundaries.fractions[0], 1.0))


def either_margin(boundaries: Boundaries, evidence: Evidence) -> FloatArray:
    """Return the power of one claim, or for equivalence a lower bound (Bonferroni) of the power of both."""
    power = crossing_power(boundaries, evidence.near)
    if evidence.kind != "equivalence":
        return power
    return np.maximum(power + crossing_power(boundaries, evidence.far) - 1, 0.0)


def scheduled_fractions(looks: int | Sequence[float]) -> tuple[float, ...]:
    """Return equally spaced looks, or the given shares of the plan, whose last is 1.

    Raises:
        ValueError: naming ``looks``.

    >>> scheduled_fractions(4)
    (0.25, 0.5, 0.75, 1.0)
    """
    if isinstance(looks, int):
        if looks < 1:
            raise ValueError("looks must be at least 1")
        return tuple((np.arange(1, looks + 1) / looks).tolist())
    shares = positive("looks", list(looks))
    if shares.ndim != 1 or not shares.size or (np.diff(shares) <= 0).any() or shares[-1] != 1:
        raise ValueError("looks must increase up to 1")
    return tuple(shares.tolist())


@lru_cache(maxsize=256)
def _sequence_boundaries(alpha: float, fractions: tuple[float, ...], two_sided: bool) -> Boundaries:
    """A sequence tuned to the plan has the same bounds at the same share of any plan."""
    times = np.array(fractions)
    if two_sided:
        upper = sequential.critical_value(times, sequential.tune_rho2(1.0, alpha), alpha)
        return Boundaries(fractions, tuple((-upper).tolist()), tuple(upper.tolist()))
    upper = sequential.one_sided_critical_value(times, sequential.tune_rho2(1.0, 2 * alpha), alpha)
    return Boundaries(fractions, (-np.inf,) * len(fractions), tuple(upper.tolist()))


@dataclass(frozen=True, slots=True)
class SequenceTest:
    """An asymptotic confidence sequence tuned to the planned size (``abplatform.stats.sequential``).

    Superiority by the two-sided sequence, margins by the one-sided one. Experiments judge every guardrail so that is no
    rate; rates have ``CountTest``. Power is that of looking ``looks`` times;
    looking more often has more, so that 100 looks are a close lower bound for a dashboard that is always open.
    The guard, no efficacy verdict before 500 units per arm and 100 non-zero ones, is a least size here; what
    earlier looks would have added is negligible and still counted.

    Args:
        alpha: error rate over all looks, below 0.5: two-sided for superiority, one-sided for margins.
        looks: how many equally spaced looks, or their shares of the planned units, increasing up to 1.

    Raises:
        ValueError: naming the argument that does not fit.
    """

    method: ClassVar[str] = "asymptotic_confidence_sequence"
    exact: ClassVar[bool] = False

    alpha: float = 0.05
    looks: tuple[float, ...] = ()

    def __init__(self, alpha: float = 0.05, *, looks: int | Sequence[float] = 100) -> None:
        probability("alpha", alpha, below=0.5)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "looks", scheduled_fractions(looks))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the power rests on."""
        return (
            (
                "read at the planned size only"
                if self.looks == (1.0,)
                else f"{len(self.looks)} looks; more of them add power"
            ),
            "the sequence is tuned to the planned units",
            "normal estimates; units behave as in history and come in random order",
        )

    def power(self, evidence: Evidence) -> FloatArray:
        """Return the probability that the claim stands at some look."""
        return either_margin(self._boundaries(evidence.kind), evidence)

    def expected_share(self, evidence: Evidence) -> FloatArray:
        """Return the share at which the sequence excludes what it shall, on average; margins: the nearer one."""
        return stopping_share(self._boundaries(evidence.kind), np.minimum(evidence.near, evidence.far))

    def least_units(self, baseline: Baseline) -> FloatArray:
        """Return what the efficacy guard asks for."""
        if not baseline.binary:
            return np.asarray(float(MIN_UNITS))
        with np.errstate(all="ignore"):
            return np.fmax(MIN_UNITS, MIN_NONZERO / np.minimum(baseline.mean, 1 - baseline.mean))

    def at_level(self, alpha: float) -> SequenceTest:
        """Return the same test at another error rate."""
        return SequenceTest(alpha, looks=self.looks)

    def at_last_look(self) -> SequenceTest:
        """Return the same sequence, read at the planned size."""
        return SequenceTest(self.alpha, looks=(1.0,))

    def _boundaries(self, kind: Kind) -> Boundaries:
        return _sequence_boundaries(self.alpha, self.looks, kind == "superiority")
