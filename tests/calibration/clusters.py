"""Sequences over clusters of unequal size whose members are alike, with rare outcomes and heavy sums, at many looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from abplatform.stats import Margin, RatioStats, sequential
from abplatform.stats.simulate import share_of_runs
from tests.calibration.blocks import in_blocks
from tests.calibration.claims import REPORTED, Check, Claim, Row, Section, at_most

ALPHA, MEAN_SIZE, SPREAD = 0.05, 20, 1.0
CELLS = 500_000
"""Clusters (of all repetitions together) that are drawn at once."""

Floats = NDArray[np.float64]
Guard = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.object_]]


@dataclass(frozen=True, slots=True)
class Rate:
    """Each cluster has a rate of its own (beta): ``correlation`` is that between two members of one."""

    rate: float
    correlation: float

    def draw(self, shape: tuple[int, ...] | int, rng: np.random.Generator) -> Floats:
        """Rates of clusters."""
        pseudo = 1 / self.correlation - 1
        return rng.beta(self.rate * pseudo, (1 - self.rate) * pseudo, shape)

    def sums(self, sizes: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """How many members of each cluster convert."""
        return rng.binomial(sizes, self.draw(sizes.shape, rng)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Amounts:
    """A share of the members brings a log-normal amount, times a log-normal factor of the cluster."""

    share: float
    member_sd: float
    cluster_sd: float

    def sums(self, sizes: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """What each cluster brings."""
        payers = rng.binomial(sizes, self.share)
        owners = np.repeat(np.arange(sizes.size), payers.ravel())
        amounts = rng.lognormal(0.0, self.member_sd, owners.size)
        sums = np.bincount(owners, amounts, sizes.size).reshape(sizes.shape)
        return np.asarray(sums * rng.lognormal(0.0, self.cluster_sd, sizes.shape))


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm at every look, and how many of its clusters have a value (of rates: the rarer outcome)."""

    stats: RatioStats
    active: NDArray[np.int64]


Arms = tuple[Arm, Arm]
RATES = {
    "rate 10%, correlation .3": Rate(0.1, 0.3),
    "rate 2%, correlation .3": Rate(0.02, 0.3),
    "rate 0.5%, correlation .1": Rate(0.005, 0.1),
}
REVENUE = {"revenue of 5% of the members, log-sd 1": Amounts(0.05, 1.0, 0.0)}
HEAVY = {"revenue of 5% of the members, log-sd 1 of members and of clusters": Amounts(0.05, 1.0, 1.0)}


@dataclass(frozen=True, slots=True)
class Watch:
    """How many clusters come, in how many looks, which share is treated, and where the sequence is tightest."""

    clusters: int
    looks: int
    share: float
    tuned: int


def even_arms(repetitions: int, seed: int) -> list[Row]:
    """From 200 clusters in each arm on, none of the arms more than 2.5 times the other."""
    rows = []
    for share, words in ((0.5, "50/50"), (2 / 7, "5:2"), (5 / 7, "2:5")):
        for name, case in {**RATES, **REVENUE, **HEAVY}.items():
            what, watch = f"{words} (control/treatment), guard on: {name}", Watch(3_000, 500, share, 600)
            rows += _rows(what, case, watch, repetitions, (seed, len(rows)), at_most(ALPHA))
    return rows


def uneven_arms(repetitions: int, seed: int) -> list[Row]:
    """From 500 clusters in each arm on, one nine times as large as the other."""
    return _uneven({**RATES, **REVENUE}, repetitions, seed, at_most(ALPHA))


def uneven_arms_beyond(repetitions: int, seed: int) -> list[Row]:
    """What the guard does not hold: heavy sums; and what a guard of even arms would let through."""
    rows = _uneven(HEAVY, repetitions, seed, REPORTED)
    for name, case in RATES.items():
        what, watch = f"10/90 (control/treatment), guard of even arms: {name}", Watch(10_000, 500, 0.9, 2_000)
        rows += _rows(what, case, watch, repetitions, (seed, len(rows)), REPORTED, guard=_even)
    return rows


