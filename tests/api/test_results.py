"""Results over HTTP: from events that were just accepted to the scorecard's document."""

from __future__ import annotations

import math
from datetime import datetime

import pytest

from abplatform.assignment import decode_snapshot, evaluate
from tests.api.conftest import Service
from tests.api.documents import conversion_body, decision_body, exposure_body, phase_body
from tests.api.problems import refusal, refused_fields

UNITS = 400
ATTRIBUTES = {"country": "CN", "app_version": "3.4.1"}


@pytest.fixture(name="measured")
def _measured(service: Service) -> Service:
    """An experiment in which every fourth unit of the control and every second of the treatment converts."""
    service.start(plan={"method": "fixed", "planned_units": UNITS})
    snapshot = decode_snapshot(service.admin.get("/snapshot").data)
    exposures, conversions = [], []
    seen = {"control": 0, "treatment": 0}
    for number in range(UNITS):
        unit = f"u-{number}"
        variant = evaluate(snapshot, "rate-display", unit, ATTRIBUTES).variant or ""
        exposures.append(exposure_body(f"e-{number}", unit_id=unit, variant=variant))
        seen[variant] += 1
        if seen[variant] % {"control": 4, "treatment": 2}[variant] == 0:
            conversions.append(conversion_body(f"c-{number}", unit_id=unit))
    assert service.admin.post("/exposures", json={"events": exposures}).get_json()["accepted"] == UNITS
    assert service.admin.post("/conversions", json={"events": conversions}).get_json()["rejected"] == []
    return service


def test_results_hold_every_event_that_was_accepted_before_the_call(measured: Service) -> None:
    analyst = measured.caller("analyst")
    answer = analyst.get("/experiments/rate-display/results")
    assert answer.status_code == 200, answer.text
    document = answer.get_json()
    assert sum(document["health"]["units"].values()) == UNITS
    assert document["health"]["mismatched_exposures"] == 0
    (metric,) = document["metrics"]
    control, treatment = metric["variants"]
    # Windows of 30 days are still open: units that have converted are not closed either.
    assert control["units"] + control["open_units"] == document["health"]["units"]["control"]
    assert treatment["units"] + treatment["open_units"] == document["health"]["units"]["treatment"]
    assert document["experiment"] == "rate-display"
    assert document["preregistered"] is True
    assert document["decision"]["recommendation"] in {"ship", "roll_back", "continue", "inconclusive", "invalid"}


def test_results_without_a_window_give_the_rates_that_were_planted(service: Service) -> None:
    service.define()
    tag = service.admin.get("/metrics/purchase").headers["ETag"]
    edited = service.admin.patch("/metrics/purchase", json={"window": None}, headers={"If-Match": tag})
    assert edited.status_code == 200
    service.start("second", targeting={}, plan={"method": "fixed", "planned_units": 100})
    rule = decode_snapshot(service.admin.get("/snapshot").data)
    exposures, conversions, expected = [], [], {"control": [0, 0], "treatment": [0, 0]}
    for number in range(100):
        variant = evaluate(rule, "second", f"u-{number}", {}).variant or ""
        converts = number % 3 == 0
        expected[variant][0] += 1
        expected[variant][1] += converts
        exposures.append(exposure_body(f"e-{number}", experiment="second", unit_id=f"u-{number}", variant=variant))
        if converts:
            conversions.append(conversion_body(f"c-{number}", unit_id=f"u-{number}"))
    service.admin.post("/exposures", json={"events": exposures})
    service.admin.post("/conversions", json={"events": conversions})
    (metric,) = service.admin.get("/experiments/second/results").get_json()["metrics"]
    for result in metric["variants"]:
        units, converted = expected[result["variant"]]
        assert result["units"] == units
        assert float(result["sum"]) == converted
        assert math.isclose(result["mean"], converted / units)


