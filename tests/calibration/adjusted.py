"""CUPED under continuous watching: false alarms, and whether the intervals of all looks hold the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from abplatform.stats.adjust import cuped
from abplatform.stats.simulate import (
    GroupSequential,
    LogNormal,
    Looks,
    Measured,
    Procedure,
    Sequential,
    Watched,
    guard_passed,
    share_of_runs,
)
from abplatform.stats.sufficient.joint import JointStats
from tests.calibration.blocks import in_blocks
from tests.calibration.claims import Check, Row, Section, at_least, at_most, near

LOOKS, STAGES = 200, 5
BLOCK = 50


class Arrivals(NamedTuple):
    """What the units of each look add up to, looks last: outcome y, its covariate x, units whose y counts as such."""

    y: np.ndarray
    x: np.ndarray
    yy: np.ndarray
    xy: np.ndarray
    xx: np.ndarray
    nonzero: np.ndarray


Draw = Callable[[tuple[int, int], int, np.random.Generator], Arrivals]
"""Draws an arm: (runs, looks), units that arrive at each look, and the source of randomness."""


def normal(shape: tuple[int, int], units: int, rng: np.random.Generator, *, slope=0.7, effect=0.0) -> Arrivals:
    """Normal values of variance 1: sums are normal and squares Wishart (Bartlett's decomposition), as of rows."""
    noise = np.sqrt(1 - slope**2)
    first, second = np.sqrt(units) * rng.standard_normal((2, *shape))
    a, b = np.sqrt(rng.chisquare(units - 1, shape)), np.sqrt(rng.chisquare(units - 2, shape))
    c = rng.standard_normal(shape)
    x, y = first, effect * units + slope * first + noise * second
    low = slope * a + noise * c
    yy, xy, xx = low**2 + (noise * b) ** 2 + y**2 / units, low * a + x * y / units, a**2 + x**2 / units
    return Arrivals(y, x, yy, xy, xx, np.full(shape, units))


def rate(shape: tuple[int, int], units: int, rng: np.random.Generator) -> Arrivals:
    """5% convert before and 5% after, 40% of them the same units."""
    both, one = 0.02, 0.03
    counts = rng.multinomial(units, [both, one, one, 1 - both - 2 * one], shape)
    xy = counts[..., 0]
    y, x = xy + counts[..., 1], xy + counts[..., 2]
    return Arrivals(y, x, y, xy, x, y)


def revenue(shape: tuple[int, int], units: int, rng: np.random.Generator) -> Arrivals:
    """Of four in ten units each has an amount before with probability one half, and after; log-sd 1, capped at p99."""
    cells = (*shape, units)
    cap = LogNormal().quantile(0.99)
    habit, *own = rng.standard_normal((3, *cells), dtype=np.float32)
    buyer, *active = rng.random((3, *cells), dtype=np.float32)
    amounts = (np.minimum(np.exp(0.8 * habit + 0.6 * each - 0.5), cap) for each in own)
    y, x = (
        (amount * ((buyer < 0.4) & (chance < 0.5))).astype(np.float64)
        for amount, chance in zip(amounts, active, strict=True)
    )
    sums = (each.sum(axis=-1) for each in (y, x, y * y, x * y, x * x, y > 0))
    return Arrivals(*sums)


@dataclass(frozen=True)
class Case:
    """Two arms.

    Attributes:
        treatment, control: how to draw them.
        share: of the treatment.
        units: of both arms in the end.
        truth: the effect.
    """

    treatment: Draw
    control: Draw
    share: float
    units: int = 20_000
    truth: float = 0.0


NORMAL = Case(normal, normal, 0.5)
ALIKE = {
    "normal values, correlation .7, 50/50": NORMAL,
    "rate 5%, correlation .37, 90/10": Case(rate, rate, 0.1, units=100_000),
    "revenue of 20% of the units, log-sd 1, cap p99, 50/50": Case(revenue, revenue, 0.5),
    "revenue of 20% of the units, log-sd 1, cap p99, 90/10": Case(revenue, revenue, 0.1),
}
SLOPES = Case(partial(normal, slope=0.9, effect=0.1), partial(normal, slope=0.5), 0.2, truth=0.1)


def watched(repetitions: int, seed: int) -> list[Row]:
    """Confidence sequences at every look, without an effect, and with one that the covariate takes part in."""
    rows = []
    for name, case in ALIKE.items():
        stream = (seed, len(rows))
        alarmed, _ = _watch(case, Sequential(case.units), LOOKS, repetitions, stream)
        rows.append(Row(f"CUPED, {name}: false alarms", at_most(0.05), alarmed, repetitions, stream))
    stream = (seed, len(rows))
    _, held = _watch(SLOPES, Sequential(SLOPES.units), LOOKS, repetitions, stream)
    what = "CUPED, normal values with an effect, slopes .9 and .5, 80/20: intervals of all looks hold it"
    return [*rows, Row(what, at_least(0.95), held, repetitions, stream)]


def staged(repetitions: int, seed: int) -> list[Row]:
    """Five looks of a group sequential test."""
    alarmed, _ = _watch(NORMAL, GroupSequential(NORMAL.units), STAGES, repetitions, (seed,))
    what = "CUPED, group sequential, normal values, correlation .7, 50/50: false alarms"
    return [Row(what, near(0.05), alarmed, repetitions, (seed,))]


def _watch(
    case: Case, procedure: Procedure, looks: int, repetitions: int, seed: tuple[int, ...]
) -> tuple[Measured, Measured]:
    """How often there was a verdict, and how often the intervals of all looks that may speak held the truth."""
    rng = np.random.default_rng(seed)

    def run(runs: int) -> np.ndarray:
        seen = _adjusted_looks(case, (runs, looks), rng)
        said = procedure(seen)
        missed = ((said.lower > case.truth) | (said.upper < case.truth)) & guard_passed(seen)
        return np.stack([(said.sign != 0).any(axis=-1), ~missed.any(axis=-1)], axis=-1)

    alarmed, held = in_blocks(run, repetitions, BLOCK).T
    return share_of_runs(alarmed), share_of_runs(held)


def _adjusted_looks(case: Case, shape: tuple[int, int], rng: np.random.Generator) -> Looks:
    arriving = case.units // shape[1]
    treated = round(arriving * case.share)
    treatment, first = _so_far(case.treatment(shape, treated, rng), treated)
    control, second = _so_far(case.control(shape, arriving - treated, rng), arriving - treated)
    both = cuped(treatment, control)
    return Looks(Watched(both.treatment, first), Watched(both.control, second))


def _so_far(arrivals: Arrivals, units: int) -> tuple[JointStats, np.ndarray]:
    """Joint moments at every look, and the units whose outcome counts as such."""
    y, x, yy, xy, xx, nonzero = (np.cumsum(each, axis=-1) for each in arrivals)
    n = np.broadcast_to(units * np.arange(1, y.shape[-1] + 1), y.shape)
    products = np.stack([np.stack([yy, xy], axis=-1), np.stack([xy, xx], axis=-1)], axis=-2)
    sums = np.stack([y, x], axis=-1)
    means = sums / n[..., None]
    return JointStats(n, means, products - sums[..., :, None] * means[..., None, :]), nonzero


SECTION = Section(
    "CUPED under watching",
    "Each arm adjusted for one covariate by its own slope, as plans with `cuped` do, alpha .05: confidence sequences "
    "at 200 equally spaced looks behind their guard, and a group sequential test of five. Both arms alike up to 20,000 "
    "units (rates up to 100,000), so that every verdict is a false alarm; and an effect of .1 with another slope in "
    "the treatment, whose intervals of all looks together have to hold it.",
    (
        Check(watched, 20_000, 100, 901),
        Check(staged, 100_000, 5_000, 902),
    ),
)
