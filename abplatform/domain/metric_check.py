"""Refuse metrics that could not be computed as they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal

from abplatform.domain.checks import Faults, is_number, storable
from abplatform.domain.metric import (
    AGGREGATIONS,
    KINDS,
    LONGEST_WINDOW,
    Cap,
    Filter,
    Measure,
    Metric,
    Step,
    Window,
)
from abplatform.domain.property_filter import check_filter

MOST_STEPS = 10
BELOW_THE_LINE = ("count", "sum", "conversion")
LARGEST_CAP = Decimal(10) ** 12
_DAY = timedelta(days=1)
_KINDS_OF_FIELD: Mapping[str, frozenset[str]] = {
    "event": frozenset(KINDS) - {"funnel"},
    "where": frozenset(KINDS) - {"funnel"},
    "value": frozenset({"sum", "ratio", "quantile"}),
    "aggregation": frozenset(AGGREGATIONS),
    "denominator": frozenset({"ratio"}),
    "start": frozenset({"time_to"}),
    "steps": frozenset({"funnel"}),
    "quantile": frozenset({"quantile", "time_to"}),
    "over": frozenset({"quantile"}),
    "cap": frozenset({"count", "sum"}),
}
"""The kinds that a field belongs to; those that are not here belong to all."""


def check_metric(metric: Metric, others: Mapping[str, Metric] | None = None) -> None:
    """Refuse a metric that could not be computed as it says.

    Args:
        metric: the one to check.
        others: all metrics of the project by key, to look up the one that ``outcome`` names; None to believe it.

    Raises:
        InvalidInput: naming each field.
    """
    faults = Faults()
    faults.key(metric.key, "key")
    faults.text(metric.name, "name", most=200, least=1)
    faults.text(metric.description, "description", most=2000)
    faults.check(metric.direction in {"increase", "decrease"}, "direction", "must be increase or decrease")
    if faults.check(metric.kind in KINDS, "kind", f"must be one of {', '.join(KINDS)}"):
        _check_fields(metric, faults)
        _check_kind(metric, faults)
    _check_window(metric.window, faults)
    check_length(metric.minimum_age, "minimum_age", faults, least=timedelta(0))
    check_length(metric.cuped_lookback, "cuped_lookback", faults)
    faults.check(isinstance(metric.spills_over, bool), "spills_over", "must be true or false")
    if metric.outcome is not None:
        _check_outcome(metric, metric.outcome, others, faults)
    faults.raise_any()


def _check_fields(metric: Metric, faults: Faults) -> None:
    """Refuse what belongs to other kinds."""
    defaults = Metric(key="", name="", kind="count")
    for each in fields(metric):
        kinds = _KINDS_OF_FIELD.get(each.name)
        if (
            kinds is not None
            and metric.kind not in kinds
            and getattr(metric, each.name) != getattr(defaults, each.name)
        ):
            faults.add(each.name, f"belongs to metrics of the kind {_listed(kinds)}, not {metric.kind}")


def _check_kind(metric: Metric, faults: Faults) -> None:
    if metric.kind != "funnel":
        _check_event(metric.event, "event", faults)
        _check_where(metric.where, "where", faults)
        check_property(metric.value, "value", faults)
        _check_aggregation(metric, faults)
    check = _OF_KIND.get(metric.kind)
    if check is not None:
        check(metric, faults)


def _check_aggregation(metric: Metric, faults: Faults) -> None:
    options = AGGREGATIONS.get(metric.kind, ())
    if metric.aggregation is None or not options:
        return
    if metric.kind == "quantile" and metric.over == "events":
        faults.add("aggregation", "belongs to quantiles over units; those over events take each value as it is")
        return
    _check_option(metric.aggregation, options, "aggregation", faults)
    if metric.aggregation in {"count", "conversion"}:
        faults.check(metric.value is None, "value", f"is not read where events are made into a {metric.aggregation}")


def _check_ratio(metric: Metric, faults: Faults) -> None:
    below = metric.denominator
    if below is None:
        faults.add("denominator", "is required: a ratio is of two sums; name the events below the line")
        return
    check_measure(below, "denominator", faults)
    if below.aggregation is not None:
        _check_option(below.aggregation, BELOW_THE_LINE, "denominator.aggregation", faults)
    if below.aggregation != "sum":
        faults.check(below.value is None, "denominator.value", "is read only where the aggregation is sum")


def _check_retention(metric: Metric, faults: Faults) -> None:
    hint = 'for the first day after: {"start": "P1D", "end": "P2D", "calendar": true}'
    if faults.check(metric.window is not None, "window", f"is required: retention is of certain days, {hint}"):
        later = metric.window is not None and metric.window.start > timedelta(0)
        faults.check(later, "window.start", "must be after the exposure, such as P1D")


def _check_quantile(metric: Metric, faults: Faults) -> None:
    inside = is_number(metric.quantile) and 0 < metric.quantile < 1
    faults.check(inside, "quantile", "must be a number between 0 and 1, such as 0.5")
    _check_option(metric.over, ("units", "events"), "over", faults)


def _check_time_to(metric: Metric, faults: Faults) -> None:
    _check_quantile(metric, faults)
    if metric.start is not None:
        check_measure(metric.start, "start", faults)
        for name in ("value", "aggregation"):
            faults.check(getattr(metric.start, name) is None, f"start.{name}", "is not read: only its time is")
        same = (metric.start.event, metric.start.where) == (metric.event, metric.where)
        faults.check(not same, "start.event", "must not be what the time runs to")


def _check_funnel(metric: Metric, faults: Faults) -> None:
    count = f"must be 2 to {MOST_STEPS} steps"
    if faults.check(2 <= len(metric.steps) <= MOST_STEPS, "steps", count):
        for index, step in enumerate(metric.steps):
            _check_step(step, f"steps.{index}", faults)


def _check_capped(metric: Metric, faults: Faults) -> None:
    if metric.cap is not None:
        _check_cap(metric.cap, faults)


_OF_KIND: Mapping[str, Callable[[Metric, Faults], None]] = {
    "ratio": _check_ratio,
    "retention": _check_retention,
    "quantile": _check_quantile,
    "time_to": _check_time_to,
    "funnel": _check_funnel,
    "count": _check_capped,
    "sum": _check_capped,
}


def _check_step(step: Step, path: str, faults: Faults) -> None:
    _check_event(step.event, f"{path}.event", faults)
    _check_where(step.where, f"{path}.where", faults)
    if step.within is not None:
        check_length(step.within, f"{path}.within", faults)


def check_measure(measure: Measure, path: str, faults: Faults) -> None:
    """Note what is wrong with a description of events."""
    _check_event(measure.event, f"{path}.event", faults)
    _check_where(measure.where, f"{path}.where", faults)
    check_property(measure.value, f"{path}.value", faults)


def _check_event(event: str, path: str, faults: Faults) -> None:
    if faults.check(event != "", path, "is required: the name of the events that count"):
        faults.text(event, path, most=128, least=1)


def _check_where(where: Filter, path: str, faults: Faults) -> None:
    for where_path, messages in check_filter(where).items():
        for message in messages:
            faults.add(f"{path}.{where_path}" if where_path else path, message)


def check_property(name: str | None, path: str, faults: Faults) -> None:
    """Note what is wrong with the name of a property."""
    good = name is None or (0 < len(name) <= 64 and storable(name))
    faults.check(good, path, "must be the name of an event property, 1 to 64 characters")


def _check_cap(cap: Cap, faults: Faults) -> None:
    if not faults.check((cap.value is None) != (cap.quantile is None), "cap", "must have either value or quantile"):
        return
    if cap.value is not None:
        fits = cap.value.is_finite() and 0 < cap.value <= LARGEST_CAP and cap.value == round(cap.value, 6)
        faults.check(fits, "cap.value", "must be above 0 and at most 10^12, with at most 6 places")
    else:
        inside = is_number(cap.quantile) and 0 < float(cap.quantile or 0) < 1
        faults.check(inside, "cap.quantile", "must be a number between 0 and 1, such as 0.99")


def _check_window(window: Window | None, faults: Faults) -> None:
    if window is None:
        return
    faults.check(timedelta(0) <= window.start <= LONGEST_WINDOW, "window.start", "must be from PT0S to P3650D")
    faults.check(window.end <= LONGEST_WINDOW, "window.end", "must be at most P3650D")
    faults.check(window.start < window.end, "window.end", "must be after window.start")
    if window.calendar:
        for name in ("start", "end"):
            whole = not getattr(window, name) % _DAY
            faults.check(whole, f"window.{name}", "must be whole days where the window counts calendar days")


def check_length(length: timedelta, path: str, faults: Faults, *, least: timedelta | None = None) -> None:
    """Note what is wrong with a length of time: at least ``least``, or longer than nothing."""
    if least is not None:
        faults.check(least <= length <= LONGEST_WINDOW, path, "must be from PT0S to P3650D")
        return
    faults.check(timedelta(0) < length <= LONGEST_WINDOW, path, "must be longer than PT0S, and at most P3650D")


def _check_outcome(metric: Metric, outcome: str, others: Mapping[str, Metric] | None, faults: Faults) -> None:
    """Follow early hints to what they hint at: there is an end."""
    if outcome == metric.key:
        faults.add("outcome", "must be another metric")
        return
    if others is None:
        return
    if outcome not in others:
        hint = faults.suggest(outcome, others) or "; create it first"
        faults.add("outcome", f"there is no metric {outcome!r}{hint}")
        return
    way, at = [metric.key], others.get(outcome)
    while at is not None and at.key not in way:
        way.append(at.key)
        at = others.get(at.outcome) if at.outcome is not None else None
    if at is not None:
        faults.add("outcome", f"leads back to itself: {' -> '.join((*way, at.key))}")


def _check_option(value: str, options: tuple[str, ...], path: str, faults: Faults) -> None:
    faults.check(value in options, path, f"must be one of {', '.join(options)}")


def _listed(kinds: frozenset[str]) -> str:
    return ", ".join(kind for kind in KINDS if kind in kinds)
