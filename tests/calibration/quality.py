"""The sequential sample-ratio test, looked at daily for a month."""

from __future__ import annotations

import numpy as np

from abplatform.stats import srm
from abplatform.stats.simulate import share_of_runs
from tests.calibration.claims import Check, Row, Section, at_most, near

DAYS = 30
UNITS_A_DAY = 1_000


def thirty_daily_looks(repetitions: int, seed: int) -> list[Row]:
    """Units arrive with the planned shares; every alarm is false."""
    rows = []
    for weights in ((1, 1), (9, 1), (1, 1, 1)):
        stream, shares = (seed, len(rows)), np.array(weights) / sum(weights)
        counts = np.random.default_rng(stream).multinomial(UNITS_A_DAY, shares, size=(repetitions, DAYS)).cumsum(axis=1)
        alarms = (srm.sequential_p_value(counts, weights) <= 0.05).any(axis=1)
        words = "/".join(str(weight) for weight in weights)
        what = f"sequential multinomial test, weights {words}"
        rows.append(Row(what, at_most(0.05), share_of_runs(alarms), repetitions, stream))
        if len(weights) == 2 and weights[0] == 1:
            naive = (srm.chi_square_p_value(counts, weights) < 0.05).any(axis=1)
            what = "chi-square test, weights 1/1"
            rows.append(Row(what, near(0.28, 0.005), share_of_runs(naive), repetitions, stream))
    return rows


SECTION = Section(
    "Sample ratio mismatch",
    "30 daily looks of 1,000 units at alpha .05 in healthy experiments. The chi-square test is for one look; read "
    "daily it errs as often as any naive peeking.",
    (Check(thirty_daily_looks, 40_000, 10_000, 401),),
)