def test_another_method_is_exploratory_and_leaves_no_look(measured: Service) -> None:
    path = "/experiments/rate-display/results"
    explored = measured.admin.get(path, query_string={"method": "sequential"}).get_json()
    assert (explored["method"], explored["look"]) == ("sequential", 0)
    assert measured.admin.get(f"{path}/looks").get_json() == {"items": [], "next_cursor": None}
    look = measured.admin.get(path).get_json()
    assert look["look"] == 1
    assert measured.admin.get(f"{path}/looks").get_json()["items"] == [look]


def test_a_refresh_computes_now_and_says_from_what(measured: Service) -> None:
    path = "/experiments/rate-display/results"
    analyst = measured.caller("analyst")
    look = analyst.post(f"{path}/refresh")
    assert look.status_code == 200, look.text
    document = look.get_json()
    state = measured.platform.lake.state("default")
    cut_off = document["cut_off"]
    assert (cut_off["exposures"], cut_off["conversions"]) == (str(state.exposures), str(state.conversions))
    assert cut_off["as_of"] == document["computed_at"]
    assert cut_off["engine"].startswith("duckdb ")
    assert analyst.post(f"{path}/refresh", json={}).get_json() == document == analyst.get(path).get_json()
    assert refused_fields(analyst.post(f"{path}/refresh", json={"phase": 1})) == {""}
    assert refused_fields(analyst.post(f"{path}/refresh", json={"method": "fixed"})) == {""}


def test_results_of_a_later_phase_count_who_is_left_out_and_show_what_people_decided(measured: Service) -> None:
    path = "/experiments/rate-display"
    assert measured.admin.post(f"{path}/phase", json=phase_body()).status_code == 200
    snapshot = decode_snapshot(measured.admin.get("/snapshot").data)
    exposures = []
    for number in range(UNITS - 30, UNITS + 50):  # 30 of them were in phase 1
        variant = evaluate(snapshot, "rate-display", f"u-{number}", ATTRIBUTES).variant or ""
        exposures.append(exposure_body(f"again-{number}", unit_id=f"u-{number}", variant=variant, phase=2))
    assert measured.admin.post("/exposures", json={"events": exposures}).get_json()["accepted"] == 80
    assert measured.admin.get(f"{path}/results").get_json()["decision_taken"] is None
    decided = measured.admin.post(f"{path}/decide", json=decision_body()).get_json()["decision"]

    document = measured.admin.get(f"{path}/results").get_json()
    assert (document["health"]["earlier_phase_units"], sum(document["health"]["units"].values())) == (30, 50)
    taken = document["decision_taken"]
    expected = decision_body(decided_at=None, phase=2, look=1)
    assert taken | {"decided_at": None} == decided | {"decided_at": None} == expected
    assert datetime.fromisoformat(taken["decided_at"]) == datetime.fromisoformat(decided["decided_at"])
    assert document["decision"]["recommendation"] == "inconclusive", "the data's own word stays"
    past = measured.admin.get(f"{path}/results?phase=1").get_json()
    assert (past["health"]["earlier_phase_units"], past["decision_taken"]) == (None, taken)


@pytest.fixture(scope="module", name="started")
def _started(shared_service: Service) -> Service:
    shared_service.start()
    return shared_service


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("method=group-sequential", "method"),
        ("method=magic", "method"),
        ("metric=spend", "metric"),
        ("metric=%00", "metric"),
        ("metric=UPPER", "metric"),
        ("phase=2", "phase"),
        ("phase=0", "phase"),
        ("phase=x", "phase"),
        ("by=channel", "by"),
    ],
)
def test_a_question_that_has_no_answer_names_its_part(started: Service, query: str, field: str) -> None:
    assert refused_fields(started.admin.get(f"/experiments/rate-display/results?{query}")) == {field}


def test_a_draft_has_no_results(service: Service) -> None:
    service.define()
    refusal(service.admin.get("/experiments/rate-display/results"), 409, "NOT_ANALYSABLE")
