"""A random history of customers as two frames of pandas, and a platform whose lake holds the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from abplatform.bootstrap import Platform
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.experiment import Amount, ExperimentDefinition, MetricUse, Variant
from abplatform.domain.metric import Cap, Measure, Window
from abplatform.services.define import create_experiment, create_metric
from abplatform.services.edit_project import edit_project
from tests.builders import (
    a_conversion_fact,
    a_metric,
    a_metric_use,
    a_plan,
    an_experiment,
    an_exposure_fact,
    an_external_experiment,
)
from tests.services.growing import of_time, put
from tests.services.lives import take
from tests.warehouse.looking import a_platform

ZONE = "Europe/Berlin"
AS_OF = datetime(2026, 11, 5, 9, 30, tzinfo=UTC)
"""The time of all looks. In Berlin clocks went back on 25 October, in the midst of the exposures."""
DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
ARMS = ("control", "blue", "green")
OTHER_ARMS = ("control", "cheap", "dear")
OTHER_SPAN = (AS_OF - 18 * DAY, AS_OF - 2 * DAY)
"""From when to when the other experiment ran."""
CHANNELS = ("douyin", "app", "branch", None)
METRICS = (
    a_metric("opened", event="order", window=Window(end=7 * DAY), cuped_lookback=10 * DAY),
    a_metric("orders", kind="count", event="order", window=None, cuped_lookback=20 * DAY),
    a_metric("amount", kind="sum", event="order", window=Window(end=5 * DAY), cuped_lookback=10 * DAY),
    a_metric(
        "by-day",
        kind="sum",
        event="order",
        window=Window(end=5 * DAY, calendar=True),
        cap=Cap(value=Decimal(90)),
        cuped_lookback=10 * DAY,
    ),
    a_metric(
        "per-order",
        kind="ratio",
        event="order",
        value="fee",
        denominator=Measure(event="order"),
        window=Window(end=7 * DAY, calendar=True),
    ),
    a_metric("back", kind="retention", event="login", window=Window(start=DAY, end=3 * DAY, calendar=True)),
    a_metric("guard", kind="sum", event="order", window=None),
)
PLANNED = 1_500


@dataclass(frozen=True)
class Ledger:
    """Who was exposed to what, and who did what.

    Attributes:
        exposures: ``experiment, unit, variant, at, channel``, all of them, also repeated ones.
        events: ``unit, event, at, value, fee, source``.
    """

    exposures: pd.DataFrame
    events: pd.DataFrame

    @cached_property
    def units(self) -> pd.DataFrame:
        """Units of the trial that met one of its variants alone: ``variant, first, channel``, by unit."""
        seen = self.exposures[self.exposures["experiment"] == "trial"].sort_values("at", kind="stable")
        single = seen.groupby("unit")["variant"].nunique() == 1
        # `first` of a group would skip what is missing.
        first = seen.drop_duplicates("unit").set_index("unit").sort_index()
        return first[single][["variant", "at", "channel"]].rename(columns={"at": "first"})

    @cached_property
    def history(self) -> pd.DataFrame:
        """Every event of these units, with what they are."""
        return self.events.join(self.units, on="unit", how="inner")

    @cached_property
    def others(self) -> pd.DataFrame:
        """Exposures to the other experiment, while that ran: its end is not in it any more."""
        begin, end = OTHER_SPAN
        seen = self.exposures[self.exposures["experiment"] == "other"]
        return seen[(seen["at"] >= begin) & (seen["at"] < end)]

    def met(self) -> pd.Series[Any]:
        """The one variant that each unit of the trial met in the other experiment, while that ran."""
        met = self.others.groupby("unit")["variant"].agg(
            lambda each: each.iloc[0] if each.nunique() == 1 else "(several)"
        )
        return met.reindex(self.units.index).fillna("(none)")

    def facts(self) -> Iterator[ExposureFact | ConversionFact]:
        """Everything for the lake."""
        for row in self.exposures.itertuples():
            yield an_exposure_fact(
                f"x-{row.Index}",
                experiment=row.experiment,
                unit=row.unit,
                variant=row.variant,
                expected_variant=None,
                attributes={} if row.channel is None else {"channel": json.dumps(row.channel)},
                **of_time(row.at.to_pydatetime()),
            )
        for row in self.events.itertuples():
            told = {"fee": row.fee, "source": row.source}
            yield a_conversion_fact(
                row.event_id,
                event=row.event,
                unit=row.unit,
                value=None if row.value is None else Decimal(row.value) / 100,
                properties={name: json.dumps(value) for name, value in told.items() if value is not None},
                **of_time(row.at.to_pydatetime()),
            )


def write(seed: int = 20, count: int = 1_500) -> Ledger:
    """Customers who came in two weeks; events before and after, many at the very ends of windows and look-backs."""
    rng = np.random.default_rng(seed)
    exposures: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for number in range(count):
        unit = f"u-{number}"
        first = _first_time(rng, number)
        arm = ARMS[int(rng.choice(3, p=[0.5, 0.25, 0.25]))]
        channel = CHANNELS[int(rng.choice(4, p=[0.5, 0.3, 0.15, 0.05]))]
        exposures.append({"experiment": "trial", "unit": unit, "variant": arm, "at": first, "channel": channel})
        if number % 9 == 0:  # seen again, by another way; and a few in another variant
            again = ARMS[(ARMS.index(arm) + 1) % 3] if number % 90 == 0 else arm
            at = first + timedelta(hours=float(rng.uniform(1, 20)))
            exposures.append({"experiment": "trial", "unit": unit, "variant": again, "at": at, "channel": "app"})
        exposures += _met(rng, unit, first)
        events += _did(rng, unit, first, arm)
    table = pd.DataFrame(events)
    table = table[table["at"] <= AS_OF].reset_index(drop=True)
    # Ids in an order of their own: of two events at one time the lesser id is the earlier.
    table["event_id"] = [f"c-{place:06}" for place in rng.permutation(len(table))]
    table[["value", "fee", "source"]] = table[["value", "fee", "source"]].astype(object).where(table.notna(), None)
    seen = pd.DataFrame(exposures)
    seen["channel"] = seen["channel"].astype(object).where(seen["channel"].notna(), None)
    return Ledger(seen, table)


def _first_time(rng: np.random.Generator, number: int) -> datetime:
    if number % 5 == 0:  # whole days ago: windows close at this very moment
        return AS_OF - int(rng.integers(0, 15)) * DAY
    if number % 5 == 1:  # at a midnight of the project, or a microsecond before
        day = datetime(2026, 10, 20, tzinfo=ZoneInfo(ZONE)) + int(rng.integers(0, 15)) * DAY
        return day.astimezone(UTC) - int(rng.integers(0, 2)) * TICK
    return AS_OF - timedelta(seconds=float(rng.uniform(0, 15 * 86_400)))


def _met(rng: np.random.Generator, unit: str, first: datetime) -> Iterator[dict[str, Any]]:
    """Exposures to the other experiment: before and after, at the ends of its time and beyond; one, several or none."""
    for _ in range(int(rng.choice([0, 1, 2], p=[0.15, 0.8, 0.05]))):
        begin, end = OTHER_SPAN
        edges = [begin, begin - TICK, end, end - TICK]
        at = edges[int(rng.integers(4))] if rng.random() < 0.1 else first + timedelta(days=float(rng.uniform(-5, 1.5)))
        arm = OTHER_ARMS[int(rng.choice(3, p=[0.45, 0.45, 0.1]))]
        yield {"experiment": "other", "unit": unit, "variant": arm, "at": min(at, AS_OF), "channel": None}


def _did(rng: np.random.Generator, unit: str, first: datetime, arm: str) -> Iterator[dict[str, Any]]:
    mood, shift = float(rng.gamma(2.0, 0.5)), {"control": 0.0, "blue": 0.3, "green": 0.0}[arm]
    if number_of(unit) % 11 == 0:
        return  # who never did anything
    delays = [timedelta(days=-float(rng.exponential(12))) for _ in range(rng.poisson(2 * mood))]
    delays += [timedelta(days=float(rng.exponential(3))) for _ in range(rng.poisson(1.5 * (mood + shift)))]
    if number_of(unit) % 4 == 0:
        edges = [0, 1, 3, 7, -10, -20, -5]
        delays += [int(day) * DAY - tick for day in rng.choice(edges, 2) for tick in (0 * TICK, TICK)]
    for delay in delays:
        amount = int(rng.gamma(2.0, 1500 * (0.5 + mood)))
        yield {
            "unit": unit,
            "event": "order" if rng.random() < 0.7 else "login",
            "at": first + delay,
            "value": None if rng.random() < 0.1 else -amount if rng.random() < 0.05 else amount,
            "fee": None if rng.random() < 0.2 else int(rng.integers(1, 9)),
            "source": None if rng.random() < 0.2 else str(rng.choice(["ads", "friend", "shop"])),
        }


@contextmanager
def open_ledger(home: Path, ledger: Ledger) -> Iterator[Platform]:
    """A platform as of the time of the looks, whose lake holds the ledger: ``trial`` of everybody beside ``other``."""
    with a_platform(home) as made:
        platform = replace(made, clock=lambda: AS_OF)
        with platform.uow.begin() as work:
            edit_project(work, "default", {"time_zone": ZONE})
            for metric in METRICS:
                create_metric(work, "default", metric, now=AS_OF)
            for definition in (_trial(), _other()):
                create_experiment(work, "default", definition, now=AS_OF)
            take(work, "trial", "start", now=AS_OF)
            for step, at in zip(("start", "stop"), OTHER_SPAN, strict=True):
                take(work, "other", step, now=at)  # type: ignore[arg-type]
        put(platform, ledger.facts())
        yield platform


def _trial() -> ExperimentDefinition:
    margin = Amount(relative=0.1)
    uses = [a_metric_use(metric.key, role="secondary", mde=None) for metric in METRICS[1:-1]]
    return an_external_experiment(
        "trial",
        variants=tuple(Variant(key=arm, weight=2 if arm == "control" else 1) for arm in ARMS),
        metrics=(
            a_metric_use("opened"),
            *uses,
            MetricUse(metric="guard", role="guardrail", non_inferiority_margin=margin),
        ),
        plan=a_plan(method="fixed", planned_units=PLANNED, cuped=True),
    )


def _other() -> ExperimentDefinition:
    variants = tuple(Variant(key=arm) for arm in OTHER_ARMS)
    return an_experiment("other", variants=variants, metrics=(a_metric_use("by-day"),), dimensions=())


def number_of(unit: str) -> int:
    """The number of a unit."""
    return int(unit.removeprefix("u-"))
