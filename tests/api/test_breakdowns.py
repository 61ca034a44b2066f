"""Slices over HTTP: shapes, refusals, and what the description promises."""

from __future__ import annotations

import pytest

from abplatform.assignment import decode_snapshot, evaluate
from tests.api.conftest import Service
from tests.api.documents import conversion_body, exposure_body
from tests.api.problems import refusal, refused_fields

PATH = "/experiments/rate-display/results"
UNITS = 240
ATTRIBUTES = {"country": "CN", "app_version": "3.4.1"}


@pytest.fixture(name="sliced")
def _sliced(service: Service) -> Service:
    """Two channels and units without one; who converts does so at once, and the window of 30 days is open."""
    service.start()
    snapshot = decode_snapshot(service.admin.get("/snapshot").data)
    exposures, conversions = [], []
    for number in range(UNITS):
        unit, channel = f"u-{number}", ("douyin", "branch", None)[number % 3]
        variant = evaluate(snapshot, "rate-display", unit, ATTRIBUTES).variant or ""
        attributes = {} if channel is None else {"channel": channel}
        exposures.append(exposure_body(f"e-{number}", unit_id=unit, variant=variant, attributes=attributes))
        if number % 4 == 0:
            conversions.append(conversion_body(f"c-{number}", unit_id=unit))
    assert service.admin.post("/exposures", json={"events": exposures}).get_json()["accepted"] == UNITS
    assert service.admin.post("/conversions", json={"events": conversions}).get_json()["rejected"] == []
    return service


@pytest.fixture(scope="module")
def started(shared_service: Service) -> Service:
    """A running experiment without events."""
    shared_service.start()
    return shared_service


def test_a_breakdown_has_every_slice_with_its_comparisons_and_whether_they_differ(sliced: Service) -> None:
    answer = sliced.caller("analyst").get(f"{PATH}/breakdown?by=channel")
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    assert {name: document[name] for name in ("experiment", "phase", "by", "method", "alpha")} == {
        "experiment": "rate-display",
        "phase": 1,
        "by": "channel",
        "method": "sequential",
        "alpha": 0.05,
    }
    (metric,) = document["metrics"]
    assert (metric["metric"], metric["kind"], metric["role"]) == ("purchase", "conversion", "primary")
    assert [each["slice"] for each in metric["slices"]] == ["(none)", "branch", "douyin"]
    units = [[arm["units"] + arm["open_units"] for arm in each["variants"]] for each in metric["slices"]]
    assert [sum(arms) for arms in units] == [UNITS / 3] * 3
    for each in metric["slices"]:
        (comparison,) = each["comparisons"]
        assert (comparison["variant"], comparison["exploratory"]) == ("treatment", True)
    (difference,) = document["differences"]
    assert {name: difference[name] for name in ("dimension", "metric", "variant", "found")} == {
        "dimension": "channel",
        "metric": "purchase",
        "variant": "treatment",
        "found": False,
    }
    assert sliced.admin.get(f"{PATH}/looks").get_json()["items"] == [], "nothing is recorded"


def test_the_search_for_differences_asks_for_all_dimensions(sliced: Service) -> None:
    document = sliced.caller("analyst").get(f"{PATH}/differences").get_json()
    assert set(document) == {"experiment", "phase", "alpha", "computed_at", "data_through", "differences"}
    (difference,) = document["differences"]
    by_channel = sliced.admin.get(f"{PATH}/breakdown?by=channel&metric=purchase&method=fixed&phase=1").get_json()
    assert by_channel["differences"] == [difference]


def test_a_dimension_that_is_not_there_is_refused_with_those_that_are(started: Service) -> None:
    problem = refusal(started.admin.get(f"{PATH}/breakdown?by=chanel"), 422, "VALIDATION_FAILED")
    assert "channel, exposure_day, exposure_week, exposure_month" in problem["errors"]["by"][0]
    assert "channel" in problem["errors"]["by"][0].rpartition("?")[0], "the likely one is named"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "by"),
        ("?by=", "by"),
        (f"?by={'x' * 65}", "by"),
        ("?by=channel&metric=nothing", "metric"),
        ("?by=channel&method=guess", "method"),
        ("?by=channel&method=group_sequential", "method"),
        ("?by=channel&phase=2", "phase"),
        ("?by=channel&phase=x", "phase"),
        ("?by=channel&slice=douyin", "slice"),
    ],
)
def test_a_question_that_does_not_fit_names_its_field(started: Service, query: str, field: str) -> None:
    assert refused_fields(started.admin.get(f"{PATH}/breakdown{query}")) == {field}


def test_the_search_refuses_what_does_not_fit(started: Service) -> None:
    assert refused_fields(started.admin.get(f"{PATH}/differences?phase=2")) == {"phase"}
    assert refused_fields(started.admin.get(f"{PATH}/differences?by=channel")) == {"by"}


@pytest.mark.parametrize("path", ["breakdown?by=channel", "differences"])
def test_a_draft_has_no_results_to_slice(service: Service, path: str) -> None:
    service.define()
    refusal(service.admin.get(f"{PATH}/{path}"), 409, "NOT_ANALYSABLE")


def test_without_dimensions_there_are_periods_and_nothing_to_search(service: Service) -> None:
    service.start(dimensions=[])
    refused = refusal(service.admin.get(f"{PATH}/differences"), 409, "NOT_ANALYSABLE")
    assert refused["detail"].startswith("rate-display has no dimensions")
    weeks = service.admin.get(f"{PATH}/breakdown?by=exposure_week")
    assert (weeks.status_code, weeks.get_json()["metrics"][0]["slices"]) == (200, [])


def test_the_description_tells_both_documents_and_their_parameters(service: Service) -> None:
    description = service.nobody().get("/openapi.json").get_json()
    path = description["paths"]["/api/v1/experiments/{key}/results/breakdown"]["get"]
    by = next(each for each in path["parameters"] if each["name"] == "by")
    assert (by["required"], by["in"]) == (True, "query")
    schemas = description["components"]["schemas"]
    assert set(schemas["SliceResult"]["properties"]) == {"slice", "variants", "comparisons"}
    assert "adjusted_p_value" in schemas["Difference"]["properties"]
    search = description["paths"]["/api/v1/experiments/{key}/results/differences"]["get"]
    assert [each["name"] for each in search["parameters"] if each.get("in") == "query"] == ["phase"]
