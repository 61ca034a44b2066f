"""The false discovery rate of many metrics that are watched together."""

from __future__ import annotations

import numpy as np

from abplatform.stats import sequential
from abplatform.stats.multiplicity import benjamini_hochberg
from abplatform.stats.simulate import Normal, Trial, equally_spaced, mean_of_runs
from tests.calibration.blocks import in_blocks
from tests.calibration.claims import REPORTED, Check, Row, Section, at_most

NULL, REAL, LOOKS, UNITS, LIFT = 80, 20, 20, 20_000, 0.06
BLOCK = 50


def always_valid_with_benjamini_hochberg(repetitions: int, seed: int) -> list[Row]:
    """80 metrics without an effect and 20 with one; adjusted p-values of the smallest so far, at every look."""
    stream = (seed,)
    rng = np.random.default_rng(stream)
    claimed = in_blocks(lambda runs: _claimed(runs, rng), repetitions, BLOCK)
    false, true = claimed[:, :NULL].sum(axis=1), claimed[:, NULL:].sum(axis=1)
    proportion = false / np.maximum(false + true, 1)
    each_look = [mean_of_runs(column) for column in proportion.T]
    rows = {
        "at the look where it is highest": max(each_look, key=lambda measured: measured.value),
        "at the last look": each_look[-1],
        "stopped at the first claim": mean_of_runs(_at_first(proportion, false + true > 0)),
        "stopped at the tenth claim": mean_of_runs(_at_first(proportion, false + true >= 10)),
    }
    lines = [
        Row(f"false share of claims, {when}", at_most(0.05), value, repetitions, stream) for when, value in rows.items()
    ]
    power = mean_of_runs(true[:, -1] / REAL)
    return [*lines, Row("true effects found at the last look", REPORTED, power, repetitions, stream)]


def _claimed(runs: int, rng: np.random.Generator) -> np.ndarray:
    """Whether each metric is claimed: (runs, metrics, looks)."""
    schedule, alike = equally_spaced(UNITS, LOOKS), Normal()
    p = [
        _p_values(Trial(alike, alike.lifted(lift), schedule), runs * metrics, rng).reshape(runs, metrics, LOOKS)
        for metrics, lift in ((NULL, 0.0), (REAL, LIFT))
    ]
    smallest = np.minimum.accumulate(np.concatenate(p, axis=1), axis=-1)
    return benjamini_hochberg(smallest, axis=1) < 0.05


def _p_values(trial: Trial, metrics: int, rng: np.random.Generator) -> np.ndarray:
    looks = trial.draw(metrics, rng)
    return sequential.compare(looks.treatment.stats, looks.control.stats, planned_units=UNITS).p_value


def _at_first(values: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Values at the first look where something is reached, else at the last."""
    look = np.where(reached.any(axis=1), reached.argmax(axis=1), reached.shape[1] - 1)
    return values[np.arange(look.size), look]


SECTION = Section(
    "False discoveries",
    "100 independent metrics, 20 of them with an effect of 6% of a standard deviation, 20 looks up to 20,000 units; "
    "the smallest always-valid p-value so far, adjusted by Benjamini and Hochberg at 5%.",
    (Check(always_valid_with_benjamini_hochberg, 10_000, 2_000, 601),),
)
