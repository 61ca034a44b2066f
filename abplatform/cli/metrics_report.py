"""What the commands of metrics say, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from abplatform.cli.tables import print_table
from abplatform.readout.numbers import count, visible

if TYPE_CHECKING:
    from abplatform.domain.metric import Metric, Window
    from abplatform.services.check_metrics import EventCheck, Problem
    from abplatform.services.install import Installed
    from abplatform.storage.metrics import StoredMetric


def print_installed(done: Installed) -> None:
    """Print what became of templates."""
    for verb, metrics in (("made", done.created), ("unchanged", done.unchanged)):
        for stored in metrics:
            click.echo(f"{verb} {visible(stored.key)}: {_name(stored)}")


def print_metrics(metrics: Sequence[Metric], *, as_json: bool) -> None:
    """Print the metrics of a project."""
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(each) for each in metrics], indent=2, ensure_ascii=False))
    elif metrics:
        print_table(
            "Metrics",
            ("Metric", [visible(each.key) for each in metrics]),
            ("Name", [visible(each.name) for each in metrics]),
            ("Kind", [each.kind for each in metrics]),
            ("Good", [{"increase": "more", "decrease": "less"}[each.direction] for each in metrics]),
            ("Window", [_window(each.window) for each in metrics]),
        )


def print_checks(checks: Sequence[EventCheck], *, days: int, as_json: bool) -> bool:
    """Print what metrics lack, and tell whether that is nothing."""
    if as_json:
        click.echo(json.dumps([_document(each, days) for each in checks], indent=2, ensure_ascii=False))
    elif checks:
        print_table(
            f"Events {_lately(days)}",
            ("Metric", [visible(each.metric) for each in checks]),
            ("Event", [visible(each.need.event) for each in checks]),
            ("Came", [count(each.seen.events) for each in checks]),
            ("Fit", [count(each.seen.matching) for each in checks]),
            ("Last (UTC)", [_minute(each) for each in checks]),
            ("Missing", [count(len(each.problems)) if each.problems else "-" for each in checks]),
        )
        # Parts of a metric may lack the same event; that is said once.
        lacks = (f"{each.metric}: {_sentence(each, problem, days)}" for each in checks for problem in each.problems)
        for sentence in dict.fromkeys(lacks):
            click.echo(visible(sentence))
    return not any(each.problems for each in checks)


def _sentence(check: EventCheck, problem: Problem, days: int) -> str:
    event, name = check.need.event, problem.property
    lately = _lately(days)
    number = "its value" if name is None else f"its property {name!r}"
    sentences = {
        "EVENT_NOT_SEEN": f"no event {event!r} came {lately}",
        "PROPERTY_NOT_SEEN": f"no event {event!r} had the property {name!r} {lately}",
        "NOTHING_MATCHES": f"no event {event!r} met the condition of the metric {lately}",
        "NEVER_A_NUMBER": f"of no event {event!r} that counts was {number} a number {lately}",
    }
    return sentences[problem.code]


def _document(check: EventCheck, days: int) -> dict[str, Any]:
    last = check.seen.last
    return {
        "metric": check.metric,
        "event": check.need.event,
        "where": check.need.where,
        "events": check.seen.events,
        "matching": check.seen.matching,
        "last": None if last is None else last.isoformat(),
        "properties": dict(check.seen.properties),
        "problems": [
            {"code": each.code, "property": each.property, "detail": _sentence(check, each, days)}
            for each in check.problems
        ],
    }


def _name(stored: StoredMetric) -> str:
    return visible(stored.metric.name)


def _window(window: Window | None) -> str:
    if window is None:
        return "-"
    ends = [str(msgspec.to_builtins(each)) for each in (window.start, window.end) if each]
    return f"{' to '.join(ends)}{' (calendar)' if window.calendar else ''}"


def _minute(check: EventCheck) -> str:
    return "-" if check.seen.last is None else f"{check.seen.last:%Y-%m-%d %H:%M}"


def _lately(days: int) -> str:
    return "in the last day" if days == 1 else f"in the last {count(days)} days"
