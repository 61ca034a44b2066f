"""The rules of behaviours read literally, in plain loops over the facts of one unit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from abplatform.domain.behaviour import Behaviour
from abplatform.domain.events import ConversionFact
from abplatform.domain.metric import Measure

MICROSECOND = timedelta(microseconds=1)


def class_of(behaviour: Behaviour, facts: Iterable[ConversionFact], time: datetime) -> str | None:
    """The class of the unit that did these things; None without a channel."""
    before = [fact for fact in facts if fact.timestamp < time]
    activities = [fact for fact in before if fits(fact, behaviour.activity)]
    if behaviour.kind == "channel":
        if not activities:
            return None
        text = min(activities, key=lambda fact: (fact.timestamp, fact.event_id)).properties.get(behaviour.source)
        return None if text is None else str(json.loads(text))
    since = time - behaviour.look_back
    if not any(fact.timestamp >= since for fact in activities):
        return "none"
    if behaviour.kind == "rfm":
        return rfm(behaviour, [fact for fact in activities if fact.timestamp >= since], before, time)
    return life_cycle(behaviour, activities, before, time)


def rfm(behaviour: Behaviour, activities: list[ConversionFact], before: list[ConversionFact], time: datetime) -> str:
    """Score by score."""
    recency = time - max(fact.timestamp for fact in activities)
    money = amount(behaviour, before, time - behaviour.look_back, time)
    scores = {
        "recency": len(behaviour.recency.edges) + 1 - sum(edge < recency for edge in behaviour.recency.edges),
        "frequency": 1 + sum(edge < len(activities) for edge in behaviour.frequency.edges),
        "money": 1 + sum(edge < money for edge in behaviour.money.edges),
    }
    high = {name: score >= lowest_high(behaviour, name) for name, score in scores.items()}
    valuable = high["frequency"] or high["money"]
    if high["recency"]:
        return "active" if valuable else "potential"
    return "at_risk" if valuable else "dormant"


def lowest_high(behaviour: Behaviour, name: str) -> int:
    """The given score, else that of the upper half."""
    bins = getattr(behaviour, name)
    groups = len(bins.edges) + 1
    return int(bins.high_from or {2: 2, 3: 2, 4: 3, 5: 3}[groups])


def life_cycle(
    behaviour: Behaviour, activities: list[ConversionFact], before: list[ConversionFact], time: datetime
) -> str:
    """Rule by rule."""
    if time - min(fact.timestamp for fact in activities) < behaviour.new_within:
        return "new"
    since, half = time - behaviour.look_back, time - behaviour.look_back // 2
    older = sum(since <= fact.timestamp < half for fact in activities)
    recent = sum(half <= fact.timestamp for fact in activities)
    spent_older, spent = amount(behaviour, before, since, half), amount(behaviour, before, half, time)
    if recent > older and spent >= spent_older:
        return "growing"
    # A half with no activities has an endless interval; a common length of the halves cancels out.
    longer = False
    if older:
        before_that = Fraction(1, older) * behaviour.longer_than_percent / 100
        longer = recent == 0 or Fraction(1, recent) > before_that
    less = spent < min(spent_older * Decimal(behaviour.less_than_percent) / 100, spent_older)
    return "churn_risk" if longer and less else "mature"


def amount(behaviour: Behaviour, before: list[ConversionFact], start: datetime, end: datetime) -> Decimal:
    """The sum of values in a stretch of time."""
    parts = behaviour.activity if behaviour.amount is None else (behaviour.amount,)
    counted = [fact for fact in before if start <= fact.timestamp < end and fits(fact, parts)]
    name = None if behaviour.amount is None else behaviour.amount.value
    return sum((value_of(fact, name) for fact in counted), Decimal(0))


def value_of(fact: ConversionFact, name: str | None) -> Decimal:
    """The value of an event, or the number in a property of it; 0 where there is none."""
    if name is None:
        return fact.value or Decimal(0)
    text = fact.properties.get(name, '""')
    return Decimal(text) if text[0] in "-0123456789" else Decimal(0)


def fits(fact: ConversionFact, parts: Iterable[Measure]) -> bool:
    """Whether an event is one of these; conditions of the tests ask for equal texts alone."""
    return any(
        fact.event == part.event
        and all(fact.properties.get(name) == json.dumps(wanted) for name, wanted in part.where.items())
        for part in parts
    )
