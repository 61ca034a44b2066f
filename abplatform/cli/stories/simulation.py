"""Run a story on the real platform, with a clock of its own: from the start, some days ago, to the present."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from abplatform.assignment import decode_snapshot, evaluate
from abplatform.cli.stories.sending import Stream, pick, send, stream_deeds, stream_exposures
from abplatform.cli.stories.story import TREATMENT, Crowd, Story
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.sameness import say_the_same
from abplatform.domain.scorecard import Scorecard
from abplatform.errors import AlreadyExists
from abplatform.services import live
from abplatform.services.define import create_experiment, create_metric
from abplatform.services.ingest import Intake
from abplatform.services.publish import read_snapshot

if TYPE_CHECKING:
    from abplatform.bootstrap import Platform

_DAY = timedelta(days=1)
_LONGEST_PAST = timedelta(days=365)


class SimulatedClock:
    """Stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a story is told.

    Attributes:
        units: customers.
        seed: equal seeds give equal customers and equal draws.
        until_day: when it ends, in days after the start.
    """

    units: int
    seed: int
    until_day: int


@dataclass(frozen=True, slots=True)
class DayLook:
    """What somebody saw who looked on a day."""

    day: int
    scorecard: Scorecard


def tell(platform: Platform, story: Story, run: Run, *, progress: Callable[[float], None]) -> Iterator[DayLook]:
    """Let the days of a story pass, and give each look when it is taken.

    The story ends now. Definitions, assignment, intake, sealing and looks are those of the platform; to decide is
    left to people.

    Args:
        platform: an empty one, or one with other stories.
        story: what happens.
        run: how much of it.
        progress: told how many days have passed.

    Raises:
        AlreadyExists: the platform has an experiment of this key, or another metric of a key that the story needs.
    """
    start = platform.now().replace(minute=0, second=0, microsecond=0) - run.until_day * _DAY
    clock = SimulatedClock(start)
    past = replace(platform, clock=clock)
    intake = Intake(past.uow, past.inbox, pseudonym_key=past.pseudonym_key, max_age=_LONGEST_PAST)
    streams = _prepare(past, intake, story, run)
    for day in range(1, run.until_day + 1):
        clock.now = start + day * _DAY
        for stream in streams:
            send(intake, DEFAULT_PROJECT, stream, days=(day - 1, day), received_at=clock.now)
        progress(day)
        if day in story.looks or day == run.until_day:
            yield DayLook(day, past.results(DEFAULT_PROJECT, story.key))
    for definition in story.define_all(run.units)[1:]:
        past.results(DEFAULT_PROJECT, definition.key)


def _prepare(past: Platform, intake: Intake, story: Story, run: Run) -> tuple[Stream, ...]:
    """Define and start, and draw all that will happen."""
    salts, rng = np.random.default_rng(run.seed).spawn(2)
    definitions = story.define_all(run.units)
    crowd = story.gather(rng, run.units)
    _define(past, story, definitions, draw_salt=lambda: salts.bytes(16).hex())
    crowd = _look_back(past, intake, story, crowd, rng)
    _start(past, definitions)
    variants = _assign(past, story.key, crowd)
    deeds = story.behave(rng, crowd, np.array([variant == TREATMENT for variant in variants]))
    exposures = [stream_exposures(crowd, variants, each.key, start=past.now()) for each in definitions]
    return (*exposures, stream_deeds(crowd, deeds, story.key, start=past.now()))


def _define(
    past: Platform, story: Story, definitions: Sequence[ExperimentDefinition], *, draw_salt: Callable[[], str]
) -> None:
    with past.uow.begin() as work:
        known = {stored.key: stored.metric for stored in work.metrics.all(DEFAULT_PROJECT)}
        for metric in story.metrics:
            if metric.key not in known:
                create_metric(work, DEFAULT_PROJECT, metric, now=past.now())
            elif not say_the_same(known[metric.key], metric):
                raise AlreadyExists(f"there is another metric {metric.key}; tell the story in a new folder")
        for definition in definitions:
            create_experiment(work, DEFAULT_PROJECT, definition, now=past.now(), draw_salt=draw_salt)


def _look_back(past: Platform, intake: Intake, story: Story, crowd: Crowd, rng: np.random.Generator) -> Crowd:
    """Have the platform know what customers did before, and the product what it makes of that."""
    if story.remember is not None:
        done = story.remember(rng, crowd)
        before = replace(crowd, arrival=np.zeros(len(crowd.ids)))
        stream = stream_deeds(before, done, f"{story.key}.past", start=past.now())
        send(intake, DEFAULT_PROJECT, stream, days=(-np.inf, 0.0), received_at=past.now())
    return crowd if story.recruit is None else story.recruit(past, crowd)


def _start(past: Platform, definitions: Sequence[ExperimentDefinition]) -> None:
    with past.uow.begin() as work:
        for definition in definitions:
            live.take_step(work, DEFAULT_PROJECT, definition.key, "start", now=past.now())


def _assign(past: Platform, experiment: str, crowd: Crowd) -> Sequence[str | None]:
    with past.uow.reading() as work:
        snapshot = decode_snapshot(read_snapshot(work, DEFAULT_PROJECT).document)
    variants: list[str | None] = []
    for position, unit_id in enumerate(crowd.ids):
        units, attributes = pick(crowd.units, position), pick(crowd.attributes, position)
        drawn = evaluate(snapshot, experiment, unit_id, attributes, units=units)
        variants.append(drawn.variant if drawn.in_experiment else None)
    return variants
