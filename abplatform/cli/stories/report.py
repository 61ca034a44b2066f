"""What a story says on the terminal: each look in a line, and at the end what was planted beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from abplatform.cli.stories.simulation import DayLook
from abplatform.cli.stories.story import Planted, Story
from abplatform.cli.tables import print_table
from abplatform.domain.metric import RATES
from abplatform.domain.scorecard import Interval, MetricResult, Scorecard
from abplatform.readout import numbers
from abplatform.readout.wording import headline, planned_progress

_UNKNOWN = "not known yet"


def print_list(stories: Sequence[Story]) -> None:
    """One line for each story."""
    width = max(len(story.key) for story in stories)
    for story in stories:
        click.echo(f"{story.key:<{width}}  {story.title}")


def print_look(look: DayLook) -> None:
    """One line: the day, how many customers count by then, and what the plan recommends."""
    known = planned_progress(look.scorecard)
    click.echo(f"day {look.day:>3}: {known.closed:>6,} customers count  {headline(look.scorecard)}")


def print_truth(story: Story, scorecard: Scorecard) -> None:
    """What was planted, what was measured, and whether the interval covers it."""
    found = {result.metric: result for result in scorecard.metrics}
    rows = [(planted, found[planted.metric]) for planted in story.planted]

    def cells(write: Callable[[Planted, MetricResult], str]) -> list[str]:
        return [write(planted, result) for planted, result in rows]

    print_table(
        "The truth beside the readout",
        ("Metric", cells(lambda planted, _: planted.metric)),
        ("Planted", cells(lambda planted, result: _write(planted.effect, _scale(planted, result)))),
        ("Measured", cells(_measured)),
        ("", cells(_covered)),
        ("In words", cells(lambda planted, _: planted.note)),
    )


def covers(planted: Planted, result: MetricResult) -> bool | None:
    """Whether the interval covers what was planted; None as long as there is no interval."""
    interval = _interval(planted, result)
    if interval.estimate is None:
        return None
    low = float("-inf") if interval.lower is None else interval.lower
    high = float("inf") if interval.upper is None else interval.upper
    return low <= planted.effect <= high


def _measured(planted: Planted, result: MetricResult) -> str:
    interval, scale = _interval(planted, result), _scale(planted, result)
    if interval.estimate is None:
        return _UNKNOWN
    return f"{_write(interval.estimate, scale)} {numbers.bounds(interval, kind=scale)}"


def _covered(planted: Planted, result: MetricResult) -> str:
    known = covers(planted, result)
    return "" if known is None else "covered" if known else "missed"


def _interval(planted: Planted, result: MetricResult) -> Interval:
    comparison = result.comparisons[0]
    return comparison.relative if planted.scale == "relative" else comparison.absolute


def _scale(planted: Planted, result: MetricResult) -> str:
    if planted.scale == "relative":
        return "lift"
    return "points" if result.kind in RATES else "amount"


def _write(value: float, scale: str) -> str:
    if scale == "lift":
        return numbers.lift(value)
    return numbers.points(value) if scale == "points" else numbers.amount(value, signed=True)
