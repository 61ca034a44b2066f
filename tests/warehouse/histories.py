"""Random but repeatable histories of events, full of everything that may go wrong with them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from abplatform.domain.events import ConversionFact, ExposureFact
from tests.builders import NOW, a_conversion_fact, an_exposure_fact

DAY = 86_400


@dataclass(frozen=True)
class History:
    """Facts as they were accepted."""

    exposures: list[ExposureFact]
    conversions: list[ConversionFact]


EXTREMES = (Decimal("0.000001"), Decimal("99999999999999.999999"))


def a_history(seed: int, *, units: int = 60, extremes: tuple[Decimal, Decimal] = EXTREMES) -> History:
    """Units in several variants, phases and clusters; units of two types; equal times; events around exposures."""
    rng = random.Random(seed)
    names = [f"unit-{number}" for number in range(units)]
    exposures = [_an_exposure(rng, number, rng.choice(names)) for number in range(units * 2)]
    conversions = [_a_conversion(rng, number, rng.choice(names), names, extremes) for number in range(units * 5)]
    rng.shuffle(exposures)
    return History(exposures, conversions)


def _an_exposure(rng: random.Random, number: int, unit: str) -> ExposureFact:
    own = random.Random(unit).choice(["control", "treatment"])
    variant = own if rng.random() < 0.93 else rng.choice(["control", "treatment", "third", "ghost"])
    timestamp = NOW - timedelta(
        seconds=rng.choice([0, DAY // 2, DAY, rng.randrange(20 * DAY)]), microseconds=number % 3
    )
    attributes = {
        "channel": rng.choice(['"web"', '"app"', "3", "true"]),
        "age": rng.choice(["30", "41.5", '"30"', "-2"]),
    }
    moves = random.Random(f"{unit}, {number}").random() < 0.05  # to another's cluster
    home = f"unit-{number % 60}" if moves else unit
    return an_exposure_fact(
        f"exposure-{number}",
        experiment="other" if rng.random() < 0.1 else "rate-display",
        phase=1 if rng.random() < 0.05 else 2,
        variant=variant,
        expected_variant=rng.choice([own, own, None, ""]),
        unit=unit,
        cluster=None if home.endswith("7") else f"cluster-{random.Random(home).randrange(15)}-{own}",
        timestamp=timestamp,
        attributes={name: text for name, text in attributes.items() if rng.random() < 0.85},
    )


def _a_conversion(
    rng: random.Random, number: int, unit: str, names: list[str], extremes: tuple[Decimal, Decimal]
) -> ConversionFact:
    smallest, largest = extremes
    amounts = [None, smallest, Decimal("-12.5"), largest, Decimal(rng.randrange(10**9))]
    others = {"device_id": rng.choice(names), "household_id": rng.choice(names)}
    properties = {"product": rng.choice(['"fund"', '"loan"', "7"]), "first": rng.choice(["true", "false"])}
    return a_conversion_fact(
        f"conversion-{number}",
        event=rng.choice(["purchase", "purchase", "deposit"]),
        unit=unit,
        value=rng.choice(amounts),
        timestamp=NOW - timedelta(seconds=rng.choice([0, DAY, rng.randrange(25 * DAY)]), microseconds=number % 2),
        properties={name: text for name, text in properties.items() if rng.random() < 0.9},
        units={unit_type: other for unit_type, other in others.items() if rng.random() < 0.7},
    )
