"""What the units of an arm do: rates, normal values, skewed amounts, amounts that most units do not have.

A population draws *cumulative sufficient statistics*, not rows, wherever their distribution is known: successes
are binomial, the two moments of normal values are a normal and a chi-square. Only skewed amounts are drawn one
by one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

import numpy as np
from scipy import special

from abplatform.stats.simulate.draws import drawn_sums
from abplatform.stats.sufficient import ArmStats, MeanStats, ProportionStats
from abplatform.stats.validation import FloatArray, IntArray, finite_values, positive, probability


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """Statistics of one arm at every look, and how many units were not 0 (of a rate: the rarer outcome)."""

    stats: ArmStats
    nonzero: IntArray


class Population(Protocol):
    """The distribution of one number per unit of an arm.

    Attributes:
        drawn_share: share of the units whose value is drawn one by one; what a repetition costs.
    """

    @property
    def drawn_share(self) -> float: ...

    @property
    def mean(self) -> float:
        """Expected value, after the cap: what the experiment estimates."""
        ...

    def lifted(self, effect: float) -> Self:
        """Return this population with values (or the rate) ``1 + effect`` times as large, before any cap."""
        ...

    def watch(self, arrivals: IntArray, rng: np.random.Generator) -> Watched:
        """Draw statistics of all units so far, given the units that arrive at each look (looks last)."""
        ...


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """Units that do it with probability ``rate``.

    >>> Bernoulli(0.1).lifted(0.05).mean
    0.10500000000000001
    """

    drawn_share: ClassVar[float] = 0.0

    rate: float

    def __post_init__(self) -> None:
        probability("rate", self.rate)

    @property
    def mean(self) -> float:
        """The rate."""
        return self.rate

    def lifted(self, effect: float) -> Self:
        """Multiply the rate.

        Raises:
            ValueError: naming ``effect`` where no rate between 0 and 1 is left.
        """
        rate = self.rate * (1 + _lift(effect))
        if not rate < 1:
            raise ValueError(f"effect would make the rate {rate:g}")
        return replace(self, rate=rate)

    def watch(self, arrivals: IntArray, rng: np.random.Generator) -> Watched:
        """Draw binomial successes per look and add them up."""
        stats = ProportionStats(_so_far(arrivals), _so_far(rng.binomial(arrivals, self.rate)))
        return Watched(stats, stats.rarer_outcome)


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal values, by default with a standard deviation as large as the mean."""

    drawn_share: ClassVar[float] = 0.0

    mean: float = 1.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        finite_values("mean", self.mean)
        positive("sd", self.sd)

    def lifted(self, effect: float) -> Self:
        """Shift the mean by ``effect`` times its value; the standard deviation stays."""
        return replace(self, mean=self.mean * (1 + _lift(effect)))

    def watch(self, arrivals: IntArray, rng: np.random.Generator) -> Watched:
        """Draw the exact joint distribution of mean and squares per look and add them up."""
        units = _so_far(arrivals)
        # Around the mean, so that no digits are lost where it is large against the deviation.
        sums = self.sd * np.sqrt(arrivals) * rng.standard_normal(arrivals.shape)
        within = 2 * self.sd**2 * rng.standard_gamma(np.maximum(arrivals - 1, 0) / 2)
        squares = np.cumsum(within + np.square(sums) / np.maximum(arrivals, 1), axis=-1)
        total = np.cumsum(sums, axis=-1)
        offset = total / np.maximum(units, 1)
        mean = np.where(units > 0, self.mean + offset, 0.0)
        return Watched(MeanStats(units, mean, np.maximum(squares - total * offset, 0.0)), units)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Amounts whose logarithm is normal, cut at a cap; 0 for the units that have none.

    Args:
        average: mean of the amounts of those who have one, before the cap; above 0.
        sigma: standard deviation of the logarithm; above 0. At 2 a few units carry most of the sum.
        nonzero: share of the units with an amount, above 0, at most 1.
        cap: larger amounts count as this one; ``None`` for no cap.

    Raises:
        ValueError: naming the parameter that does not fit.

    >>> round(LogNormal(average=50, sigma=1.5, nonzero=0.1).mean, 6)
    5.0
    """

    average: float = 1.0
    sigma: float = 1.0
    nonzero: float = 1.0
    cap: float | None = None

    def __post_init__(self) -> None:
        positive("average", self.average)
        positive("sigma", self.sigma)
        if not 0 < self.nonzero <= 1:
            raise ValueError("nonzero must be above 0 and at most 1")
        if self.cap is not None:
            positive("cap", self.cap)

    @property
    def drawn_share(self) -> float:
        """Only amounts above 0 are drawn."""
        return self.nonzero

    @property
    def _centre(self) -> float:
        """Mean of the logarithm."""
        return float(np.log(self.average) - self.sigma**2 / 2)

    def quantile(self, level: float) -> float:
        """Return a quantile of the amounts above 0, before the cap: what a cap is set to before the start.

        >>> round(LogNormal(average=50, sigma=1.5).quantile(0.99), 1)
        531.9
        """
        return float(np.exp(self._centre + self.sigma * special.ndtri(probability("level", level))))

    @property
    def mean(self) -> float:
        """Expected amount per unit: ``E[min(X, cap)]`` in closed form, times the share that has one."""
        if self.cap is None:
            return self.nonzero * self.average
        z = (np.log(self.cap) - self._centre) / self.sigma
        below, above = self.average * special.ndtr(z - self.sigma), self.cap * special.ndtr(-z)
        return float(self.nonzero * (below + above))

    def lifted(self, effect: float) -> Self:
        """Multiply the amounts; the cap stays, so that the mean moves by less."""
        return replace(self, average=self.average * (1 + _lift(effect)))

    def watch(self, arrivals: IntArray, rng: np.random.Generator) -> Watched:
        """Draw every amount above 0."""
        having = arrivals if self.nonzero == 1 else rng.binomial(arrivals, self.nonzero)
        total, squares = drawn_sums(having, lambda size: self._amounts(size, rng))
        stats = MeanStats.from_sums(_so_far(arrivals), np.cumsum(total, axis=-1), np.cumsum(squares, axis=-1))
        return Watched(stats, _so_far(having))

    def _amounts(self, size: int, rng: np.random.Generator) -> FloatArray:
        amounts = rng.standard_normal(size)
        amounts *= self.sigma
        amounts += self._centre
        np.exp(amounts, out=amounts)
        return amounts if self.cap is None else np.minimum(amounts, self.cap, out=amounts)


def _lift(effect: float) -> float:
    """Check a relative effect."""
    if not float(finite_values("effect", effect)) > -1:
        raise ValueError("effect must be above -1")
    return float(effect)


def _so_far(arrivals: IntArray) -> IntArray:
    return np.cumsum(arrivals, axis=-1)
