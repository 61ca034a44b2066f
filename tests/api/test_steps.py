"""The life of an experiment over HTTP: bodies, versions, races, forced units, and results phase by phase."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from abplatform.assignment import decode_snapshot, evaluate
from tests.api.conftest import Service
from tests.api.documents import (
    Body,
    conversion_body,
    decision_body,
    exposure_body,
    forced_body,
    layer_body,
    phase_body,
    ramp_body,
    schedule_body,
)
from tests.api.problems import refusal, refused_fields
from tests.api.test_nasty_values import NASTY

PATH = "/experiments/rate-display"
ATTRIBUTES = {"country": "CN", "app_version": "3.4.1"}
STEPS: dict[str, Body | None] = {
    "ramp": ramp_body(),
    "phase": phase_body(),
    "forced": forced_body(),
    "schedule": schedule_body(),
    "pause": None,
    "close": None,
    "stop": None,
    "decide": decision_body(),
}


@pytest.fixture(scope="module", name="started")
def _started(shared_service: Service) -> Service:
    shared_service.start(coverage=0.5)
    return shared_service


def take(service: Service, step: str, body: Body | None = None, **rest: Any) -> Body:
    answer = service.admin.post(f"{PATH}/{step}", **({} if body is None else {"json": body}), **rest)
    assert answer.status_code == 200, answer.text
    document: Body = answer.get_json()
    assert service.admin.get(PATH).get_json() == document
    assert service.admin.get(PATH).headers["ETag"] == answer.headers["ETag"]
    return document


def version(service: Service) -> int:
    return int(service.admin.get("/snapshot").get_json()["version"])


def test_numbers_come_back_as_they_were_sent(service: Service) -> None:
    variants = [
        {"key": "control", "weight": 1, "payload": {"rate": 3.0}},
        {"key": "treatment", "weight": 2.5, "payload": {"rate": 4}},
    ]
    service.define(coverage=1, variants=variants, targeting={"age": {"$gte": 18.0}})
    created = service.admin.get("/experiments/rate-display")
    for answer in (created, service.admin.post("/experiments/rate-display/start")):
        document = answer.get_json()
        sent = {"variants": variants, "coverage": 1, "targeting": {"age": {"$gte": 18.0}}}
        assert json.dumps({name: document[name] for name in sent}) == json.dumps(sent)


def test_a_life_with_every_step(service: Service) -> None:
    service.start(coverage=0.25)
    document = take(service, "ramp", ramp_body(coverage=0.5))
    assert (document["coverage"], document["slots"]) == (0.5, [[0, 500_000]])
    assert document["refresh_every"] is None
    assert take(service, "schedule", schedule_body(every="P1DT12H"))["refresh_every"] == "P1DT12H"
    assert take(service, "schedule", schedule_body(every=None))["refresh_every"] is None
    take(service, "pause")
    variants = [{"key": "control"}, {"key": "treatment", "weight": 2, "payload": "new"}]
    document = take(service, "phase", phase_body(variants=variants, targeting={}, coverage=0.75))
    assert (document["phase"], document["status"], document["slots"]) == (2, "paused", [[0, 750_000]])
    assert [variant["weight"] for variant in document["variants"]] == [1, 2]
    (past,) = document["past_phases"]
    assert (past["number"], past["reason"], past["coverage"]) == (1, "A payload was wrong", 0.5)
    assert past["variants"][1]["payload"] == {"copy": "10,000 earns 350 in a year"}
    assert past["ended_at"] == document["phase_started_at"] > past["started_at"] == document["started_at"]
    assert "salt" not in json.dumps(document)
    document = take(service, "close")
    assert document["closed_at"] > document["phase_started_at"]
    document = take(service, "decide", decision_body(outcome="roll_back", variant=None))
    assert (document["status"], document["shipped"], document["slots"]) == ("stopped", None, [[0, 750_000]])
    document = take(service, "decide", decision_body())
    assert (document["shipped"], document["decision"]["outcome"]) == ("treatment", "ship")
    assert [each["outcome"] for each in document["past_decisions"]] == ["roll_back"]
    assert service.admin.get("/snapshot").get_json()["experiments"]["rate-display"]["shipped"] == "treatment"
    refusal(service.admin.post(f"{PATH}/decide", json=decision_body()), 409, "ILLEGAL_TRANSITION")
    take(service, "archive")


def test_a_step_that_names_its_version_can_be_repeated_without_harm(service: Service) -> None:
    for step, body in STEPS.items():
        path, sent = f"/experiments/{step}", {} if body is None else {"json": body}
        service.start(step, coverage=0.5)
        tag = service.admin.get(path).headers["ETag"]
        taken = service.admin.post(f"{path}/{step}", headers={"If-Match": tag}, **sent)
        assert taken.status_code == 200, taken.text
        before = version(service)
        again = service.admin.post(f"{path}/{step}", headers={"If-Match": tag}, **sent)
        refusal(again, 412, "PRECONDITION_FAILED")
        assert service.admin.get(path).get_json() == taken.get_json()
        assert version(service) == before


def test_a_repeated_ramp_and_a_repeated_list_do_no_harm_without_a_version_either(service: Service) -> None:
    service.start(coverage=0.5)
    take(service, "ramp", ramp_body())
    assert refused_fields(service.admin.post(f"{PATH}/ramp", json=ramp_body())) == {"coverage"}
    document = take(service, "forced", forced_body())
    assert take(service, "forced", forced_body()) == document


@pytest.mark.parametrize(
    ("step", "body", "fields"),
    [
        ("ramp", {}, {"coverage"}),
        ("ramp", {"coverage": "0.7"}, {"coverage"}),
        ("ramp", {"coverage": True}, {"coverage"}),
        ("ramp", {"coverage": 0.7, "reason": "x"}, {"reason"}),
        ("phase", {}, {"reason"}),
        ("phase", {"reason": ""}, {"reason"}),
        ("phase", phase_body(plan={"planned_units": 5}), {"plan"}),
        ("phase", phase_body(name="x"), {"name"}),
        ("phase", phase_body(control="nobody"), {"control"}),
        ("phase", phase_body(variants=[{"weight": 1}]), {"variants.0.key"}),
        ("phase", phase_body(targeting=[]), {"targeting"}),
        ("phase", phase_body(prerequisites=[{"experiment": "x"}]), {"prerequisites.0.variants"}),
        (
            "phase",
            phase_body(prerequisites=[{"experiment": "nowhere", "variants": ["a"]}]),
            {"prerequisites.0.experiment"},
        ),
        ("decide", {"outcome": "ship", "variant": "treatment"}, {"reason"}),
        ("decide", decision_body(variant=None), {"variant"}),
        ("decide", decision_body(outcome="continue", variant=None), {"outcome"}),
        ("decide", decision_body(decided_at="2020-01-01T00:00:00Z"), {"decided_at"}),
        ("schedule", {}, {"every"}),
        ("schedule", schedule_body(every="6h"), {"every"}),
        ("schedule", schedule_body(every="PT1S"), {"every"}),
        ("schedule", schedule_body(every=3600), {"every"}),
        ("schedule", schedule_body(spends_alpha=1), {"spends_alpha"}),
        ("schedule", schedule_body(spends_alpha=True), {"spends_alpha"}),
        ("schedule", schedule_body(refresh_every="PT6H"), {"refresh_every"}),
        ("forced", {}, {"units"}),
        ("forced", {"units": {}}, {"units"}),
        ("forced", {"units": []}, {"units"}),
        ("forced", {"units": [{"unit_id": "qa-1"}]}, {"units.0.variant"}),
        ("forced", {"units": [{"unit_id": 7, "variant": None}]}, {"units.0.unit_id"}),
        ("forced", {"units": [{"unit_id": "qa-1", "variant": "x"}]}, {"units.0.variant"}),
    ],
)
def test_a_body_that_does_not_fit_names_its_fields(started: Service, step: str, body: Body, fields: set[str]) -> None:
    before = started.stored()
    assert refused_fields(started.admin.post(f"{PATH}/{step}", json=body)) == fields
    assert started.stored() == before


def test_nasty_values_in_steps_are_refused_or_stored_harmlessly(service: Service) -> None:
    service.start(coverage=0.5)
    whole_phase = phase_body(variants=[{"key": "control"}, {"key": "b"}], control="control", targeting={}, coverage=0.5)
    for step, body in (("ramp", ramp_body()), ("phase", whole_phase), ("forced", forced_body())):
        for field in body:
            for value in NASTY:
                text = json.dumps(body | {field: value})
                answer = service.admin.post(f"{PATH}/{step}", data=text, content_type="application/json")
                assert answer.status_code in {200, 400, 409, 422}, f"{step} {field} = {value!r}: {answer.text}"
                if answer.status_code == 200:
                    assert service.admin.get(PATH).get_json() == answer.get_json()
    decode_snapshot(service.admin.get("/snapshot").data)


def test_an_edit_that_would_move_units_says_which_step_does(service: Service) -> None:
    service.start(coverage=0.5)
    for change in ({"coverage": 0.7}, {"targeting": {}}, {"variants": [{"key": "control"}, {"key": "b"}]}):
        answer = service.admin.patch(PATH, json=change, headers={"If-Match": "*"})
        detail = refusal(answer, 409, "CONFLICT")["detail"]
        assert "open a new phase (POST /experiments/rate-display/phase)" in detail
        assert ("ramp to a larger coverage" in detail) == ("coverage" in change)


def test_ramps_at_once_are_all_answered_and_the_largest_stays(service: Service) -> None:
    service.start(coverage=0.01)

    def ramp(number: int) -> int:
        answer = service.admin.post(f"{PATH}/ramp", json=ramp_body(coverage=0.05 * (1 + number * 5 % 12)))
        return answer.status_code

    with ThreadPoolExecutor(12) as threads:
        statuses = Counter(threads.map(ramp, range(12)))
    assert statuses.keys() <= {200, 422}
    assert statuses.total() == 12
    document = service.admin.get(PATH).get_json()
    assert (document["coverage"], document["slots"]) == (0.05 * 12, [[0, 600_000]])
    assert version(service) == 1 + statuses[200]


def test_of_starts_at_once_in_a_full_layer_the_rest_hear_how_much_is_free(service: Service) -> None:
    assert service.admin.post("/layers", json=layer_body()).status_code == 201
    for number in range(4):
        service.define(f"e-{number}", layer="home-page", coverage=0.4)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda number: service.admin.post(f"/experiments/e-{number}/start"), range(4)))
    refused = [answer for answer in answers if answer.status_code == 409]
    assert len(refused) == 2
    for answer in refused:
        detail = refusal(answer, 409, "LAYER_FULL")["detail"]
        assert "asks for 40% of the layer home-page, which has 20% free" in detail
        assert detail.count("holds 40%") == 2


def test_a_forced_units_id_is_nowhere_to_be_read(service: Service) -> None:
    service.start()
    units = [{"unit_id": "+86-138-0013-8000", "variant": "treatment"}]
    with capture_logs() as logs:
        document = take(service, "forced", {"units": units})
        refusal(service.admin.post(f"{PATH}/forced", json={"units": [units[0] | {"variant": "x"}]}), 422)
    (digest,) = document["forced"]
    assert len(digest) == 64
    assert document["forced"][digest] == "treatment"
    snapshot = service.admin.get("/snapshot")
    for text in (json.dumps(document), snapshot.text, str(logs), str(service.stored())):
        assert "138-0013" not in text
    answer = evaluate(decode_snapshot(snapshot.data), "rate-display", "+86-138-0013-8000")
    assert (answer.reason, answer.variant, answer.in_experiment) == ("FORCED", "treatment", False)


# Results, phase by phase


class Clock:
    """A clock that tests can move."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) - timedelta(days=10)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock(service: Service, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The platform's own clock."""
    clock = Clock()
    monkeypatch.setattr(type(service.platform), "now", lambda _: clock())
    return clock


