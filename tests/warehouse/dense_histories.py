"""Histories of few units with many events, where times meet: what finds a rule that is read in two ways."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from abplatform.domain.events import ConversionFact, ExposureFact
from tests.builders import NOW, a_conversion_fact, an_exposure_fact
from tests.warehouse.histories import History
from tests.warehouse.kind_oracle import day_start, local_day

HOUR, DAY, TICK = timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)
AMOUNTS = ("2.5", "0.0000005", "-0.0000015", "7", "1e3", '"12"', "true", "3", "99999999999999999999", "-1")


def a_dense_history(seed: int, *, zone: str = "UTC", around: datetime = NOW) -> History:
    """The same history for the same seed, see `dense_history`."""
    return dense_history(random.Random(f"{seed}, {zone}, {around}"), zone=zone, around=around, units=24)


def dense_history(rng: random.Random, *, zone: str, around: datetime, units: int) -> History:
    """Few units with many events: at bounds of windows and steps, at the beginnings of days, and at equal times."""
    exposures, conversions = [], []
    for number in range(units):
        first = around + rng.choice([rng.random() * 4 * DAY, rng.randrange(40) * HOUR, timedelta(0), -TICK])
        exposures += _exposures(rng, f"unit-{number}", first)
        times: list[datetime] = []
        for index in range(rng.choice([0, 3, 16, 16])):
            times.append(rng.choice([first, *times]) + rng.choice(_delays(rng, first, zone)))
            conversions.append(_a_conversion(rng, f"{number}-{rng.randrange(10**6)}-{index}", number, times[-1]))
    return History(exposures, conversions)


def _delays(rng: random.Random, first: datetime, zone: str) -> Sequence[timedelta]:
    exact = rng.choice([0, 2, 20, 24, 30, 72]) * HOUR
    day = local_day(first, zone) + rng.randrange(4) * DAY
    return (
        exact,
        exact - TICK,
        timedelta(0),
        day_start(day, zone) - first - rng.choice([TICK, 0 * TICK]),
        rng.random() * 3 * DAY,
        -rng.random() * 2 * DAY,
    )


def _exposures(rng: random.Random, unit: str, first: datetime) -> list[ExposureFact]:
    variant = rng.choice(["control", "treatment"])
    known: dict[str, Any] = {
        "unit": unit,
        "variant": variant,
        "cluster": rng.choice([None, f"{variant}-1", f"{variant}-2", f"{variant}-3"]),
        "attributes": rng.choice([{}, {"channel": '"web"'}, {"channel": '"app"'}]),
    }
    again = rng.choice(["control", "treatment"]) if rng.random() < 0.1 else variant
    return [
        an_exposure_fact(f"{unit}-first", timestamp=first, **known),
        an_exposure_fact(f"{unit}-again", timestamp=first + HOUR, **known | {"variant": again}),
    ]


def _a_conversion(rng: random.Random, event_id: str, unit: int, timestamp: datetime) -> ConversionFact:
    properties = {
        "product": rng.choice(['"fund"', '"loan"', "7"]),
        "first": rng.choice(["true", "false"]),
        "n": rng.choice(["1", "2", '"2"']),
        "amount": rng.choice(AMOUNTS),
    }
    return a_conversion_fact(
        event_id,
        event=rng.choice(["view", "view", "apply", "pay", "pay"]),
        unit=f"unit-{unit}",
        value=rng.choice([None, Decimal("0.5"), Decimal(-3), Decimal(rng.randrange(100)) / 4]),
        timestamp=timestamp,
        properties={name: text for name, text in properties.items() if rng.random() < 0.9},
    )
