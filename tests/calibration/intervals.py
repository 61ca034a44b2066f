"""Coverage of single-look intervals: relative lifts, ratio metrics, clustered quantiles, adjusted differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import special

from abplatform.stats import Comparison, RatioStats, fixed
from abplatform.stats.adjust import Theta, cuped
from abplatform.stats.results import Interval, RelativeInterval
from abplatform.stats.simulate import (
    Bernoulli,
    LogNormal,
    Measured,
    Normal,
    Population,
    Trial,
    equally_spaced,
    mean_of_runs,
    share_of_runs,
)
from abplatform.stats.sufficient.joint import JointStats
from abplatform.stats.sufficient.quantiles import QuantileStats, cut_points
from tests.calibration.claims import Check, Row, Section, between, near

NOMINAL = between(0.945, 0.955)
CLUSTERED = between(0.945, 0.96)
BLOCK = 250

LIFTS: dict[str, tuple[Population, float, int, float]] = {
    "rate 10%, lift 10%, 8,000 units": (Bernoulli(0.1), 0.1, 8_000, 0.5),
    "rate 2%, lift 20%, 20,000 units, 90/10": (Bernoulli(0.02), 0.2, 20_000, 0.1),
    "normal, sd 3 times the mean, lift 10%, 2,000 units": (Normal(1.0, 3.0), 0.1, 2_000, 0.5),
    "normal, control mean of 6.7 standard errors, lift 50%": (Normal(1.0, 10.0), 0.5, 9_000, 0.5),
    "lognormal, log-sd 1, lift 5%, 4,000 units": (LogNormal(), 0.05, 4_000, 0.5),
}


def relative_lift(repetitions: int, seed: int) -> list[Row]:
    """Fieller's 95% interval of the lift against the true lift."""
    rows = []
    for name, (population, lift, units, share) in LIFTS.items():
        trial = Trial(population, population.lifted(lift), equally_spaced(units, 1), share)
        rng, truth = np.random.default_rng([seed, len(rows)]), trial.effect / population.mean
        hits = [covers(_compared(trial, runs, rng).relative, truth) for runs in _blocks(repetitions, trial.block)]
        rows.append(Row(f"Fieller: {name}", NOMINAL, share_of_runs(np.concatenate(hits)), repetitions))
    return rows


def _compared(trial: Trial, runs: int, rng: np.random.Generator) -> Comparison:
    looks = trial.draw(runs, rng)
    return fixed.compare(looks.treatment.stats, looks.control.stats)


def covers(interval: Interval | RelativeInterval, truth: float) -> np.ndarray:
    """Whether the bounds hold the truth; a side without one excludes nothing."""
    return ~((interval.lower > truth) | (interval.upper < truth)).ravel()


def _blocks(repetitions: int, size: int = BLOCK) -> Iterator[int]:
    """Sizes of blocks that fit into memory."""
    for done in range(0, repetitions, size):
        yield min(size, repetitions - done)


def _coverages(
    name: str, compare: Callable[[int], Comparison], repetitions: int, truth: float, lift: float
) -> list[Row]:
    """Rows of the difference and the lift."""
    results = [compare(runs) for runs in _blocks(repetitions)]
    both = {
        "difference": [covers(result.absolute, truth) for result in results],
        "lift": [covers(result.relative, lift) for result in results],
    }
    return [
        Row(f"{name}: {what}", CLUSTERED, share_of_runs(np.concatenate(hits)), repetitions)
        for what, hits in both.items()
    ]


def ratio_metric(repetitions: int, seed: int) -> list[Row]:
    """Revenue per order: a unit's orders share its own level; 1,000 units per arm, 10% more per order."""
    rng = np.random.default_rng(seed)

    def compare(runs: int) -> Comparison:
        return fixed.compare(_orders(runs, 1.1, rng), _orders(runs, 1.0, rng))

    return _coverages("revenue per order, 2,000 units", compare, repetitions, 0.1, 0.1)


def _orders(runs: int, level: float, rng: np.random.Generator) -> RatioStats:
    """Expected revenue per order is ``level``: amounts do not depend on how many orders there are."""
    orders = 1.0 + rng.poisson(2.0, (runs, 1_000))
    revenue = level * rng.gamma(4.0, 1 / 4, orders.shape) * rng.gamma(2 * orders, 1 / 2)
    return RatioStats.of(revenue, orders)