def growing_clusters(repetitions: int, seed: int) -> list[Row]:
    """Members come one after another, at all clusters from the first look on, or at clusters that come as well."""
    rows = []
    for correlation in (0.001, 0.3):
        for late, words in ((0.0, "all clusters there from the start"), (0.9, "clusters come as well")):
            case, watch = Rate(0.1, correlation), Watch(1_200, 100, 0.5, 1_200)
            what = f"50/50, members come at 100 looks, {words}: rate 10%, correlation {correlation:.2g}"
            draw = partial(_growing, case, watch, late)
            rows += _measure(what, draw, watch, repetitions, (seed, len(rows)), at_most(ALPHA))
    return rows


def _uneven(cases: Mapping[str, Rate | Amounts], repetitions: int, seed: int, claim: Claim) -> list[Row]:
    rows: list[Row] = []
    for share, words in ((0.1, "90/10"), (0.9, "10/90")):
        for name, case in cases.items():
            what, watch = f"{words} (control/treatment), clusters, guard on: {name}", Watch(10_000, 500, share, 2_000)
            rows += _rows(what, case, watch, repetitions, (seed, len(rows)), claim)
    return rows


def _rows(what, case, watch, repetitions, seed, claim, guard: Guard = sequential.cluster_guard) -> list[Row]:
    return _measure(what, partial(_complete, case, watch), watch, repetitions, seed, claim, guard)


