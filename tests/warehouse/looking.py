"""An experiment with events in a real lake, and looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from abplatform.bootstrap import Platform, build_platform, prepare_database
from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.domain.experiment import ExperimentDefinition
from abplatform.domain.life import Step
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Scorecard
from abplatform.services import define
from abplatform.services.tend import Tended, tend_table
from abplatform.settings import Settings
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import KINDS, facts_to_arrow
from abplatform.warehouse.removal import expire
from tests.builders import (
    NOW,
    a_conversion_fact,
    a_metric,
    a_metric_use,
    a_plan,
    an_experiment,
    an_exposure_fact,
    later,
)
from tests.services.lives import take
from tests.warehouse.lakes import KEEP, hence, nobody

REVENUE = a_metric("revenue", kind="sum", event="purchase", window=None)
DEFINITION = an_experiment(metrics=(a_metric_use("revenue"),), plan=a_plan(cuped=True))
# The events are as old as the tests' time is.
SETTINGS = Settings(engine_memory="256MB", retention_days=36_500)


class CountingEngine(DuckDBEngine):
    """DuckDB, and how often it was asked."""

    asked = 0

    def aggregate(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None = None) -> Aggregation:
        """Count and answer."""
        self.asked += 1
        return super().aggregate(lake, request, kept)


@contextmanager
def a_platform(folder: Path, url: str = "") -> Iterator[Platform]:
    """A platform with a lake of its own, on that database, or on one of its own."""
    settings = Settings(
        home=folder, database_url=url, pseudonym_key="a pseudonym key for tests, 32+ characters", engine_memory="256MB"
    )
    prepare_database(settings)
    with build_platform(settings) as platform:
        yield platform


def begin(
    platform: Platform,
    definition: ExperimentDefinition = DEFINITION,
    *steps: Step,
    metrics: Iterable[Metric] = (REVENUE,),
) -> None:
    """Start an experiment with its metrics."""
    with platform.uow.begin() as work:
        for metric in metrics:
            if work.metrics.find("default", metric.key) is None:
                define.create_metric(work, "default", metric, now=NOW)
        define.create_experiment(work, "default", definition, now=NOW)
        for step in steps or ("start",):
            take(work, definition.key, step)


def step(platform: Platform, name: Step, key: str = "rate-display", *, now: datetime = NOW) -> None:
    """Take a step."""
    with platform.uow.begin() as work:
        take(work, key, name, now=now)


def add_units(platform: Platform, numbers: Sequence[int], key: str = "rate-display", phase: int = 1) -> None:
    """Expose units to the variants in turn, in one commit; most bought before, and the odd ones since."""
    exposures = [
        an_exposure_fact(
            f"{key}-{number}",
            experiment=key,
            phase=phase,
            unit=f"unit-{number}",
            variant=("control", "treatment")[number % 2],
            expected_variant=("control", "treatment")[number % 2],
            timestamp=later(hours=number % 48 + 1),
        )
        for number in numbers
    ]
    purchases = [
        a_conversion_fact(
            f"{key}-{number}-{when}", unit=f"unit-{number}", timestamp=later(hours=hours), value=Decimal(eighths) / 8
        )
        for number in numbers
        for when, hours, eighths in (("before", -number, number % 3), ("after", 60, number % 2 * number))
    ]
    append_facts(platform.lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(platform.lake, "default", "conversion", facts_to_arrow("conversion", purchases))


def look(platform: Platform, key: str = "rate-display", **question: object) -> Scorecard:
    """The results of now."""
    return platform.results("default", key, **question)  # type: ignore[arg-type]


def tend_all(platform: Platform, settings: Settings = SETTINGS, *, now: datetime | None = None) -> list[Tended | None]:
    """A round of the worker over both tables."""
    moment = now or hence()
    return [
        tend_table(platform.database, platform.lake, "default", kind, settings=settings, now=moment) for kind in KINDS
    ]


def forget(platform: Platform) -> None:
    """Compact, and then forget all states of both tables that have no name and are not the present one."""
    for kind in KINDS:
        compact(platform.lake, "default", kind, now=hence())
        expire(platform.lake, "default", kind, now=hence(hours=26), keep=KEEP, claimed=nobody)
        expire(platform.lake, "default", kind, now=hence(days=3), keep=timedelta(0), claimed=nobody)


def names(platform: Platform) -> list[set[str]]:
    """The names that states have, of both tables."""
    tables = [platform.lake.find("default", kind) for kind in KINDS]
    return [set(table.iceberg.metadata.refs) - {"main"} for table in tables if table is not None]
