"""The page of the templates says of each what its data say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from abplatform.domain.experiment import Amount
from abplatform.domain.metric import Metric
from abplatform.domain.templates import SETS, STAGES, TEMPLATES, Template
from abplatform.domain.templates.template import ExpectedEvent

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")
EVENTS = {event.name: event for template in TEMPLATES.values() for event in template.events}


def template_row(template: Template) -> str:
    """The row of a template: key, names, kind, direction, window and what else bounds it, margin."""
    metric = template.metric
    good = {"increase": "more", "decrease": "less"}[metric.direction]
    cells = [f"`{template.key}`", metric.name, template.name_zh, f"`{metric.kind}`", good, _bounds(metric)]
    cells += [] if template.margin is None else [_margin(template.margin)]
    return f"| {' | '.join(cells)} |"


def event_row(event: ExpectedEvent) -> str:
    """The row of an event: name, meaning, value, properties."""
    value = "" if event.value is None else event.value.en
    properties = "; ".join(f"`{name}` ({each.type}): {each.meaning.en}" for name, each in event.properties.items())
    return f"| `{event.name}` | {event.meaning.en} | {value} | {properties} |"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=list(TEMPLATES))
def test_each_template_stands_there_with_kind_window_and_margin(template: Template) -> None:
    assert template_row(template) in PAGE.splitlines()


@pytest.mark.parametrize("event", EVENTS.values(), ids=list(EVENTS))
def test_each_event_stands_there_with_all_that_is_read_of_it(event: ExpectedEvent) -> None:
    assert event_row(event) in PAGE.splitlines()


def test_nothing_else_stands_there() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, flags=re.MULTILINE)) == {*TEMPLATES, *EVENTS}


def test_sets_and_stages_are_named() -> None:
    assert all(f"`{name}`" in PAGE for name in SETS)
    assert all(f"\n### {stage.capitalize()}\n" in PAGE for stage in STAGES)


def _bounds(metric: Metric) -> str:
    window = metric.window
    assert window is not None
    days = f"{window.end.days} days"
    if window.start:
        days = f"calendar days {window.start.days} to {window.end.days - 1} after"
        days = days.replace("days 1 to 1 after", "day 1 after")
    age = f", age {metric.minimum_age.days} days" if metric.minimum_age else ""
    cap = f", cap p{100 * metric.cap.quantile:.0f}" if metric.cap and metric.cap.quantile else ""
    hint = f", hints at `{metric.outcome}`" if metric.outcome else ""
    return f"{days}{age}{cap}{hint}"


def _margin(margin: Amount) -> str:
    return f"{100 * (margin.relative or 0):g}%" if margin.absolute is None else f"{100 * margin.absolute:g} points"
