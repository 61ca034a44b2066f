"""Asymptotic confidence sequences at 3,000 looks: balanced, and with unbalanced skewed arms behind the guard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from abplatform.stats.simulate import (
    Bernoulli,
    LogNormal,
    Normal,
    Population,
    Sequential,
    Trial,
    equally_spaced,
    simulate,
)
from tests.calibration.claims import REPORTED, Check, Claim, Row, Section, at_most

LOOKS = 3_000
SKEWED = LogNormal(sigma=2.0)
REVENUE = LogNormal(average=50.0, sigma=1.0, nonzero=0.05)
HEAVY_REVENUE = LogNormal(average=50.0, sigma=1.5, nonzero=0.05)


def capped(population: LogNormal, level: float = 0.99) -> LogNormal:
    """The cap of the design: a quantile of the amounts above 0."""
    return replace(population, cap=population.quantile(level))


BALANCED: dict[str, tuple[Population, int]] = {
    "normal values": (Normal(), 30_000),
    "rate 5%": (Bernoulli(0.05), 30_000),
}
GUARDED_RATES: dict[str, tuple[Population, int]] = {"rate 1%": (Bernoulli(0.01), 300_000)}
GUARDED: dict[str, tuple[Population, int]] = {
    "revenue of 5% of the units, log-sd 1": (REVENUE, 60_000),
    "revenue of 5% of the units, log-sd 1.5, cap p99": (capped(HEAVY_REVENUE), 60_000),
    "lognormal, log-sd 2, cap p99": (capped(SKEWED), 30_000),
}
HEAVY: dict[str, tuple[Population, int]] = {
    "revenue of 5% of the units, log-sd 2, cap p95": (capped(replace(REVENUE, sigma=2.0), 0.95), 60_000),
    "revenue of 5% of the units, log-sd 2, cap p99": (capped(replace(REVENUE, sigma=2.0)), 60_000),
    "revenue of 5% of the units, log-sd 1.5, no cap": (HEAVY_REVENUE, 60_000),
    "lognormal, log-sd 2, no cap": (SKEWED, 30_000),
}


def balanced_arms(repetitions: int, seed: int) -> list[Row]:
    """No guard; tuned to the last look, and to a tenth of it, where more of alpha is spent."""
    rows = []
    for name, (population, units) in BALANCED.items():
        for tuned, words in ((units, "at the last look"), (units // 10, "at a tenth of the looks")):
            what = f"50/50, no guard, tuned to its size {words}: {name}"
            procedure = Sequential(tuned, guard=False)
            rows.append(_alike(what, population, units, 0.5, procedure, repetitions, (seed, len(rows)), at_most(0.05)))
    return rows


def guarded_rates(repetitions: int, seed: int) -> list[Row]:
    """90/10 and 10/90, guard on."""
    return _unbalanced(GUARDED_RATES, repetitions, seed, at_most(0.05))


def guarded_skewed_arms(repetitions: int, seed: int) -> list[Row]:
    """90/10 and 10/90, guard on."""
    return _unbalanced(GUARDED, repetitions, seed, at_most(0.05))


def heavier_tails(repetitions: int, seed: int) -> list[Row]:
    """Beyond what the guard can do: such metrics warn of their heavy tail."""
    return _unbalanced(HEAVY, repetitions, seed, REPORTED)


def _unbalanced(cases: dict[str, tuple[Population, int]], repetitions: int, seed: int, claim: Claim) -> list[Row]:
    rows = []
    for name, (population, units) in cases.items():
        for share, words in ((0.1, "90/10"), (0.9, "10/90")):
            what = f"{words} (control/treatment), guard on: {name}"
            rows.append(
                _alike(what, population, units, share, Sequential(units), repetitions, (seed, len(rows)), claim)
            )
    return rows


def _alike(what, population, units, share, procedure, repetitions, seed, claim) -> Row:
    trial = Trial(population, population, equally_spaced(units, LOOKS), share)
    outcomes = simulate(trial, procedure, repetitions=repetitions, rng=np.random.default_rng(seed))
    return Row(what, claim, outcomes.decided, repetitions, seed)


SECTION = Section(
    "Asymptotic confidence sequences",
    "Both arms alike, 3,000 equally spaced looks, alpha .05; every verdict is a false alarm. Normal values and rates "
    "are watched over 30,000 units, a rate of 1% over 300,000, revenue over 60,000. Caps are the 99% quantile of the "
    "amounts above 0. Tails as heavy as in the last lines break the promise, guard or not, unless the cap is lower: "
    "such metrics warn `HEAVY_TAIL`.",
    (
        Check(balanced_arms, 20_000, 2_000, 201),
        Check(guarded_rates, 20_000, 3_000, 204),
        Check(guarded_skewed_arms, 20_000, 300, 202),
        Check(heavier_tails, 10_000, 100, 203),
    ),
)
