"""What units did before a time, and the classes that behaviours make of it, in one pass over the conversions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import ibis
import ibis.expr.types as ir

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.behaviour import Behaviour, Cases, life_cycle_cases, rfm_cases
from abplatform.domain.metric import Measure
from abplatform.warehouse.ordered import NEVER
from abplatform.warehouse.times import between, moment, shifted
from abplatform.warehouse.wanted import Reading, whose

# No unit has more: a value is below 10^14. What is left over is room for multiplying by percent.
_MONEY = "decimal(30, 6)"

NUMBERS: Mapping[str, Mapping[str, str]] = {
    "rfm": {"recency": "int64", "frequency": "int64", "money": _MONEY},
    "life_cycle": {
        "age": "int64",
        "recent": "int64",
        "older": "int64",
        "recent_amount": _MONEY,
        "older_amount": _MONEY,
    },
    "channel": {"text": "string"},
}
"""What each kind knows of a unit, with Ibis's types: times in microseconds (`ordered.NEVER` without an activity)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about units at a time of each.

    Attributes:
        behaviours: by a prefix of columns that is theirs alone.
        reading: names the columns of events.
    """

    behaviours: Mapping[str, Behaviour]
    reading: Reading

    @property
    def delays(self) -> dict[tuple[str, timedelta], str]:
        """Columns of the times from which events count, by behaviour and how long before the unit's time that is."""
        found: dict[tuple[str, timedelta], str] = {}
        for prefix, each in self.behaviours.items():
            if each.kind != "channel":
                found[prefix, each.look_back] = f"{prefix}_since"
            if each.kind == "life_cycle":
                found[prefix, each.recent_from] = f"{prefix}_half"
        return found


def ask(behaviours: Mapping[str, Behaviour]) -> Question:
    """A question about some behaviours, by the prefix of their columns."""
    reading = Reading()
    for behaviour in behaviours.values():
        for part in _parts(behaviour):
            reading.add(part)
    return Question(behaviours, reading)


def read_events(conversions: ir.Table, question: Question, *, unit_type: str | None) -> ir.Table:
    """The conversions that a question is about: ``unit, timestamp, event_id``, and what it reads of them.

    Args:
        conversions: all of the project.
        question: what is asked.
        unit_type: of the units, where it is not the project's own.
    """
    names = sorted({part.event for each in question.behaviours.values() for part in _parts(each)})
    wanted = conversions.filter(conversions.event.isin(names))
    columns = question.reading.columns(wanted)
    for prefix, behaviour in question.behaviours.items():
        if behaviour.kind == "channel":
            columns[f"{prefix}_source"] = wanted.properties.get(behaviour.source)
    return wanted.select("timestamp", "event_id", unit=whose(wanted, unit_type), **columns)


def add_classes(units: ir.Table, conversions: ir.Table, request: AggregationRequest) -> ir.Table:
    """Units with the columns of those dimensions that are behaviours, of what they did before their first exposure.

    Args:
        units: with ``number``, ``unit`` and ``first``.
        conversions: all of the project.
        request: what is asked for.
    """
    question = ask(
        {
            f"s{position}": dimension.behaviour
            for position, dimension in enumerate(request.dimensions)
            if dimension.behaviour is not None
        }
    )
    events = read_events(conversions, question, unit_type=request.unit_type)
    joined = units.select("number", "unit", "first", **_bounds(units["first"], question)).join(events, "unit")
    found = joined.group_by("number").aggregate(**_aggregates(joined, question))
    known = units.left_join(found, "number")
    classes = {
        prefix: class_of(behaviour, numbers_of(known, behaviour, prefix))
        for prefix, behaviour in question.behaviours.items()
    }
    return known.select(*units.columns, **classes)


def units_before(conversions: ir.Table, behaviour: Behaviour, time: datetime, *, unit_type: str | None) -> ir.Table:
    """All units with an activity or amount before a time: ``unit`` and the columns of `NUMBERS`."""
    question = ask({"b": behaviour})
    events = read_events(conversions, question, unit_type=unit_type)
    events = events.filter(events.timestamp < moment(time))
    bounds = {name: moment(time - delay) for (_, delay), name in question.delays.items()}
    events = events.mutate(first=moment(time), **bounds)
    found = events.group_by("unit").aggregate(**_aggregates(events, question))
    return found.select("unit", **numbers_of(found, behaviour, "b"))


