"""What units were worth before an experiment."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.metric import Metric, Window
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_conversion_fact, a_metric

DAY = timedelta(days=1)


@pytest.fixture(name="spent")
def _spent(local_lake: Lake) -> Lake:
    """Ten units spent 10, 20, ... 100 a week ago, in two parts; one spent nothing, one long ago, one later."""
    week_ago = NOW - 7 * DAY
    facts = [
        a_conversion_fact(
            f"{part}-{number}", unit=f"u-{number}", event="purchase", timestamp=week_ago, value=Decimal(5 * number)
        )
        for number in range(11)
        for part in ("first", "second")
    ]
    facts += [
        a_conversion_fact("old", unit="u-old", event="purchase", timestamp=NOW - 40 * DAY, value=Decimal(10**6)),
        a_conversion_fact("now", unit="u-new", event="purchase", timestamp=NOW, value=Decimal(10**6)),
        a_conversion_fact("other", unit="u-other", event="deposit", timestamp=week_ago, value=Decimal(10**6)),
    ]
    append_facts(local_lake, "default", "conversion", facts_to_arrow("conversion", facts))
    return local_lake


def ask(engine: Engine, lake: Lake, metric: Metric, quantile: float) -> Decimal | None:
    request = AggregationRequest(
        project="default", experiment="none", phase=1, variants=(), metrics=(metric,), as_of=NOW
    )
    return engine.quantile_before(lake, request, quantile=quantile)


@pytest.mark.parametrize(("quantile", "expected"), [(0.01, 10), (0.5, 50), (0.51, 60), (0.9, 90), (0.99, 100)])
def test_it_is_of_units_that_were_worth_something(spent: Lake, engine: Engine, quantile: float, expected: int) -> None:
    metric = a_metric("spent", kind="sum", event="purchase", window=Window(end=30 * DAY))
    assert ask(engine, spent, metric, quantile) == expected


def test_a_metric_is_looked_at_over_the_length_of_its_window(spent: Lake, engine: Engine) -> None:
    short = a_metric("spent", kind="sum", event="purchase", window=Window(start=DAY, end=4 * DAY))
    assert ask(engine, spent, short, 0.5) is None
    long = a_metric("spent", kind="sum", event="purchase", window=Window(end=60 * DAY))
    assert ask(engine, spent, long, 0.99) == 10**6


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"kind": "count"}, 2), ({"kind": "sum", "aggregation": "max"}, 25), ({"kind": "sum", "aggregation": "last"}, 25)],
)
def test_every_way_to_make_a_number_has_one(
    spent: Lake, engine: Engine, changes: dict[str, str], expected: int
) -> None:
    assert ask(engine, spent, a_metric("spent", event="purchase", window=None, **changes), 0.5) == expected


def test_spark_says_the_same(spent: Lake, spark_on_threads: Engine) -> None:
    metric = a_metric("spent", kind="sum", event="purchase", aggregation="last", window=None)
    assert ask(spark_on_threads, spent, metric, 0.51) == 30
