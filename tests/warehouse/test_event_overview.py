"""Which events that metrics read the lake has; expected numbers are counted by hand from the few facts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from abplatform.domain.events import ConversionFact
from abplatform.domain.metric import Measure, Metric, Step
from abplatform.errors import Unavailable
from abplatform.services.check_metrics import Problem, check_metrics
from abplatform.warehouse import event_overview
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.event_overview import Need, Seen, count_events, find_needs
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_conversion_fact, a_metric, later

SINCE = later(days=-30)


def add(lake: Lake, *facts: ConversionFact) -> None:
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", facts))


def purchase(event_id: str, **changes: Any) -> ConversionFact:
    return a_conversion_fact(event_id, **{"properties": {}, "value": None} | changes)


def problems(lake: Lake, metric: Metric) -> list[tuple[str, str | None]]:
    checks = check_metrics(lake, "default", [metric], since=SINCE)
    return [(each.code, each.property) for check in checks for each in check.problems]


@pytest.mark.parametrize(
    ("metric", "needs"),
    [
        (a_metric(where={"product": "fund"}), [Need(event="purchase", where={"product": "fund"})]),
        (a_metric(kind="sum"), [Need(event="purchase", number=True)]),
        (a_metric(kind="sum", value="fee"), [Need(event="purchase", number=True, value="fee")]),
        (a_metric(kind="quantile", over="events"), [Need(event="purchase", number=True)]),
        (a_metric(kind="quantile", aggregation="count"), [Need(event="purchase")]),
        (a_metric(kind="time_to", start=Measure(event="seen")), [Need(event="purchase"), Need(event="seen")]),
        (
            a_metric(kind="ratio", denominator=Measure(event="refund", aggregation="sum", value="fee")),
            [Need(event="purchase", number=True), Need(event="refund", number=True, value="fee")],
        ),
        (
            a_metric(kind="ratio", aggregation="count", denominator=Measure(event="purchase")),
            [Need(event="purchase")],
        ),
        (
            a_metric(kind="funnel", event="", steps=(Step(event="a"), Step(event="b"), Step(event="a"))),
            [Need(event="a"), Need(event="b")],
        ),
    ],
)
def test_a_metric_needs_what_its_parts_read(metric: Metric, needs: list[Need]) -> None:
    assert list(find_needs(metric)) == needs


def test_a_need_names_the_properties_that_it_asks_for_and_those_that_must_be_numbers() -> None:
    where = {
        "product": ["fund"],
        "amount": {"$gte": 1000},
        "day": {"$lt": "2026-01-31"},
        "test": {"$exists": False},
        "gone": None,
        "$or": [{"first": True}, {"$not": {"age": {"$lt": 3}}}],
    }
    need = Need(event="purchase", where=where, number=True, value="fee")
    assert need.properties == {
        "product": False,
        "amount": True,
        "day": False,
        "first": False,
        "age": True,
        "fee": True,
    }


def test_events_properties_and_numbers_are_counted_by_need(local_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_overview, "_ROWS_AT_ONCE", 2)
    add(local_lake, purchase("1", properties={"product": '"fund"', "fee": "1.5"}, value=Decimal(7)), purchase("2"))
    add(local_lake, purchase("3", properties={"product": '"loan"', "fee": '"2"'}, timestamp=later(days=-29)))
    add(local_lake, purchase("old", properties={"product": '"fund"'}, timestamp=later(days=-31)))
    add(local_lake, purchase("earlier", properties={"product": '"fund"'}, timestamp=SINCE - timedelta(seconds=1)))
    add(local_lake, purchase("other", event="refund", properties={"fee": "3"}, timestamp=later(days=-2)))
    fund = {"product": "fund"}
    needs = [
        Need(event="purchase", where=fund),
        Need(event="purchase", where=fund, number=True),
        Need(event="purchase", number=True, value="fee"),
        Need(event="refund"),
        Need(event="nothing", where=fund),
    ]
    shares: list[float] = []

    found = count_events(local_lake, "default", needs, since=SINCE, progress=shares.append)

    product, fee = {"product": 2}, {"fee": 2}
    assert found == (
        Seen(events=3, last=NOW, matching=1, properties=product, numeric={"product": 0}),
        Seen(events=3, last=NOW, matching=1, numbers=1, properties=product, numeric={"product": 0}),
        Seen(events=3, last=NOW, matching=3, numbers=1, properties=fee, numeric={"fee": 1}),
        Seen(events=1, last=later(days=-2), matching=1, properties={}, numeric={}),
        Seen(properties={"product": 0}, numeric={"product": 0}),
    )
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_an_empty_lake_and_no_needs_are_answered(local_lake: Lake) -> None:
    (nothing,) = count_events(local_lake, "default", [Need(event="purchase")], since=SINCE)
    assert nothing == Seen(properties={}, numeric={})
    add(local_lake, purchase("1"))
    assert count_events(local_lake, "default", [], since=SINCE) == ()


def test_each_thing_that_a_metric_lacks_is_named_once(local_lake: Lake) -> None:
    add(local_lake, purchase("1", properties={"product": '"fund"', "fee": '"1.5"', "days": '"90"'}))
    add(local_lake, purchase("2", properties={"product": '"loan"', "rate": "3"}))
    expected: dict[str, tuple[Metric, list[tuple[str, str | None]]]] = {
        "all is there": (a_metric(kind="sum", value="rate"), []),
        "no such event": (a_metric(event="purchased", where={"x": 1}), [("EVENT_NOT_SEEN", None)]),
        "no such property": (a_metric(where={"prodcut": "fund"}), [("PROPERTY_NOT_SEEN", "prodcut")]),
        "no such value": (a_metric(where={"product": "funds"}), [("NOTHING_MATCHES", None)]),
        "no value": (a_metric(kind="sum"), [("NEVER_A_NUMBER", None)]),
        "a text as value": (a_metric(kind="sum", value="fee"), [("NEVER_A_NUMBER", "fee")]),
        "a text where order is asked": (a_metric(where={"days": {"$gte": 90}}), [("NEVER_A_NUMBER", "days")]),
        "a number of other events only": (
            a_metric(kind="sum", value="rate", where={"product": "fund"}),
            [("NEVER_A_NUMBER", "rate")],
        ),
        "below the line": (
            a_metric(kind="ratio", aggregation="count", denominator=Measure(event="visit")),
            [("EVENT_NOT_SEEN", None)],
        ),
    }
    assert {name: problems(local_lake, metric) for name, (metric, _) in expected.items()} == {
        name: found for name, (_, found) in expected.items()
    }


def test_each_part_of_each_metric_is_checked_in_order(local_lake: Lake) -> None:
    add(local_lake, purchase("1"))
    funnel = a_metric("funnel", kind="funnel", event="", steps=(Step(event="visit"), Step(event="purchase")))
    checks = check_metrics(local_lake, "default", [funnel, a_metric()], since=SINCE)
    assert [(each.metric, each.need.event, each.problems) for each in checks] == [
        ("funnel", "visit", (Problem(code="EVENT_NOT_SEEN"),)),
        ("funnel", "purchase", ()),
        ("purchase", "purchase", ()),
    ]


def test_a_file_that_is_missing_is_no_event_that_was_never_seen(local_lake: Lake) -> None:
    add(local_lake, purchase("1"))
    (file,) = local_lake.files("default", "conversion")
    Path(file.path).unlink()
    with pytest.raises(Unavailable, match="lake"):
        count_events(local_lake, "default", [Need(event="purchase")], since=SINCE)
