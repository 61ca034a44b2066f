"""Services with several experiments, whose units' events lie in the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.layout import facts_to_arrow
from tests.api.conftest import Service
from tests.api.documents import decision_body, experiment_body, metric_body
from tests.builders import a_conversion_fact, an_exposure_fact

ARMS = ("control", "treatment")
METRICS = [{"metric": "buys", "role": "primary", "mde": {"relative": 0.05}}, {"metric": "revenue", "role": "secondary"}]


@dataclass(frozen=True)
class Unit:
    """What one unit met, by experiment, and spent; nothing is no purchase."""

    name: str
    met: Mapping[str, str]
    spent: float


def bring(service: Service, units: Sequence[Unit], *, at: datetime | None = None) -> None:
    """Put the events of units into the lake."""
    now = at or service.platform.now()
    exposures: list[ExposureFact] = []
    conversions: list[ConversionFact] = []
    for unit in units:
        for experiment, variant in unit.met.items():
            exposures.append(
                an_exposure_fact(
                    f"{unit.name}-{experiment}",
                    experiment=experiment,
                    unit=unit.name,
                    variant=variant,
                    expected_variant=variant,
                    timestamp=now,
                    received_at=now,
                )
            )
        if unit.spent:
            value = Decimal(str(round(unit.spent, 2)))
            at_ = now + timedelta(milliseconds=1)
            conversions.append(
                a_conversion_fact(unit.name, unit=unit.name, value=value, timestamp=at_, received_at=at_)
            )
    append_facts(service.platform.lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(service.platform.lake, "default", "conversion", facts_to_arrow("conversion", conversions))


def define(service: Service) -> None:
    """The metrics: both count all purchases from the first exposure on."""
    for body in (
        metric_body("buys", where={}, window=None),
        metric_body("revenue", kind="sum", where={}, window=None),
    ):
        assert service.admin.post("/metrics", json=body).status_code == 201


def start(service: Service, *keys: str, **changes: Any) -> None:
    """Start experiments that are judged by both metrics."""
    for key in keys:
        body = experiment_body(key, targeting={}, metrics=METRICS, **changes)
        assert service.admin.post("/experiments", json=body).status_code == 201
        assert service.admin.post(f"/experiments/{key}/start").status_code == 200


def spend(rng: np.random.Generator, mean: float) -> float:
    """What a unit spends: nothing, with a chance of 0.4."""
    return float(rng.gamma(2.0, mean / 2)) if rng.random() < 0.6 else 0.0


def crossed(count: int) -> list[Unit]:
    """Banner and price make each other stronger; colour does nothing."""
    rng = np.random.default_rng(5)
    units = []
    for number in range(count):
        banner, price, colour = (ARMS[int(drawn)] for drawn in rng.integers(0, 2, 3))
        both = banner == price == "treatment"
        met = {"banner": banner, "price": price, "colour": colour}
        units.append(Unit(f"u-{number}", met, spend(rng, 10.0 + (banner == "treatment") + 8 * both)))
    return units


def run_past(service: Service, lifts: Mapping[str, float], *, ship: Sequence[str] = ()) -> dict[str, list[Unit]]:
    """Experiments that are over, each with a look."""
    rng, all_units = np.random.default_rng(11), {}
    for key, lifted in lifts.items():
        start(service, key)
        units = [Unit(f"{key}-{n}", {key: ARMS[n % 2]}, spend(rng, 10 * (1 + lifted * (n % 2)))) for n in range(400)]
        bring(service, units)
        all_units[key] = units
        assert service.admin.get(f"/experiments/{key}/results").status_code == 200
        if key in ship:
            body = decision_body(variant="treatment")
            assert service.admin.post(f"/experiments/{key}/decide", json=body).status_code == 200
        else:
            assert service.admin.post(f"/experiments/{key}/stop").status_code == 200
    return all_units