def expose(service: Service, clock: Clock, units: range) -> Counter[str]:
    """Exposures of units by what the snapshot draws for them, and conversions of every second one a minute later."""
    sent = service.admin.get("/snapshot")
    snapshot = decode_snapshot(sent.data)
    exposures, conversions = [], []
    counted: Counter[str] = Counter()
    for number in units:
        answer = evaluate(snapshot, "rate-display", f"u-{number}", ATTRIBUTES)
        assert answer.variant is not None
        counted[answer.variant] += 1
        common = {"unit_id": f"u-{number}", "timestamp": clock.now.isoformat()}
        name = f"{clock.now:%d%H%M}-{number}"
        exposures.append(exposure_body(f"e-{name}", variant=answer.variant, phase=answer.phase, **common))
        if number % 2:
            later = {"timestamp": (clock.now + timedelta(minutes=1)).isoformat()}
            conversions.append(conversion_body(f"c-{name}", **common | later))
    for path, events in (("/exposures", exposures), ("/conversions", conversions)):
        answer = service.admin.post(path, json={"events": events})
        assert answer.get_json()["rejected"] == [], answer.text
    return counted


def results(service: Service, **query: Any) -> Body:
    answer = service.admin.get(f"{PATH}/results", query_string=query)
    assert answer.status_code == 200, answer.text
    document: Body = answer.get_json()
    return document


