"""Naive peeking, whose error is known: it shows that the simulator is right. And what Bayesian stopping costs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from abplatform.stats.simulate import (
    Bayesian,
    Looks,
    NaivePeeking,
    Normal,
    Trial,
    equally_spaced,
    share_of_runs,
    simulate,
)
from tests.calibration.blocks import in_blocks
from tests.calibration.claims import REPORTED, Check, Claim, Row, Section, at_most, near

UNITS_PER_LOOK = 2_000
KNOWN = {5: 0.142, 20: 0.248, 100: 0.374}
"""Armitage, McPherson and Rowe (1969), table 2: repeated tests at 5%."""


def naive_peeking(repetitions: int, seed: int) -> list[Row]:
    """A t test at 5%, read at every look, both arms alike."""
    rows = []
    for looks, known in KNOWN.items():
        trial, stream = _alike(looks), (seed, looks)
        rng = np.random.default_rng(stream)
        outcomes = simulate(trial, NaivePeeking(0.05), repetitions=repetitions, rng=rng)
        what = f"fixed test at 5%, read at {looks} looks: false alarms"
        rows.append(Row(what, near(known, 0.0005), outcomes.decided, repetitions, stream))
    return rows


BAYESIAN_LOOKS = 20
STANDARD_ERROR = float(np.sqrt(4 / (BAYESIAN_LOOKS * UNITS_PER_LOOK)))
"""Of the difference at the last look, where values have a standard deviation of 1."""
FLAT = 1e6
SCALES: dict[str, tuple[float, tuple[Claim, Claim, Claim]]] = {
    # The case of the statistics page, with its figures: wrong by the flat prior, verdicts, wrong by the matched one.
    "1 standard error": (1.0, (near(0.215, 0.0005), near(0.039, 0.0005), near(0.043, 0.0005))),
    # The effect that a fixed test at the last look finds with 80% power.
    "2.8 standard errors": (2.802, (REPORTED, REPORTED, at_most(0.05))),
}


def bayesian_stopping(repetitions: int, seed: int) -> list[Row]:
    """Stop at 20 looks when the chance to win is above 95% or below 5%; under no effect, and under the prior's."""
    stream = (seed, 0)
    alike = _said(FLAT, 0.0, repetitions, stream)
    rows = [
        Row("flat prior, no effect: any verdict", near(0.424, 0.0005), share_of_runs(alike != 0), repetitions, stream),
        Row("flat prior, no effect: called better", REPORTED, share_of_runs(alike > 0), repetitions, stream),
    ]
    for words, (errors, (flat, verdicts, matched)) in SCALES.items():
        scale, from_it = errors * STANDARD_ERROR, f"effects of normal(0, {words}): wrong signs among verdicts"
        runs = (
            (f"flat prior, {from_it}", flat, FLAT, scale),
            (f"prior of {words}, no effect: any verdict", verdicts, scale, 0.0),
            (f"prior of {words}, {from_it}", matched, scale, scale),
        )
        for what, claim, prior, spread in runs:
            stream = (seed, len(rows))
            signs = _said(prior, spread, repetitions, stream)
            found = share_of_runs(signs[signs != 0] < 0) if spread else share_of_runs(signs != 0)
            rows.append(Row(what, claim, found, repetitions, stream))
    return rows


def _alike(looks: int) -> Trial:
    return Trial(Normal(), Normal(), equally_spaced(looks * UNITS_PER_LOOK, looks))


def _said(prior: float, spread: float, repetitions: int, seed: tuple[int, ...]) -> np.ndarray:
    """First verdicts with effects drawn from normal(0, spread): 1 right (better, without effects), -1 wrong, 0 none."""
    trial = _alike(BAYESIAN_LOOKS)
    run = partial(_first_verdicts, trial, Bayesian(prior), spread, np.random.default_rng(seed))
    return in_blocks(run, repetitions, trial.block)


def _first_verdicts(
    trial: Trial, procedure: Bayesian, spread: float, rng: np.random.Generator, runs: int
) -> np.ndarray:
    looks, effect = trial.draw(runs, rng), spread * rng.standard_normal(runs)
    # Effects shift normal values, and nothing else.
    shifted = replace(looks.treatment.stats, mean=looks.treatment.stats.mean + effect[:, None])
    sign = procedure(Looks(replace(looks.treatment, stats=shifted), looks.control)).sign
    first = sign[np.arange(runs), (sign != 0).argmax(axis=1)]
    return first * np.where(effect < 0, -1, 1)


SECTION = Section(
    "Peeking",
    "Armitage, McPherson and Rowe (1969) give the error of repeated tests; that the simulator finds it shows that "
    "it is right. Bayesian stopping, here at 20 looks and a chance of 95% to win or to lose, has no error rate to "
    "keep. The standard deviation of matched priors, and of the effects, is in units of the standard error of the "
    "difference at the last look: once one of them (the case of the statistics page), once 2.8, the effect that a "
    "fixed test finds with 80% power. With a prior that matches how effects are distributed, a sign is wrong at "
    "most 5% of the time, whenever one looks; with a flat one it is wrong more often.",
    (Check(naive_peeking, 100_000, 10_000, 101), Check(bayesian_stopping, 200_000, 5_000, 102)),
)
