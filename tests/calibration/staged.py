"""Group sequential tests of five looks: error, and what the looks cost in units."""

from __future__ import annotations

import numpy as np

from abplatform.stats import MeanStats
from abplatform.stats.group_sequential import OBRIEN_FLEMING, POCOCK, Spending, at_stopping
from abplatform.stats.power import Baseline, FixedTest, Goal, GroupSequentialTest, required_units
from abplatform.stats.simulate import (
    Bernoulli,
    GroupSequential,
    Measured,
    Normal,
    Trial,
    equally_spaced,
    share_of_runs,
    simulate,
)
from tests.calibration.claims import REPORTED, Check, Row, Section, near

LOOKS, UNITS, ALPHA = 5, 20_000, 0.05
UNSCHEDULED = np.array([2_000, 7_000, 8_000, 18_500, 20_000])
SPENDINGS: dict[str, Spending] = {"O'Brien-Fleming type": OBRIEN_FLEMING, "Pocock type": POCOCK}
INFLATIONS = {"O'Brien-Fleming type": 1.025, "Pocock type": 1.213}
"""What is known of five equally spaced looks at two-sided 5% with 80% power, to three places."""
MEAN, EFFECT = Normal(1.0, 1.0), 0.01


def type_one_error(repetitions: int, seed: int) -> list[Row]:
    """Both arms alike: equally spaced looks, and looks that come when they come."""
    rows = []
    for name, spending in SPENDINGS.items():
        cases = {
            "normal values, equally spaced": (MEAN, equally_spaced(UNITS, LOOKS)),
            "normal values, at 10, 35, 40, 92.5 and 100%": (MEAN, UNSCHEDULED),
            "rate 10%, equally spaced": (Bernoulli(0.1), equally_spaced(UNITS, LOOKS)),
        }
        for case, (population, schedule) in cases.items():
            stream, procedure = (seed, len(rows)), GroupSequential(UNITS, ALPHA, spending)
            trial, rng = Trial(population, population, schedule), np.random.default_rng(stream)
            outcomes = simulate(trial, procedure, repetitions=repetitions, rng=rng)
            rows.append(Row(f"{name}, {case}: false alarms", near(ALPHA), outcomes.decided, repetitions, stream))
    return rows


def planned_units(spending: Spending) -> tuple[int, float]:
    """Units for 80% power, and how many times those of a fixed test they are."""
    baseline, goal = Baseline.normal(MEAN.mean, MEAN.sd), Goal.superiority(EFFECT)
    fixed = required_units(baseline, goal, test=FixedTest(ALPHA)).cell().total
    staged = (
        required_units(baseline, goal, test=GroupSequentialTest(ALPHA, looks=LOOKS, spending=spending)).cell().total
    )
    return int(staged), staged / fixed


def sample_inflation(repetitions: int, seed: int) -> list[Row]:
    """The plan's inflation, which is computed and not simulated, and the power at the units that it gives."""
    rows = []
    for name, spending in SPENDINGS.items():
        units, inflation = planned_units(spending)
        trial = Trial(MEAN, MEAN.lifted(EFFECT), equally_spaced(units, LOOKS))
        stream = (seed, len(rows))
        rng = np.random.default_rng(stream)
        outcomes = simulate(trial, GroupSequential(units, ALPHA, spending), repetitions=repetitions, rng=rng)
        rows += [
            Row(
                f"{name}: units over those of a fixed test (computed)",
                near(INFLATIONS[name], 0.0005),
                Measured(inflation, 0.0),
                1,
                (),
            ),
            Row(f"{name}: power at these units, right sign", near(0.8), outcomes.right, repetitions, stream),
        ]
    return rows


def inference_at_stopping(repetitions: int, seed: int) -> list[Row]:
    """With an effect that makes most tests stop early: the stage-wise interval, and the side of its estimate."""
    spending, units = POCOCK, planned_units(POCOCK)[0]
    trial = Trial(MEAN, MEAN.lifted(EFFECT), equally_spaced(units, LOOKS))
    looks = trial.draw(repetitions, np.random.default_rng((seed,)))
    said = GroupSequential(units, ALPHA, spending)(looks).sign != 0
    stop = np.where(said.any(axis=1), said.argmax(axis=1), LOOKS - 1)
    held, above, naive = [], [], []
    for look in np.unique(stop):
        arms = [_at(arm.stats, stop == look, look) for arm in (looks.treatment, looks.control)]
        found = at_stopping(*arms, fractions=np.arange(1, look + 2) / LOOKS, alpha=ALPHA, spending=spending).absolute
        held.append((found.lower <= trial.effect) & (trial.effect <= found.upper))
        above.append(found.estimate > trial.effect)
        naive.append(arms[0].estimate - arms[1].estimate > trial.effect)
    name = "Pocock type, stopped, 80% power"
    return [
        Row(f"{name}: stage-wise interval holds the truth", near(0.95), _share(held), repetitions, (seed,)),
        Row(f"{name}: median-unbiased estimate above the truth", near(0.5), _share(above), repetitions, (seed,)),
        Row(f"{name}: plain estimate above the truth", REPORTED, _share(naive), repetitions, (seed,)),
    ]


def _at(stats: MeanStats, runs: np.ndarray, look: int) -> MeanStats:
    return MeanStats(stats.n[runs, look], stats.mean[runs, look], stats.m2[runs, look])


def _share(parts: list[np.ndarray]) -> Measured:
    return share_of_runs(np.concatenate(parts))


SECTION = Section(
    "Group sequential tests",
    "Five looks at two-sided .05, alpha spent by Lan and DeMets' functions, up to 20,000 units. Inflation is the size "
    "for 80% power over that of a test of one look; only rejections of the right sign count.",
    (
        Check(type_one_error, 100_000, 20_000, 801),
        Check(sample_inflation, 100_000, 20_000, 802),
        Check(inference_at_stopping, 20_000, 2_000, 803),
    ),
)