def _measure(what, draw, watch, repetitions, seed, claim, guard: Guard = sequential.cluster_guard) -> list[Row]:
    """How often the two-sided verdict, and the one-sided alarm of a guardrail, come at some look though arms agree."""
    rng = np.random.default_rng(seed)
    run = partial(_alarms, draw, watch.tuned, guard, rng)
    found = in_blocks(run, repetitions, max(1, CELLS // watch.clusters))
    return [
        Row(f"{what}: {words}", claim, share_of_runs(found[:, side]), repetitions, seed)
        for side, words in enumerate(("any verdict", "alarm of harm"))
    ]


def _alarms(draw, tuned: int, guard: Guard, rng: np.random.Generator, runs: int) -> NDArray[np.bool_]:
    treatment, control = draw(rng, runs)
    counts = (np.stack([treatment.stats.n, control.stats.n], -1), np.stack([treatment.active, control.active], -1))
    passed = guard(*counts) == None  # noqa: E711 - element by element
    arms = treatment.stats, control.stats
    verdict = sequential.compare(*arms, planned_units=tuned, alpha=ALPHA).p_value < ALPHA
    plan = {"margin": Margin(0.0), "planned_units": tuned, "alpha": ALPHA, "direction": "increase"}
    harm = sequential.non_inferiority(*arms, **plan).p_value < ALPHA
    return np.stack([(verdict & passed).any(axis=1), (harm & passed).any(axis=1)], -1)


def _even(n: NDArray[np.int64], active: NDArray[np.int64]) -> NDArray[np.object_]:
    few = (n < sequential.MIN_EVEN_CLUSTERS) | (active < sequential.MIN_EVEN_NONZERO_CLUSTERS)
    return np.where(few.any(axis=-1), "TOO_FEW_CLUSTERS", None)


def _sizes(shape: tuple[int, ...] | int, rng: np.random.Generator) -> NDArray[np.int64]:
    sizes = rng.lognormal(np.log(MEAN_SIZE) - SPREAD**2 / 2, SPREAD, shape)
    return np.maximum(1, np.round(sizes)).astype(np.int64)


def _complete(case: Rate | Amounts, watch: Watch, rng: np.random.Generator, runs: int) -> Arms:
    """Clusters come one after another, each with all of its members."""
    sizes = _sizes((runs, watch.clusters), rng)
    y, d = case.sums(sizes, rng), sizes.astype(np.float64)
    treated = rng.random(sizes.shape) < watch.share
    last = np.round(watch.clusters * np.arange(1, watch.looks + 1) / watch.looks).astype(np.int64) - 1
    return tuple(_complete_arm(case, y, d, chosen, last) for chosen in (treated, ~treated))


def _complete_arm(case, y: Floats, d: Floats, chosen: NDArray[np.bool_], last: NDArray[np.int64]) -> Arm:
    def until(values: Floats | NDArray[np.bool_]) -> Floats:
        return np.asarray(np.cumsum(np.where(chosen, values, 0.0), axis=1)[:, last])

    active = until(y != 0)
    if isinstance(case, Rate):
        active = np.minimum(active, until(y != d))
    sums = (np.ones_like(y), y, d, y * y, d * d, y * d)
    return Arm(_stats(*map(until, sums)), active.astype(np.int64))


def _growing(case: Rate, watch: Watch, late: float, rng: np.random.Generator, runs: int) -> Arms:
    """Members come at even times after the first of their cluster may have, which is before a share ``late``."""
    found = [_grow(case, watch, late, rng) for _ in range(runs)]
    sums, active = np.array([each[0] for each in found]), np.array([each[1] for each in found])
    return tuple(
        Arm(_stats(*np.moveaxis(sums[:, arm], 1, 0)), active[:, arm].min(axis=1).astype(np.int64)) for arm in (0, 1)
    )


def _grow(case: Rate, watch: Watch, late: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Sums by arm and look: six that moments are made of, and clusters that have a conversion, or another member."""
    sizes = _sizes(watch.clusters, rng)
    owner, starts = np.repeat(np.arange(sizes.size), sizes), np.cumsum(sizes) - sizes
    begun = late * rng.random(sizes.size)[owner]
    when = begun + (1 - begun) * rng.random(owner.size)
    when = when[np.lexsort((when, owner))]
    one = (rng.random(owner.size) < case.draw(sizes.size, rng)[owner]).astype(np.float64)
    place, so_far = np.arange(owner.size) - starts[owner], np.cumsum(one) - one
    before = so_far - so_far[starts][owner]
    grown = (before + one) * (place + 1) - before * place
    sums = (place == 0, one, np.ones_like(one), (2 * before + 1) * one, 2 * place + 1, grown)
    firsts = ((before == 0) & (one == 1), (place == before) & (one == 0))
    look, treated = (when * watch.looks).astype(np.int64), rng.random(sizes.size) < watch.share

    def until(changes, chosen: NDArray[np.bool_]) -> Floats:
        mine = chosen[owner]
        return np.array([np.bincount(look[mine], each[mine], watch.looks).cumsum() for each in changes])

    arms = treated, ~treated
    return np.array([until(sums, arm) for arm in arms]), np.array([until(firsts, arm) for arm in arms])


def _stats(n: Floats, y: Floats, d: Floats, yy: Floats, dd: Floats, yd: Floats) -> RatioStats:
    """Statistics from sums, squares and products over clusters."""
    members = np.maximum(n, 1)
    moments = (np.where(n > 1, raw - a * b / members, 0.0) for raw, a, b in ((yy, y, y), (dd, d, d), (yd, y, d)))
    m2_y, m2_d, c_yd = moments
    m2_y, m2_d = np.maximum(m2_y, 0.0), np.maximum(m2_d, 0.0)
    most = np.sqrt(m2_y * m2_d)
    c_yd = np.clip(c_yd, -most, most)
    return RatioStats(n.astype(np.int64), y / members, d / members, m2_y=m2_y, m2_d=m2_d, c_yd=c_yd)


SECTION = Section(
    "Clusters",
    "Both arms alike; clusters of log-normal size (mean 20, log-sd 1) whose members are alike: at a correlation of "
    ".3, 20 members say as much as 3 that are not. Every verdict, and every one-sided alarm of a guardrail, is a "
    "false one. Clusters come whole, seen at 500 looks, 3,000 of them in even arms and 10,000 in uneven ones, by "
    "sequences tuned to 600 and to 2,000, near where the guard opens. It asks for 200 clusters in each arm, 50 of "
    "them with a value (for rates: of the rarer outcome), while no arm has more than 2.5 times the clusters of the "
    "other; else for 500 and 100, since skewness no longer cancels: what the smaller guard would let through there is "
    "reported, as are heavy sums. Last, clusters that gain members while they are watched, though a sequence counts "
    "clusters: members that are hardly alike in clusters that are all there from the start are the worst case.",
    (
        Check(even_arms, 5_000, 200, 1001),
        Check(uneven_arms, 5_000, 100, 1002),
        Check(uneven_arms_beyond, 5_000, 100, 1003),
        Check(growing_clusters, 5_000, 100, 1004),
    ),
)