def test_each_phase_has_the_results_of_its_own_units(service: Service, clock: Clock) -> None:
    service.start(plan={"method": "fixed", "planned_units": 100})
    clock.wait(hours=1)
    first = expose(service, clock, range(100))
    clock.wait(hours=1)
    take(service, "phase", phase_body())
    clock.wait(hours=1)
    everybody = expose(service, clock, range(50, 200))
    clock.wait(days=1)
    present, past = results(service), results(service, phase=1)
    assert (present["phase"], present["alpha"], past["phase"], past["alpha"]) == (2, 0.025, 1, 0.05)
    assert past["health"]["units"] == dict(first)
    assert sum(everybody.values()) == 150
    assert sum(present["health"]["units"].values()) == 100, "those of the first phase are left out"
    assert past["health"]["mismatched_exposures"] == present["health"]["mismatched_exposures"] == 0
    assert any("alpha/2" in reason for reason in present["decision"]["reasons"])
    assert past["decision"]["recommendation"] in {"inconclusive", "invalid"}
    assert any("Phase 1 ended" in reason for reason in past["decision"]["reasons"])
    assert results(service, phase=2) == present
    for phase, look in ((1, past), (2, present)):
        looks = service.admin.get(f"{PATH}/results/looks", query_string={"phase": phase})
        assert looks.get_json()["items"] == [look]
    assert refused_fields(service.admin.get(f"{PATH}/results", query_string={"phase": 3})) == {"phase"}


