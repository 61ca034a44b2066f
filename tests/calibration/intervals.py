"""Coverage of single-look intervals: relative lifts, ratio metrics, clustered quantiles, adjusted differences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

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
from tests.calibration.blocks import in_blocks
from tests.calibration.claims import REPORTED, Check, Row, Section, between, near

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
        stream = (seed, len(rows))
        hits = in_blocks(partial(_held_lift, trial, np.random.default_rng(stream)), repetitions, trial.block)
        rows.append(Row(f"Fieller: {name}", NOMINAL, share_of_runs(hits), repetitions, stream))
    return rows


def _held_lift(trial: Trial, rng: np.random.Generator, runs: int) -> np.ndarray:
    looks = trial.draw(runs, rng)
    found = fixed.compare(looks.treatment.stats, looks.control.stats)
    return covers(found.relative, trial.effect / trial.control.mean)


def covers(interval: Interval | RelativeInterval, truth: float) -> np.ndarray:
    """Whether the bounds hold the truth; a side without one excludes nothing."""
    return ~((interval.lower > truth) | (interval.upper < truth)).ravel()


def _both_held(result: Comparison, truth: float, lift: float) -> np.ndarray:
    """Whether the interval of the difference, and that of the lift, hold the truth: (runs, 2)."""
    return np.stack([covers(result.absolute, truth), covers(result.relative, lift)], axis=-1)


def _coverages(name: str, held: np.ndarray, seed: tuple[int, ...]) -> list[Row]:
    """Rows of the difference and the lift."""
    return [
        Row(f"{name}: {what}", CLUSTERED, share_of_runs(hits), hits.size, seed)
        for what, hits in zip(("difference", "lift"), held.T, strict=True)
    ]


def ratio_metric(repetitions: int, seed: int) -> list[Row]:
    """Revenue per order: a unit's orders share its own level; 1,000 units per arm, 10% more per order."""
    rng = np.random.default_rng((seed,))

    def held(runs: int) -> np.ndarray:
        return _both_held(fixed.compare(_orders(runs, 1.1, rng), _orders(runs, 1.0, rng)), 0.1, 0.1)

    return _coverages("revenue per order, 2,000 units", in_blocks(held, repetitions, BLOCK), (seed,))


def _orders(runs: int, level: float, rng: np.random.Generator) -> RatioStats:
    """Expected revenue per order is ``level``: amounts do not depend on how many orders there are."""
    orders = 1.0 + rng.poisson(2.0, (runs, 1_000))
    revenue = level * rng.gamma(4.0, 1 / 4, orders.shape) * rng.gamma(2 * orders, 1 / 2)
    return RatioStats.of(revenue, orders)


def clustered_p90(repetitions: int, seed: int) -> list[Row]:
    """p90 of response times, 400 users per arm with 1 + Poisson(3) events each; treatment 10% slower."""
    rng = np.random.default_rng((seed,))
    cuts = cut_points(_times(1, 20_000, 1.05, rng)[0], q=0.9)
    # Of any event the logarithm is normal with variance 0.5^2 + 0.5^2, however many its user has.
    p90 = float(np.exp(special.ndtri(0.9) * np.sqrt(0.5)))

    def held(runs: int) -> np.ndarray:
        arms = (QuantileStats.of(times, q=0.9, clusters=users, cuts=cuts) for times, users in _two_arms(runs, rng))
        return _both_held(fixed.compare(*arms), 0.1 * p90, 0.1)

    return _coverages("clustered p90, 800 users", in_blocks(held, repetitions, BLOCK), (seed,))


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
        stream = (seed, len(rows))
        run = partial(_adjusted, theta, (treated, untreated), np.random.default_rng(stream))
        held, adjusted, plain, claimed = in_blocks(run, repetitions, BLOCK).T
        known = near(0.51, 0.005)
        measured = {
            "difference": (NOMINAL, share_of_runs(held == 1)),
            "variance over the plain difference's": (known, variance_ratio(adjusted, plain)),
            "the same ratio as the engine estimates it": (known, mean_of_runs(claimed)),
        }
        rows += [Row(f"CUPED {name}: {what}", *figure, repetitions, stream) for what, figure in measured.items()]
    return rows


def _adjusted(theta: Theta, units: tuple[int, int], rng: np.random.Generator, runs: int) -> np.ndarray:
    """Whether the interval holds the truth, estimate, plain estimate and claimed ratio of variances: (runs, 4)."""
    arms = _correlated(runs, units[0], 0.1, rng), _correlated(runs, units[1], 0.0, rng)
    both = cuped(*arms, theta=theta)
    found = fixed.compare(*both).absolute
    plain = fixed.compare(*(arm.outcome for arm in arms)).absolute.estimate
    return np.stack([covers(found, 0.1), found.estimate, plain, both.variance_ratio], axis=-1)


def cuped_with_slopes_that_differ(repetitions: int, seed: int) -> list[Row]:
    """A skewed covariate, exp(normal), with slope 3 in the treatment and 1 in the control; 500 units per arm."""
    rows = []
    for theta, words in (("per_arm", "per arm"), ("pooled", "pooled")):
        stream = (seed, len(rows))
        run = partial(_held_skewed, theta, np.random.default_rng(stream))
        what = f"CUPED {words}, 1,000 units, skewed covariate, slopes 3 and 1: difference"
        held = share_of_runs(in_blocks(run, repetitions, BLOCK))
        rows.append(Row(what, REPORTED, held, repetitions, stream))
    return rows


def _held_skewed(theta: Theta, rng: np.random.Generator, runs: int) -> np.ndarray:
    arms = (_sloped(runs, slope, rng) for slope in (3.0, 1.0))
    # The mean of exp(normal) is exp(1 / 2).
    return covers(fixed.compare(*cuped(*arms, theta=theta)).absolute, 2 * np.exp(0.5))


def _sloped(runs: int, slope: float, rng: np.random.Generator) -> JointStats:
    before, noise = rng.standard_normal((2, runs, 500))
    skewed = np.exp(before)
    return JointStats.of(slope * skewed + noise, skewed)


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
    "How often a 95% interval of `fixed.compare` holds the true value. Where slopes differ the adjusted difference "
    "estimates a mean of the covariate too, whose skewness costs coverage at 500 units per arm; one slope for both "
    "arms costs more.",
    (
        Check(relative_lift, 40_000, 8_000, 501),
        Check(ratio_metric, 40_000, 4_000, 502),
        Check(clustered_p90, 20_000, 1_500, 503),
        Check(cuped_at_correlation_07, 40_000, 5_000, 504),
        Check(cuped_with_slopes_that_differ, 40_000, 5_000, 505),
    ),
)
