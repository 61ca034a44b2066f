"""Evaluation over HTTP, for products without an SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abplatform.assignment import decode_snapshot, evaluate
from tests.api.conftest import Service
from tests.api.documents import Body
from tests.api.problems import refusal, refused_fields
from tests.api.test_malformed_bodies import CONTENT_TYPES, PACKED, UNREADABLE, WRONG_SHAPE
from tests.api.test_nasty_values import NASTY, leaves, replaced
from tests.api.test_ofrep import IN, kept

FIELDS = {"variant", "payload", "in_experiment", "reason", "phase"}


def call_body(**changes: Any) -> Body:
    return {"unit_id": "u-1", "attributes": IN} | changes


@pytest.fixture(name="running")
def _running(service: Service) -> Service:
    service.start()
    service.start("plain", variants=[{"key": "control"}, {"key": "treatment"}], targeting={})
    return service


@pytest.fixture(scope="module", name="prepared")
def _prepared(shared_service: Service) -> Service:
    shared_service.start()
    return shared_service


def test_a_unit_gets_what_the_published_snapshot_gives(running: Service) -> None:
    snapshot = decode_snapshot(running.admin.get("/snapshot").data)
    answer = running.caller("sdk").post("/assignments", json=call_body(unit_id="\u4e2d"))
    assert answer.status_code == 200
    assert answer.get_json() == {
        "assignments": {
            key: {name: getattr(evaluate(snapshot, key, "\u4e2d", IN), name) for name in FIELDS}
            for key in ("plain", "rate-display")
        }
    }


def test_only_the_experiments_that_are_asked_for_are_answered_unknown_ones_too(running: Service) -> None:
    running.define("draft")
    wanted = ["rate-display", "draft", "", "a b\u4e2d", "rate-display"]
    assignments = running.admin.post("/assignments", json=call_body(experiments=wanted)).get_json()["assignments"]
    assert assignments.keys() == set(wanted)
    assert assignments["rate-display"]["reason"] == "ASSIGNED"
    unknown = {"variant": None, "payload": None, "in_experiment": False, "reason": "UNKNOWN_EXPERIMENT", "phase": None}
    assert [assignments[key] for key in wanted[1:4]] == [unknown] * 3
    assert running.admin.post("/assignments", json=call_body(experiments=[])).get_json() == {"assignments": {}}


def test_a_call_may_have_no_id_of_the_default_type(running: Service) -> None:
    assignments = running.admin.post("/assignments", json={"unit_id": None}).get_json()["assignments"]
    assert {one["reason"] for one in assignments.values()} == {"NO_UNIT"}


def test_exposures_are_logged_only_on_request(running: Service) -> None:
    running.admin.post("/assignments", json=call_body())
    running.admin.post("/assignments", json=call_body(log_exposure=False))
    assert kept(running) == []
    running.admin.post("/assignments", json=call_body(log_exposure=True, experiments=["plain", "nothing"]))
    running.admin.post("/assignments", json=call_body(log_exposure=True))
    assert [fact.experiment for fact in kept(running)] == ["plain", "rate-display"]
    assert {fact.unit for fact in kept(running)} == {kept(running)[0].unit}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"unit_id": ""}, "unit_id"),
        ({"unit_id": "u" * 257}, "unit_id"),
        ({"unit_id": 7}, "unit_id"),
        ({"units": []}, "units"),
        ({"units": {"device_id": 7}}, "units.device_id"),
        ({"units": {"device_id": ""}}, "units.device_id"),
        ({"units": {"device_id": None}}, "units.device_id"),
        ({"attributes": None}, "attributes"),
        ({"attributes": ["CN"]}, "attributes"),
        ({"experiments": "rate-display"}, "experiments"),
        ({"experiments": [7]}, "experiments.0"),
        ({"experiments": ["x"] * 1001}, "experiments"),
        ({"log_exposure": "true"}, "log_exposure"),
        ({"log_exposure": 1}, "log_exposure"),
        ({"user_id": "u-1"}, "user_id"),
    ],
)
def test_a_wrong_field_is_named(prepared: Service, changes: Body, field: str) -> None:
    assert refused_fields(prepared.admin.post("/assignments", json=call_body(**changes))) == {field}
    assert refused_fields(prepared.admin.post("/assignments", json={})) == {"unit_id"}


def test_hostile_bodies_are_refused(prepared: Service) -> None:
    valid = json.dumps(call_body(log_exposure=True)).encode()
    before = prepared.stored()
    for make in UNREADABLE.values():
        answer = prepared.admin.post("/assignments", data=make(valid), content_type="application/json")
        refusal(answer, 400, "UNREADABLE")
    for encoding, make, status in PACKED.values():
        headers = {"Content-Encoding": encoding}
        answer = prepared.admin.post("/assignments", data=make(valid), content_type="application/json", headers=headers)
        refusal(answer, status)
    for data, field in WRONG_SHAPE.values():
        answer = prepared.admin.post("/assignments", data=data, content_type="application/json")
        assert refused_fields(answer) in ({field}, {field, "unit_id"})
    for content_type in CONTENT_TYPES:
        answer = prepared.admin.post("/assignments", data=valid, content_type=content_type)
        refusal(answer, 415, "UNSUPPORTED_MEDIA")
    answer = prepared.admin.post("/assignments", data=valid.ljust(1_000_001), content_type="application/json")
    refusal(answer, 413, "TOO_LARGE")
    assert prepared.stored() == before


def test_a_nasty_value_anywhere_is_refused_by_name_or_evaluated(prepared: Service) -> None:
    body = call_body(
        units={"device_id": "d-1"},
        experiments=["rate-display"],
        attributes=IN | {"home": {"city": "SH"}, "tags": ["a"]},
        log_exposure=False,
    )
    answered = 0
    for place in leaves(body):
        for value in NASTY:
            text = json.dumps(replaced(body, place, value))
            answer = prepared.admin.post("/assignments", data=text, content_type="application/json")
            if answer.status_code == 200:
                answered += 1
            elif answer.status_code == 422:
                assert all(named.startswith(str(place[0])) for named in refused_fields(answer))
            else:
                refusal(answer, 400, "UNREADABLE")
    assert answered > 200
