"""Stories as tests need them: told on a real platform, and reduced by plain numpy as often as is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from abplatform.bootstrap import Platform, build_platform, prepare_database
from abplatform.cli.stories.report import covers
from abplatform.cli.stories.simulation import DayLook, Run, tell
from abplatform.cli.stories.story import Crowd, Deeds, Mask, Story
from abplatform.domain.scorecard import MetricResult, Scorecard
from abplatform.settings import Settings
from abplatform.stats.results import Comparison, RelativeInterval

REPETITIONS = 200
LEVEL = 0.95
CHANCE = 1e-4
"""So rarely a count falls outside of what `check_coverage` allows on a side, if the level is as promised."""


@dataclass(frozen=True, slots=True)
class Told:
    """A story that was told, and where."""

    story: Story
    platform: Platform
    looks: Sequence[DayLook]

    @property
    def last(self) -> Scorecard:
        return self.looks[-1].scorecard


@contextmanager
def telling(home: Path, story: Story, *, units: int, seed: int = 1, until_day: int | None = None) -> Iterator[Told]:
    settings = Settings(home=home)
    prepare_database(settings)
    with build_platform(settings) as platform:
        run = Run(units=units, seed=seed, until_day=until_day or story.days)
        yield Told(story, platform, list(tell(platform, story, run, progress=lambda _days: None)))


def result_of(scorecard: Scorecard, metric: str) -> MetricResult:
    return next(result for result in scorecard.metrics if result.metric == metric)


def check_recovered(told: Told) -> None:
    """Every planted truth lies in its interval."""
    for planted in told.story.planted:
        assert covers(planted, result_of(told.last, planted.metric)) is True, planted


@dataclass(frozen=True, slots=True)
class Repetition:
    """Customers and what they did, without a platform."""

    crowd: Crowd
    treated: Mask
    deeds: Sequence[Deeds]

    def counts(self, event: str, **least: int) -> npt.NDArray[np.float64]:
        """How many such events each customer has; ``least`` names properties with their smallest values."""
        chosen = [
            each.who
            for each in self.deeds
            if each.event == event and all(int(each.properties[name]) >= value for name, value in least.items())
        ]
        who = np.concatenate(chosen) if chosen else np.array([], dtype=np.int64)
        return np.bincount(who, minlength=self.treated.size).astype(np.float64)


def repeat(
    story: Story, *, units: int, cluster: str | None = None, classes: Sequence[str] = ()
) -> Iterator[Repetition]:
    """Draw a story again and again; the coin is numpy's.

    Args:
        cluster: the unit type that is drawn as a whole, if one is.
        classes: of the customers, where the story makes a difference between them.
    """
    for seed in range(REPETITIONS):
        rng = np.random.default_rng([2026, seed])
        crowd = story.gather(rng, units)
        if classes:
            crowd = Crowd(
                ids=crowd.ids,
                arrival=crowd.arrival,
                attributes={"rfm_at_start": rng.choice(classes, units).tolist()},
            )
        drawn = np.arange(units) if cluster is None else np.unique(crowd.units[cluster], return_inverse=True)[1]
        treated = (rng.random(int(drawn.max()) + 1) < 0.5)[drawn]
        yield Repetition(crowd, treated, story.behave(rng, crowd, treated))


def split(repetition: Repetition, values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    """The values of the treatment and of the control."""
    return values[repetition.treated], values[~repetition.treated]


def count_covered(comparison: Comparison, truth: float, *, scale: str) -> int:
    """How many intervals hold the truth."""
    interval: RelativeInterval = getattr(comparison, scale)
    return int(((interval.lower <= truth) & (truth <= interval.upper)).sum())


def check_coverage(covered: int) -> None:
    """As many as a binomial of `LEVEL` gives but in `CHANCE` of all runs, on each side."""
    lowest, highest = (stats.binom.ppf(tail, REPETITIONS, LEVEL) for tail in (CHANCE, 1 - CHANCE))
    assert lowest <= covered <= highest, (covered, lowest, highest)
