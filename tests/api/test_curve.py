"""Curves over HTTP: from exposures and conversions that were just accepted."""

from __future__ import annotations

import pytest

from tests.api.conftest import Service
from tests.api.documents import conversion_body, exposure_body, metric_body
from tests.api.problems import refusal, refused_fields

PATH = "/experiments/rate-display/results/curve"


@pytest.fixture(name="started")
def _started(service: Service) -> Service:
    """Two units who came just now, of which one bought."""
    for metric in (
        metric_body("amount", kind="sum", where={}),
        metric_body("wait", kind="time_to", where={}, event="purchase"),
        metric_body("balance", kind="sum", aggregation="last", where={}),
    ):
        assert service.admin.post("/metrics", json=metric).status_code == 201
    uses = [{"metric": "purchase", "role": "primary"}, {"metric": "amount"}, {"metric": "wait"}, {"metric": "balance"}]
    service.start(metrics=uses, targeting={})
    exposures = [exposure_body(f"e-{arm}", unit_id=arm, variant=arm) for arm in ("control", "treatment")]
    assert service.admin.post("/exposures", json={"events": exposures}).get_json()["rejected"] == []
    bought = conversion_body(unit_id="treatment")
    assert service.admin.post("/conversions", json={"events": [bought]}).get_json()["rejected"] == []
    return service


def test_units_that_nobody_has_followed_for_a_day_are_open(started: Service) -> None:
    answer = started.caller("analyst").get(f"{PATH}?metric=amount")
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    told = {"metric": "amount", "kind": "sum", "view": "cumulative", "cohort": "followed", "method": "sequential"}
    assert told.items() <= document.items()
    assert (document["alpha"], document["cap"], document["calendar"]) == (0.05, None, False)
    (point,) = document["points"]
    assert (point["from_day"], point["day"], point["units"], point["followed_share"]) == (0, 1, 0, 0.0)
    assert point["warnings"] == ["FEW_FOLLOWED"]
    for variant in point["variants"]:
        assert (variant["units"], variant["open_units"], variant["open_share"], variant["sum"]) == (0, 1, 1.0, "0")
        assert variant["value"] == {"estimate": None, "lower": None, "upper": None}
    assert point["comparisons"][0]["not_computable"] == "NO_UNITS"
    assert started.admin.get("/experiments/rate-display/results/looks").get_json()["items"] == []


def test_days_and_view_are_those_that_were_asked_for(started: Service) -> None:
    asked = f"{PATH}?metric=purchase&days=1,7,30&view=daily&cohort=same&method=fixed&phase=1"
    document = started.admin.get(asked).get_json()
    assert [(each["from_day"], each["day"]) for each in document["points"]] == [(0, 1), (1, 7), (7, 30)]
    assert (document["view"], document["cohort"], document["method"]) == ("daily", "same", "fixed")


REFUSED = [
    ("", "metric"),
    ("metric=Purchase", "metric"),
    ("metric=absent", "metric"),
    ("metric=wait", "metric"),
    ("metric=balance&view=daily", "view"),
    ("metric=amount&view=weekly", "view"),
    ("metric=amount&cohort=all", "cohort"),
    ("metric=amount&cohort=same", "days"),
    ("metric=amount&days=", "days"),
    ("metric=amount&days=1,,7", "days"),
    ("metric=amount&days=1,+7", "days"),
    ("metric=amount&days=seven", "days"),
    ("metric=amount&days=-1", "days"),
    ("metric=amount&days=1.5", "days"),
    ("metric=amount&days=%D9%A1", "days"),
    ("metric=amount&days=9999999", "days"),
    ("metric=amount&days=0", "days.0"),
    ("metric=amount&days=1,3651", "days.1"),
    ("metric=amount&days=7,1", "days.1"),
    (f"metric=amount&days={','.join(map(str, range(1, 62)))}", "days"),
    ("metric=amount&method=group_sequential", "method"),
    ("metric=amount&method=guess", "method"),
    ("metric=amount&phase=2", "phase"),
    ("metric=amount&day=1", "day"),
]


def test_what_does_not_fit_is_refused_by_its_field(started: Service) -> None:
    for query, field in REFUSED:
        assert refused_fields(started.admin.get(f"{PATH}?{query}")) == {field}, query


def test_drafts_have_no_curve_and_neither_has_nothing(service: Service) -> None:
    service.define()
    refusal(service.admin.get(f"{PATH}?metric=purchase"), 409, "NOT_ANALYSABLE")
    refusal(service.admin.get("/experiments/absent/results/curve?metric=purchase"), 404, "NOT_FOUND")
