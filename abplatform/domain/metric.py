"""What is counted about a unit after its exposure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

MetricKind = Literal["conversion", "count", "sum", "ratio", "retention", "quantile", "time_to", "funnel"]
Aggregation = Literal["conversion", "count", "sum", "last", "max"]
Direction = Literal["increase", "decrease"]
Population = Literal["units", "events"]
Scalar = str | int | float | bool
Filter = Mapping[str, Any]
"""A condition on event properties, see `property_filter`."""

KINDS = ("conversion", "count", "sum", "ratio", "retention", "quantile", "time_to", "funnel")
AGGREGATIONS: Mapping[str, tuple[Aggregation, ...]] = {
    "sum": ("sum", "last", "max"),
    "ratio": ("sum", "count", "conversion"),
    "quantile": ("sum", "count", "last", "max"),
}
"""What a unit's events may be made into, by the kinds that leave a choice, the default first."""
RATES = frozenset({"conversion", "retention", "funnel"})
"""Kinds that are 0 or 1 for a unit."""
VALUED = frozenset({"ratio", "quantile", "time_to"})
"""Kinds that compare something else than a mean over units."""
LONGEST_WINDOW = timedelta(days=3650)
DEFAULT_LOOKBACK = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From when to when after the first exposure a conversion counts: ``start <= delay < end``.

    Attributes:
        calendar: whether delays are counted in days of the project's calendar, from the beginning of the day (in its
            time zone) of the first exposure; such a day may have 23 or 25 hours. What came before the first exposure
            never counts.
    """

    start: timedelta = timedelta(0)
    end: timedelta
    calendar: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Which events are read, and what of them.

    Attributes:
        event: name of the conversion events.
        where: condition on their properties.
        value: name of the property that holds the number; without one it is the event's own value. A property that is
            no number, or not below 10^14, is no value; others are rounded to 6 places, halves away from 0.
        aggregation: what a unit's events are made into; only where there is a choice. The ``last`` one is that of the
            latest time, of several at once the largest; events without a value are skipped, and without any it is 0.
    """

    event: str
    where: Filter = field(default_factory=dict)
    value: str | None = None
    aggregation: Aggregation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a funnel.

    Attributes:
        event: name of the conversion events that take it.
        where: condition on their properties.
        within: at most how long after the step before, or the first exposure.

    No event takes two steps. Of those at the same time the ones that fit the first step come first, then the second.
    """

    event: str
    where: Filter = field(default_factory=dict)
    within: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """The most that a unit counts for: either a number, or a quantile that becomes one when an experiment starts.

    Attributes:
        value: above 0.
        quantile: between 0 and 1, of the values that are not 0 of all units in the days before the start.
    """

    value: Decimal | None = None
    quantile: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number per unit, or what is computed from numbers per unit.

    Attributes:
        key: name in this project.
        name, description: for people.
        kind: ``conversion`` (1 if the event happened, else 0), ``count`` (of events), ``sum`` (of their values, 0
            without one; or the last or largest), ``ratio`` (of two sums over units), ``retention`` (1 if the event
            happened in a window of later days), ``quantile`` (of units' numbers, or of the events' values),
            ``time_to`` (a quantile of the time until the event; those who never get there count as infinitely late) or
            ``funnel`` (1 if all steps were taken in order).
        event, where, value, aggregation: the events that it reads, see `Measure`; of a ratio those above the line; a
            funnel has ``steps`` instead.
        denominator: of a ratio: what is below the line.
        start: of ``time_to``: the event from which time runs; without one it runs from the first exposure.
        steps: of a funnel, in order.
        quantile: which one, of ``quantile`` and ``time_to``.
        over: of ``quantile``: whether of numbers per unit or of single events.
        direction: which way is good.
        window: without one, everything from the first exposure on counts.
        minimum_age: a unit counts only once its first exposure is so old, also where its window closes earlier.
        cap: the most that a unit counts for; of ``count`` and ``sum``.
        outcome: key of the metric that says late what this one hints at early.
        spills_over: whether what one unit does changes the number of others, as invitations do.
        cuped_lookback: how long before the first exposure the same events make up the covariate of plans with CUPED.
    """

    key: str
    name: str
    kind: MetricKind
    event: str = ""
    where: Filter = field(default_factory=dict)
    direction: Direction = "increase"
    window: Window | None = None
    cuped_lookback: timedelta = DEFAULT_LOOKBACK
    description: str = ""
    value: str | None = None
    aggregation: Aggregation | None = None
    denominator: Measure | None = None
    start: Measure | None = None
    steps: tuple[Step, ...] = ()
    quantile: float = 0.5
    over: Population = "units"
    minimum_age: timedelta = timedelta(0)
    cap: Cap | None = None
    outcome: str | None = None
    spills_over: bool = False

    @property
    def measure(self) -> Measure:
        """The events that it reads, and what a unit's are made into; of a ratio those above the line."""
        return Measure(event=self.event, where=self.where, value=self.value, aggregation=self._made_into)

    @property
    def below(self) -> Measure | None:
        """Of a ratio: the events below the line, and what a unit's are made into."""
        measure = self.denominator
        return None if measure is None else replace(measure, aggregation=measure.aggregation or "count")

    @property
    def closes_after(self) -> timedelta:
        """How long after the first exposure a unit counts, but for calendar days."""
        end = timedelta(0) if self.window is None else self.window.end
        return max(end, self.minimum_age)

    @property
    def is_rate(self) -> bool:
        """Whether it is 0 or 1 for a unit."""
        return self.kind in RATES

    @property
    def has_covariate(self) -> bool:
        """Whether the same number before the first exposure can adjust it (CUPED)."""
        return self.kind in {"conversion", "count", "sum", "retention"}

    @property
    def events(self) -> frozenset[str]:
        """Names of all events that it reads."""
        parts = [part.event for part in (self.denominator, self.start, *self.steps) if part is not None]
        return frozenset(parts) | ({self.event} if self.event else frozenset())

    @property
    def _made_into(self) -> Aggregation | None:
        if self.kind in AGGREGATIONS and self.over == "units":
            return self.aggregation or AGGREGATIONS[self.kind][0]
        if self.kind == "retention":
            return "conversion"
        return self.kind if self.kind in {"conversion", "count"} else None
