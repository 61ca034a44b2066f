"""The e-process from counts alone: complaints at a rate of .1%, looked at after every single one, without a guard."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from abplatform.stats import Margin, sequential
from abplatform.stats.simulate import Bernoulli, Measured, Trial, every, share_of_runs
from tests.calibration.blocks import in_blocks
from tests.calibration.claims import Check, Row, Section, at_least, at_most

EVENTS = 1_000
"""Complaints of a million units. Only they move the e-process, so that only they are drawn: under equal rates each is
one of the treatment's with the treatment's share, whatever the rate."""


def complaints_at_every_event(repetitions: int, seed: int) -> list[Row]:
    """False alarms of harm, with equal and with unequal shares."""
    rows = []
    for share, words in ((0.5, "50/50"), (0.1, "90/10"), (0.9, "10/90")):
        stream = (seed, len(rows))
        found = share_of_runs(raised(alarms(share), share, repetitions, np.random.default_rng(stream)))
        what = f"{words}, rate .1%, a look at each of 1,000 events: alarms without harm"
        rows.append(Row(what, at_most(0.05), found, repetitions, stream))
    return rows


@cache
def alarms(share: float) -> np.ndarray:
    """Whether the engine alarms at 5%, by complaints of the treatment and of the control."""
    counts = np.arange(EVENTS + 1)
    return sequential.harm_p_value(counts[:, None], counts, share=share) < 0.05


def raised(alarming: np.ndarray, share: float, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    treatment = (rng.random((repetitions, EVENTS), dtype=np.float32) < share).cumsum(axis=1, dtype=np.int32)
    return alarming[treatment, np.arange(1, EVENTS + 1) - treatment].any(axis=1)


def sixty_complaints_against_none(repetitions: int, seed: int) -> list[Row]:
    """Nothing is random here: the alarm is a fact, as is the event at which it was raised."""
    p = sequential.harm_p_value(np.arange(61), 0, share=0.5)
    alarms = Measured(float(p[60] < 0.05), 0.0)
    first = Measured(float(np.argmax(p < 0.05)), 0.0)
    return [
        Row("60 complaints against 0, 50/50: alarms (1 is yes)", at_least(1), alarms, 1, ()),
        Row("complaints against 0 at which the alarm is raised", at_most(10), first, 1, ()),
    ]


LOOK_EVERY, WATCHED_UNITS, PLANNED_UNITS = 1_000, 300_000, 150_000
MARGINS = {"absolute margin .05%": Margin(0.0005), "relative margin 50%": Margin(0.5, relative=True)}
BASE_RATES = {None: "", 0.001: ", base rate given"}
"""Experiments judge guardrails without one."""


def complaints_at_their_margin(repetitions: int, seed: int) -> list[Row]:
    """Control .1%, treatment worse by exactly the margin, .15%: how often it is called safe at some look."""
    control, rows = Bernoulli(0.001), []
    schedule = every(WATCHED_UNITS, LOOK_EVERY)
    for base_rate, told in BASE_RATES.items():
        for name, margin in MARGINS.items():
            for share, words in ((0.5, "50/50"), (0.1, "90/10")):
                trial, stream = Trial(control, control.lifted(0.5), schedule, share), (seed, len(rows))
                run = partial(_called_safe, trial, margin, base_rate, np.random.default_rng(stream))
                called = in_blocks(run, repetitions, trial.block)
                what = f"{words}, .1% against .15%, {name}{told}, 300 looks: called safe"
                rows.append(Row(what, at_most(0.05), share_of_runs(called), repetitions, stream))
    return rows


def _called_safe(
    trial: Trial, margin: Margin, base_rate: float | None, rng: np.random.Generator, runs: int
) -> np.ndarray:
    looks = trial.draw(runs, rng)
    log_e = sequential.log_margin_e_value(
        looks.treatment.stats,
        looks.control.stats,
        margin=margin,
        share=trial.share,
        planned_units=PLANNED_UNITS,
        direction="decrease",
        base_rate=base_rate,
    )
    return (log_e > np.log(20)).any(axis=1)


SECTION = Section(
    "Harm from counts",
    "The e-processes need no guard and no approximation: at most alpha false claims from the first event on. Only "
    "complaints move the alarm, so that it is looked at after each of them; the margin is looked at every 1,000 units.",
    (
        Check(complaints_at_every_event, 20_000, 2_000, 301),
        Check(sixty_complaints_against_none, 1, 1, 0),
        Check(complaints_at_their_margin, 20_000, 2_000, 303),
    ),
)