def numbers_of(found: ir.Table, behaviour: Behaviour, prefix: str) -> dict[str, ir.Value]:
    """The columns of `NUMBERS` of units, also of those that did nothing."""
    without = {"int64": ibis.literal(0, "int64"), _MONEY: ibis.literal(0).cast(_MONEY)}
    columns: dict[str, ir.Value] = {}
    for name, type_ in NUMBERS[behaviour.kind].items():
        value = found[f"{prefix}_{name}"].cast(type_)
        rest = ibis.literal(NEVER, "int64") if name in {"recency", "age"} else without.get(type_)
        columns[name] = value if rest is None else ibis.coalesce(value, rest)
    return columns


def class_of(behaviour: Behaviour, numbers: Mapping[str, ir.Value]) -> ir.StringValue:
    """The class of units as JSON text, by the rules of the domain; null without a channel."""
    if behaviour.kind == "channel":
        return numbers["text"]
    rules = rfm_cases if behaviour.kind == "rfm" else life_cycle_cases
    found: tuple[Cases, str] = rules(behaviour, **numbers)
    cases, rest = found
    return ibis.cases(*((condition, f'"{name}"') for condition, name in cases), else_=f'"{rest}"')


def _parts(behaviour: Behaviour) -> tuple[Measure, ...]:
    """Everything that reads events."""
    activities = (replace(part, aggregation="count") for part in behaviour.activity)
    return (*activities, *(() if behaviour.kind == "channel" else behaviour.amounts))


def _bounds(times: ir.TimestampValue, question: Question) -> dict[str, ir.Value]:
    return {name: shifted(times, -delay) for (_, delay), name in question.delays.items()}


def _aggregates(events: ir.Table, question: Question) -> dict[str, ir.Value]:
    """The numbers of all behaviours of units, as aggregates over their events; null where nothing happened.

    Args:
        events: with the time of their unit as ``first``, and the columns of `Question.delays`.
        question: what is asked.
    """
    columns: dict[str, ir.Value] = {}
    for prefix, behaviour in question.behaviours.items():
        make = {"rfm": _rfm, "life_cycle": _life_cycle, "channel": _channel}[behaviour.kind]
        columns |= {f"{prefix}_{name}": value for name, value in make(events, behaviour, question, prefix).items()}
    return columns


def _rfm(events: ir.Table, behaviour: Behaviour, question: Question, prefix: str) -> dict[str, ir.Value]:
    inside = _between(events, f"{prefix}_since", "first")
    active = _fits(events, behaviour.activity, question) & inside
    distance = between(events.timestamp, events["first"])
    return {
        "recency": distance.min(where=active),
        "frequency": events.count(where=active),
        "money": _sum(events, behaviour, question, inside),
    }


def _life_cycle(events: ir.Table, behaviour: Behaviour, question: Question, prefix: str) -> dict[str, ir.Value]:
    active, before = _fits(events, behaviour.activity, question), events.timestamp < events["first"]
    recent = _between(events, f"{prefix}_half", "first")
    older = _between(events, f"{prefix}_since", f"{prefix}_half")
    distance = between(events.timestamp, events["first"])
    return {
        "age": distance.max(where=active & before),
        "recent": events.count(where=active & recent),
        "older": events.count(where=active & older),
        "recent_amount": _sum(events, behaviour, question, recent),
        "older_amount": _sum(events, behaviour, question, older),
    }


def _channel(events: ir.Table, behaviour: Behaviour, question: Question, prefix: str) -> dict[str, ir.Value]:
    before = _fits(events, behaviour.activity, question) & (events.timestamp < events["first"])
    # The order of the fields is that of the events.
    met = ibis.struct({"at": events.timestamp, "event_id": events.event_id, "text": events[f"{prefix}_source"]})
    return {"text": met.min(where=before)["text"]}


def _fits(events: ir.Table, parts: tuple[Measure, ...], question: Question) -> ir.BooleanValue:
    return ibis.or_(*(events[name] for name in dict.fromkeys(map(question.reading.match, parts))))


def _between(events: ir.Table, begin: str, end: str) -> ir.BooleanValue:
    return (events.timestamp >= events[begin]) & (events.timestamp < events[end])


def _sum(events: ir.Table, behaviour: Behaviour, question: Question, inside: ir.BooleanValue) -> ir.Value:
    # All have their number in one column: several are activities, which have their own values.
    number = events[question.reading.number(behaviour.amounts[0])]
    return number.sum(where=_fits(events, behaviour.amounts, question) & inside)