def test_closing_ends_enrolment_while_windows_run_on(service: Service, clock: Clock) -> None:
    service.start()
    clock.wait(hours=1)
    first = expose(service, clock, range(60))
    clock.wait(hours=1)
    take(service, "close")
    clock.wait(hours=1)
    expose(service, clock, range(40, 120))
    found = results(service)
    assert found["status"] == "closed"
    assert found["health"]["units"] == dict(first), "later first exposures do not count"
    clock.wait(days=31)
    late = results(service)
    (metric,) = late["metrics"]
    assert {each["variant"]: each["units"] for each in metric["variants"]} == dict(first), "all windows have closed"
    # Units with an odd number converted, and those from 40 on once more, which counts no twice.
    assert sum(float(each["sum"]) for each in metric["variants"]) == 30


def test_other_unit_types_are_analysed_by_their_own_ids(service: Service, clock: Clock) -> None:
    service.start(unit_type="device_id", targeting={})
    clock.wait(hours=1)
    snapshot = decode_snapshot(service.admin.get("/snapshot").data)
    variant = evaluate(snapshot, "rate-display", None, {}, units={"device_id": "d-1"}).variant
    when = {"timestamp": clock.now.isoformat(), "units": {"device_id": "d-1"}}
    exposed = service.admin.post("/exposures", json={"events": [exposure_body(variant=variant, **when)]})
    assert exposed.get_json()["rejected"] == [], exposed.text
    bought = service.admin.post("/conversions", json={"events": [conversion_body(unit_id="another", **when)]})
    assert bought.get_json()["rejected"] == [], bought.text
    clock.wait(days=31)
    (metric,) = results(service)["metrics"]
    assert {each["variant"]: float(each["sum"]) for each in metric["variants"]}[variant] == 1
