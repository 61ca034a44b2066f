"""Naive peeking, whose error is known: it shows that the simulator is right. And what Bayesian stopping costs."""

from __future__ import annotations

import numpy as np
from scipy import special

from abplatform.stats.simulate import (
    Bayesian,
    NaivePeeking,
    Normal,
    Outcomes,
    Trial,
    equally_spaced,
    share_of_runs,
    simulate,
)
from tests.calibration.claims import REPORTED, Check, Row, Section, at_most, near

UNITS_PER_LOOK = 2_000
KNOWN = {5: 0.142, 20: 0.248, 100: 0.374}
"""Armitage, McPherson and Rowe (1969), table 2: repeated tests at 5%."""


def naive_peeking(repetitions: int, seed: int) -> list[Row]:
    """A t test at 5%, read at every look, both arms alike."""
    rows = []
    for looks, known in KNOWN.items():
        trial = _alike(looks)
        rng = np.random.default_rng([seed, looks])
        outcomes = simulate(trial, NaivePeeking(0.05), repetitions=repetitions, rng=rng)
        what = f"fixed test at 5%, read at {looks} looks: false alarms"
        rows.append(Row(what, near(known, 0.0005), outcomes.decided, repetitions))
    return rows


def bayesian_stopping(repetitions: int, seed: int) -> list[Row]:
    """Stop at 20 looks when the chance to win is above 95% or below 5%; under no effect, and under the prior's."""
    looks, control = 20, Normal()
    # The scale of the effect that a fixed test at the planned size would find with 80% power.
    scale = 2.802 * np.sqrt(4 / (looks * UNITS_PER_LOOK))
    rows = []
    for prior, width in (("flat prior", 1e6), ("matched prior", float(scale))):
        rng = np.random.default_rng([seed, len(rows)])
        alike = simulate(_alike(looks), Bayesian(width), repetitions=repetitions, rng=rng)
        wrong = _wrong_signs(control, Bayesian(width), scale=float(scale), repetitions=repetitions, rng=rng)
        rows += [
            Row(f"{prior}, no effect: any verdict", REPORTED, alike.decided, repetitions),
            Row(f"{prior}, no effect: called better", REPORTED, alike.better, repetitions),
            Row(
                f"{prior}, effects as in the matched prior: wrong signs among verdicts",
                at_most(0.05) if prior == "matched prior" else REPORTED,
                wrong,
                repetitions,
            ),
        ]
    return rows


def _alike(looks: int) -> Trial:
    return Trial(Normal(), Normal(), equally_spaced(looks * UNITS_PER_LOOK, looks))


def _wrong_signs(control, procedure, *, scale, repetitions, rng):
    """Effects at the midpoints of 50 equally likely parts of normal(0, scale)."""
    levels = (np.arange(50) + 0.5) / 50
    signs = []
    for effect in scale * special.ndtri(levels):
        trial = Trial(control, control.lifted(float(effect)), equally_spaced(20 * UNITS_PER_LOOK, 20))
        outcomes: Outcomes = simulate(trial, procedure, repetitions=max(1, repetitions // 50), rng=rng)
        signs.append(outcomes.sign * np.sign(effect))
    said = np.concatenate(signs)
    return share_of_runs(said[said != 0] < 0)


SECTION = Section(
    "Peeking",
    "Armitage, McPherson and Rowe (1969) give the error of repeated tests; that the simulator finds it shows that "
    "it is right. Bayesian stopping has no error rate to keep. With a prior that matches how effects are distributed, "
    "95% confidence in a sign is wrong at most 5% of the time, whenever one looks; with a flat one it is not.",
    (Check(naive_peeking, 100_000, 4_000, 101), Check(bayesian_stopping, 50_000, 5_000, 102)),
)