def clustered_p90(repetitions: int, seed: int) -> list[Row]:
    """p90 of response times, 400 users per arm with 1 + Poisson(3) events each; treatment 10% slower."""
    rng = np.random.default_rng(seed)
    cuts = cut_points(_times(1, 20_000, 1.05, rng)[0], q=0.9)
    # Of any event the logarithm is normal with variance 0.5^2 + 0.5^2, however many its user has.
    p90 = float(np.exp(special.ndtri(0.9) * np.sqrt(0.5)))

    def compare(runs: int) -> Comparison:
        arms = (QuantileStats.of(times, q=0.9, clusters=users, cuts=cuts) for times, users in _two_arms(runs, rng))
        return fixed.compare(*arms)

    return _coverages("clustered p90, 800 users", compare, repetitions, 0.1 * p90, 0.1)


def _two_arms(runs: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for level in (1.1, 1.0):
        yield _times(runs, 400, level, rng)


def _times(runs: int, users: int, level: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Times of all events (runs, events) and whose they are."""
    user = np.repeat(np.arange(users), 1 + rng.poisson(3.0, users))
    own = rng.standard_normal((runs, users))[:, user]
    return level * np.exp(0.5 * own + 0.5 * rng.standard_normal((runs, user.size))), user


ADJUSTMENTS: dict[str, tuple[Theta, int, int]] = {
    "pooled, 1,000 units": ("pooled", 500, 500),
    "per arm, 1,000 units, 80/20": ("per_arm", 200, 800),
}


def cuped_at_correlation_07(repetitions: int, seed: int) -> list[Row]:
    """Coverage of the adjusted difference, and its variance over that of the plain one."""
    rows = []
    for name, (theta, treated, untreated) in ADJUSTMENTS.items():
        rng = np.random.default_rng([seed, len(rows)])
        adjusted, plain, claimed = [], [], []
        for runs in _blocks(repetitions):
            arms = _correlated(runs, treated, 0.1, rng), _correlated(runs, untreated, 0.0, rng)
            both = cuped(*arms, theta=theta)
            adjusted.append(fixed.compare(*both).absolute)
            plain.append(fixed.compare(*(arm.outcome for arm in arms)).absolute.estimate)
            claimed.append(both.variance_ratio)
        held = share_of_runs(np.concatenate([covers(interval, 0.1) for interval in adjusted]))
        ratio = variance_ratio(np.concatenate([interval.estimate for interval in adjusted]), np.concatenate(plain))
        estimated = mean_of_runs(np.concatenate(claimed))
        rows += [
            Row(f"CUPED {name}: difference", NOMINAL, held, repetitions),
            Row(f"CUPED {name}: variance over the plain difference's", near(0.51, 0.005), ratio, repetitions),
            Row(f"CUPED {name}: the same ratio as the engine estimates it", near(0.51, 0.005), estimated, repetitions),
        ]
    return rows


def _correlated(runs: int, units: int, effect: float, rng: np.random.Generator) -> JointStats:
    """Outcome and covariate with standard deviation 1 and correlation .7."""
    before, noise = rng.standard_normal((2, runs, units))
    return JointStats.of(effect + 0.7 * before + np.sqrt(0.51) * noise, before)


def variance_ratio(adjusted: np.ndarray, plain: np.ndarray) -> Measured:
    """Measure it over repetitions; of two normal samples the log ratio has variance ``4 (1 - r^2) / repetitions``."""
    ratio = float(adjusted.var(ddof=1) / plain.var(ddof=1))
    correlation = float(np.corrcoef(adjusted, plain)[0, 1])
    return Measured(ratio, float(ratio * np.sqrt(4 * (1 - correlation**2) / plain.size)))


SECTION = Section(
    "Intervals at one look",
    "How often a 95% interval of `fixed.compare` holds the true value.",
    (
        Check(relative_lift, 40_000, 8_000, 501),
        Check(ratio_metric, 40_000, 2_000, 502),
        Check(clustered_p90, 20_000, 750, 503),
        Check(cuped_at_correlation_07, 40_000, 5_000, 504),
    ),
)
