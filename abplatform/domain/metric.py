"""What is counted about a unit after its exposure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from abplatform.domain.checks import Faults, is_number, storable

MetricKind = Literal["conversion", "sum"]
Direction = Literal["increase", "decrease"]
Scalar = str | int | float | bool

KINDS = ("conversion", "sum")
LATER_KINDS = ("count", "ratio", "retention", "quantile", "time_to", "funnel")
LONGEST_WINDOW = timedelta(days=3650)
DEFAULT_LOOKBACK = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From when to when after the first exposure a conversion counts: ``start <= delay < end``."""

    start: timedelta = timedelta(0)
    end: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number per unit.

    Attributes:
        key: name in this project.
        kind: ``conversion`` (1 if the event happened, else 0) or ``sum`` (of the event's values, 0 without one).
        event: name of the conversion events that it reads.
        where: equality conditions on event properties; a list means any of.
        direction: which way is good.
        window: without one, everything from the first exposure on counts.
        cuped_lookback: how long before the first exposure the same events make up the covariate of plans with CUPED.
    """

    key: str
    name: str
    kind: MetricKind
    event: str
    where: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    direction: Direction = "increase"
    window: Window | None = None
    cuped_lookback: timedelta = DEFAULT_LOOKBACK


def check_metric(metric: Metric) -> None:
    """Refuse a metric that could not be computed as it says.

    Raises:
        InvalidInput: naming each field.
    """
    faults = Faults()
    faults.key(metric.key, "key")
    faults.text(metric.name, "name", most=200, least=1)
    faults.text(metric.event, "event", most=128, least=1)
    if metric.kind in LATER_KINDS:
        faults.add("kind", f"{metric.kind} is not supported yet; use {' or '.join(KINDS)}")
    else:
        faults.check(metric.kind in KINDS, "kind", f"must be {' or '.join(KINDS)}")
    faults.check(metric.direction in {"increase", "decrease"}, "direction", "must be increase or decrease")
    _check_where(metric.where, faults)
    if metric.window is not None:
        _check_window(metric.window, faults)
    long_enough = timedelta(0) < metric.cuped_lookback <= LONGEST_WINDOW
    faults.check(long_enough, "cuped_lookback", "must be longer than PT0S, and at most P3650D")
    faults.raise_any()


def _check_where(where: Mapping[str, Scalar | tuple[Scalar, ...]], faults: Faults) -> None:
    faults.check(len(where) <= 20, "where", "must have at most 20 conditions")
    for name, wanted in where.items():
        path = f"where.{name}"
        faults.check(
            bool(name) and len(name) <= 64 and storable(name),
            path,
            "the property name must have 1 to 64 characters",
        )
        options = wanted if isinstance(wanted, tuple) else (wanted,)
        faults.check(0 < len(options) <= 100, path, "must have 1 to 100 values")
        for option in options:
            faults.check(
                isinstance(option, bool) or is_number(option) or (isinstance(option, str) and storable(option)),
                path,
                "must be a string, number or boolean, or a list of them",
            )


def _check_window(window: Window, faults: Faults) -> None:
    faults.check(timedelta(0) <= window.start <= LONGEST_WINDOW, "window.start", "must be from PT0S to P3650D")
    faults.check(window.end <= LONGEST_WINDOW, "window.end", "must be at most P3650D")
    faults.check(window.start < window.end, "window.end", "must be after window.start")
