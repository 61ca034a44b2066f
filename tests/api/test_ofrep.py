"""Flags over the OpenFeature Remote Evaluation Protocol: answers, refusals, exposures, ETags."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from abplatform.api.app import create_app
from abplatform.assignment import decode_snapshot, evaluate
from abplatform.database import open_database
from abplatform.domain.access import KeyRole
from abplatform.domain.events import ExposureFact
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.tables import inbox_batch
from tests.api.conftest import Caller, Service
from tests.api.documents import Body
from tests.api.problems import refusal
from tests.api.test_malformed_bodies import CONTENT_TYPES, PACKED, UNREADABLE, BrokenStream
from tests.api.test_nasty_values import NASTY, leaves, replaced
from tests.facts import unpack_facts

ALL = "root:/ofrep/v1/evaluate/flags"
LOG = "Abplatform-Log-Exposure"
IN = {"country": "CN", "app_version": "3.4.1", "channel": "douyin"}


def ask(caller: Caller, key: str | None = "rate-display", headers: Any = None, **context: Any) -> TestResponse:
    """One flag of a unit; all of them for the key None."""
    path = ALL if key is None else f"{ALL}/{key}"
    return caller.post(path, json={"context": {"targetingKey": "u-1", **context}}, headers=headers)


def failure(response: TestResponse, status: int, code: str, key: str | None = None) -> str:
    """The details of an OpenFeature error, checked for its shape."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    document: Body = response.get_json()
    assert document.keys() == {"errorCode", "errorDetails"} | (set() if key is None else {"key"})
    assert (document["errorCode"], document.get("key")) == (code, key)
    assert document["errorDetails"]
    return str(document["errorDetails"])


def kept(service: Service) -> list[ExposureFact]:
    with service.platform.database.connect() as connection:
        rows = connection.execute(sa.select(inbox_batch).order_by(inbox_batch.c.id))
        return [fact for row in rows for fact in unpack_facts(row.kind, row.payload) if isinstance(fact, ExposureFact)]


@pytest.fixture(name="running")
def _running(service: Service) -> Service:
    service.start()
    return service


@pytest.fixture(scope="module", name="prepared")
def _prepared(shared_service: Service) -> Service:
    shared_service.start()
    shared_service.define("draft")
    return shared_service


def test_a_flag_is_answered_with_what_the_published_snapshot_gives(running: Service) -> None:
    snapshot = decode_snapshot(running.admin.get("/snapshot").data)
    for number in range(20):
        unit = f"unit {number} \u4e2d"
        expected = evaluate(snapshot, "rate-display", unit, IN)
        answer = ask(running.caller("sdk"), targetingKey=unit, **IN)
        assert answer.status_code == 200
        assert answer.get_json() == {
            "key": "rate-display",
            "value": expected.payload,
            "reason": "SPLIT",
            "variant": expected.variant,
            "metadata": {"experiment": "rate-display", "reason": "ASSIGNED", "in_experiment": True, "phase": 1},
        }


def test_a_field_of_the_payload_is_a_flag(running: Service) -> None:
    document = ask(running.admin, "rate-display.copy", **IN).get_json()
    assert document["key"] == "rate-display.copy"
    assert document["value"] in {"3.5% a year", "10,000 earns 350 in a year"}


def test_without_a_value_the_member_is_absent(service: Service) -> None:
    variants = [{"key": "control"}, {"key": "treatment", "payload": {"copy": "10,000"}}]
    service.start("copy", variants=variants, targeting={"vip": True})
    document = ask(service.admin, "copy").get_json()
    assert (document["variant"], document["reason"], document["metadata"]["reason"]) == (
        "control",
        "DEFAULT",
        "NOT_TARGETED",
    )
    assert "value" not in document


@pytest.mark.parametrize(
    "key", ["nothing", "rate-display.nothing", "draft", "a/b", "%20", "\u4e2d", "x" * 5000, "a..b"]
)
def test_an_unknown_flag_is_a_404_that_names_it(prepared: Service, key: str) -> None:
    named = {"%20": " "}.get(key, key)
    failure(ask(prepared.admin, key), 404, "FLAG_NOT_FOUND", named)


@pytest.mark.parametrize("key", ["rate-display", None])
@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        (None, "PARSE_ERROR", "object"),
        ([], "PARSE_ERROR", "object"),
        ("x", "PARSE_ERROR", "object"),
        ({"context": []}, "INVALID_CONTEXT", "context"),
        ({"context": "u-1"}, "INVALID_CONTEXT", "context"),
        ({"context": {"targetingKey": 7}}, "INVALID_CONTEXT", "context.targetingKey"),
        ({"context": {"targetingKey": "u" * 257}}, "INVALID_CONTEXT", "context.targetingKey"),
        ({"context": {"units": {"device_id": 7}}}, "INVALID_CONTEXT", "context.units.device_id"),
    ],
)
def test_a_body_of_another_shape_is_named(unchanged: Service, key: str | None, body: Any, code: str, word: str) -> None:
    path = ALL if key is None else f"{ALL}/{key}"
    assert word in failure(unchanged.admin.post(path, json=body), 400, code, key)


@pytest.mark.parametrize("body", [{}, {"context": None}, {"context": {}}, {"context": {"targetingKey": ""}}])
def test_without_a_targeting_key_one_flag_is_refused_and_all_say_so_in_their_places(
    unchanged: Service, body: Body
) -> None:
    details = failure(
        unchanged.admin.post(f"{ALL}/rate-display", json=body), 400, "TARGETING_KEY_MISSING", "rate-display"
    )
    assert "user_id" in details
    together = unchanged.admin.post(ALL, json=body)
    assert together.status_code == 200
    assert {flag["errorCode"] for flag in together.get_json()["flags"]} == {"TARGETING_KEY_MISSING"}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, 'context: is missing; send {"context": {"targetingKey": "..."}} with the id of the unit type user_id'),
        ({"targetingKey": "u-1", "country": "CN"}, "context: is missing"),
        ({"context": None}, "context: is missing"),
        ({"context": {}}, "context.targetingKey: is missing or empty; it must be the id of the unit type user_id"),
        ({"context": {"targetingKey": ""}}, "context.targetingKey: is missing or empty"),
    ],
)
def test_where_the_id_belongs_is_said(unchanged: Service, body: Body, sentence: str) -> None:
    one = unchanged.admin.post(f"{ALL}/rate-display", json=body)
    assert failure(one, 400, "TARGETING_KEY_MISSING", "rate-display").startswith(sentence)
    for flag in unchanged.admin.post(ALL, json=body).get_json()["flags"]:
        assert flag["errorDetails"].startswith(sentence)


def test_where_the_id_of_another_unit_type_belongs_is_said(service: Service) -> None:
    service.start("by-device", unit_type="device_id", targeting={})
    path = f"{ALL}/by-device"
    details = failure(service.admin.post(path, json={}), 400, "TARGETING_KEY_MISSING", "by-device")
    assert details.startswith('context: is missing; send {"context": {"units": {"device_id": "..."}}} with')
    details = failure(ask(service.admin, "by-device"), 400, "TARGETING_KEY_MISSING", "by-device")
    assert details.startswith("context.units.device_id: is missing or empty; it must be")


def test_a_flag_that_is_not_published_says_why(service: Service) -> None:
    service.define("draft")
    service.define("imported", assignment="external")
    service.start("gone")
    for step in ("stop", "archive"):
        assert service.admin.post(f"/experiments/gone/{step}").status_code == 200
    service.start()
    said = {
        "draft": "draft is a draft: start it first, ",
        "draft.copy": "draft is a draft: start it first, ",
        "imported": "imported has external assignment",
        "gone": "gone is archived",
        "rate-dispaly.copy": "no experiment of that key is published; did you mean 'rate-display'?",
    }
    for key, sentence in said.items():
        assert failure(ask(service.admin, key), 404, "FLAG_NOT_FOUND", key).startswith(sentence)
    stranger = ask(service.caller("sdk", "other"), "draft")
    assert failure(stranger, 404, "FLAG_NOT_FOUND", "draft") == "no experiment of that key is published"


def test_fields_beside_the_context_are_left_to_later_versions_of_the_protocol(unchanged: Service) -> None:
    body = {"context": {"targetingKey": "u-1"}, "later": [1]}
    assert unchanged.admin.post(ALL, json=body).status_code == 200


@pytest.mark.parametrize("key", ["rate-display", None])
def test_hostile_bodies_are_refused(unchanged: Service, key: str | None) -> None:
    path, valid = ALL if key is None else f"{ALL}/{key}", json.dumps({"context": {"targetingKey": "u-1"}}).encode()
    for name, make in UNREADABLE.items():
        answer = unchanged.admin.post(path, data=make(valid), content_type="application/json")
        assert answer.status_code == 400, name
        failure(answer, 400, "PARSE_ERROR", key)
    for name, (encoding, make, status) in PACKED.items():
        headers = {"Content-Encoding": encoding}
        answer = unchanged.admin.post(path, data=make(valid), content_type="application/json", headers=headers)
        assert answer.status_code == status, name
    for content_type in CONTENT_TYPES:
        refusal(unchanged.admin.post(path, data=valid, content_type=content_type), 415, "UNSUPPORTED_MEDIA")
    large = valid.ljust(1_000_001)
    refusal(unchanged.admin.post(path, data=large, content_type="application/json"), 413, "TOO_LARGE")
    failure(unchanged.admin.post(path), 400, "PARSE_ERROR", key)
    broken = {"wsgi.input": BrokenStream(ValueError("invalid chunk header")), "wsgi.input_terminated": True}
    headers = {"Transfer-Encoding": "chunked"}
    answer = unchanged.admin.post(path, content_type="application/json", headers=headers, environ_overrides=broken)
    failure(answer, 400, "PARSE_ERROR", key)


def test_a_nasty_value_anywhere_is_refused_or_evaluated(unchanged: Service) -> None:
    context = {"targetingKey": "u-1", "units": {"device_id": "d-1"}, "home": {"city": "SH"}, "tags": ["a"], **IN}
    refused = 0
    for number, (place, value) in enumerate(product(leaves({"context": context}), NASTY)):
        path = (ALL, f"{ALL}/rate-display")[number % 2]
        body = json.dumps(replaced({"context": context}, place, value))
        answer = unchanged.admin.post(path, data=body, content_type="application/json", headers={LOG: "false"})
        assert answer.status_code in {200, 400}, (place, value, answer.text)
        refused += answer.status_code == 400
    assert refused > 100


def test_a_nasty_value_is_logged_harmlessly_and_can_be_sealed(running: Service) -> None:
    for number, value in enumerate(NASTY):
        assert ask(running.admin, targetingKey=f"u-{number}", **IN | {"channel": value}).status_code == 200
        named = ask(running.admin, **IN | {"targetingKey": value})
        assert named.status_code in {200, 400}
    assert len(kept(running)) >= len(NASTY)
    running.platform.seal("default")
    assert running.platform.inbox.pending("default") == 0


@pytest.mark.parametrize("role", ["sdk", "admin"])
def test_the_key_may_come_in_either_header(running: Service, role: KeyRole) -> None:
    nobody, secret = running.nobody(), running.caller(role).secret or ""
    for headers in ({"Authorization": f"Bearer {secret}"}, {"X-API-Key": secret}):
        for key in ("rate-display", None):
            assert ask(nobody, key, headers).status_code == 200
    refusal(ask(nobody, headers={"X-API-Key": secret, "Authorization": "Bearer wrong"}), 401, "UNAUTHENTICATED")
    refusal(ask(nobody, headers={"X-API-Key": ""}), 401, "UNAUTHENTICATED")
    refusal(ask(nobody, headers={"X-API-Key": secret + "x"}), 401, "UNAUTHENTICATED")
    refusal(nobody.get("/snapshot", headers={"X-API-Key": secret}), 401, "UNAUTHENTICATED")


def test_another_project_has_its_own_flags(running: Service) -> None:
    stranger = running.caller("sdk", "other")
    failure(ask(stranger), 404, "FLAG_NOT_FOUND", "rate-display")
    assert ask(stranger, None).get_json() == {"flags": [], "metadata": {"project": "other", "version": 0}}


def test_all_flags_are_the_single_ones_with_errors_in_their_places(running: Service) -> None:
    running.start("plain", variants=[{"key": "control"}, {"key": "treatment"}])
    document = ask(running.admin, None, **IN).get_json()
    assert [flag["key"] for flag in document["flags"]] == ["plain", "rate-display", "rate-display.copy"]
    for flag in document["flags"]:
        assert flag == ask(running.admin, flag["key"], **IN).get_json()
    assert document["flags"][0]["value"] == document["flags"][0]["variant"], "without payloads the variant's key"
    assert document["metadata"] == {"project": "default", "version": 2}


def test_all_flags_are_not_sent_again_while_nothing_has_changed_for_the_unit(running: Service) -> None:
    first = ask(running.admin, None, **IN)
    known = {"If-None-Match": first.headers["ETag"]}
    again = ask(running.admin, None, known, **IN)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert ask(running.admin, None, {"If-None-Match": f'"x", W/{first.headers["ETag"]}'}, **IN).status_code == 304
    reordered = dict(reversed(list(IN.items())))
    assert ask(running.admin, None, known, **reordered).status_code == 304
    assert ask(running.admin, None, known, targetingKey="u-2", **IN).status_code == 200
    assert ask(running.admin, None, known, **IN | {"country": "HK"}).status_code == 200
    assert ask(running.admin, None, known | {LOG: "true"}, **IN).status_code == 200
    assert ask(running.caller("sdk", "other"), None, known, **IN).status_code == 200
    running.admin.post("/experiments/rate-display/pause")
    paused = ask(running.admin, None, known, **IN)
    assert paused.status_code == 200
    assert {flag["reason"] for flag in paused.get_json()["flags"]} == {"DISABLED"}


def test_a_single_answer_logs_its_exposure_and_all_together_log_none(running: Service) -> None:
    ask(running.admin, None, **IN)
    assert kept(running) == []
    variant = ask(running.admin, **IN).get_json()["variant"]
    (fact,) = kept(running)
    assert (fact.experiment, fact.phase, fact.variant, fact.expected_variant) == ("rate-display", 1, variant, variant)
    assert fact.attributes == {"channel": '"douyin"'}
    ask(running.admin, "rate-display.copy", **IN)
    assert len(kept(running)) == 1, "another field of the same experiment is the same exposure"


def test_the_header_decides_whether_exposures_are_logged(running: Service) -> None:
    ask(running.admin, headers={LOG: "false"}, **IN)
    ask(running.admin, None, {LOG: "false"}, **IN)
    assert kept(running) == []
    tag = ask(running.admin, None, {LOG: "true"}, **IN).headers["ETag"]
    assert [fact.experiment for fact in kept(running)] == ["rate-display"]
    again = ask(running.admin, None, {LOG: "true", "If-None-Match": tag}, **IN)
    assert (again.status_code, len(kept(running))) == (304, 1)


@pytest.mark.parametrize("value", ["", "True", "1", "yes", "true,false", " true x"])
def test_a_switch_that_is_neither_is_named(unchanged: Service, value: str) -> None:
    for key in ("rate-display", None):
        assert LOG in failure(ask(unchanged.admin, key, {LOG: value}, **IN), 400, "GENERAL", key)


def test_what_exposes_nobody_is_not_logged(running: Service) -> None:
    ask(running.admin, country="US")
    ask(running.admin, "nothing", **IN)
    ask(running.admin, "rate-display.nothing", **IN)
    ask(running.admin, targetingKey="", **IN)
    assert kept(running) == []


def test_results_count_the_units_that_were_evaluated_here(running: Service) -> None:
    for number in range(40):
        ask(running.admin, targetingKey=f"u-{number}", **IN)
    health = running.admin.get("/experiments/rate-display/results").get_json()["health"]
    assert sum(health["units"].values()) == 40
    assert health["mismatched_exposures"] == 0


def test_a_full_disk_costs_the_exposure_and_not_the_answer(running: Service, tmp_path: Path) -> None:
    broken = open_database(f"sqlite:///{tmp_path}")  # a folder: it cannot be opened
    app = create_app(replace(running.platform, inbox=Inbox(broken)))
    failing = Caller(app, running.admin.secret)
    assert ask(failing, **IN).get_json() == ask(running.admin, headers={LOG: "false"}, **IN).get_json()
    assert ask(failing, None, {LOG: "true"}, **IN).status_code == 200
    numbers = app.extensions["abplatform_telemetry"].render(running.platform.inbox, [], now=running.platform.now())
    assert b'abplatform_events_total{kind="exposure",outcome="lost"} 2.0' in numbers
    assert kept(running) == []
    broken.dispose()


def test_exposures_of_holdouts_are_logged_in_both_groups(service: Service) -> None:
    holdout = {"key": "q3", "name": "Third quarter", "unit_type": "user_id", "share": 0.5}
    assert service.admin.post("/holdouts", json=holdout).status_code == 201
    service.start(targeting={})
    for number in range(20):
        ask(service.admin, targetingKey=f"u-{number}")
    facts = kept(service)
    held = [fact for fact in facts if fact.experiment == "holdout:q3"]
    assert {fact.variant for fact in held} == {"held_out", "open"}
    assert all(fact.variant == fact.expected_variant for fact in facts)
    entered = {fact.unit for fact in facts if fact.experiment == "rate-display"}
    assert {fact.unit for fact in held if fact.variant == "open"} == entered
    assert len(held) == len({fact.unit for fact in held}) == 20


def test_an_experiment_on_devices_is_drawn_and_counted_by_the_devices_id(service: Service) -> None:
    service.start("by-device", unit_type="device_id", targeting={})
    assert "device_id" in failure(ask(service.admin, "by-device"), 400, "TARGETING_KEY_MISSING", "by-device")
    for context in ({"units": {"device_id": "d-1"}}, {"device_id": "d-2"}):
        assert ask(service.admin, "by-device", **context).status_code == 200
    assert [fact.variant == fact.expected_variant for fact in kept(service)] == [True, True]
    assert len({fact.unit for fact in kept(service)}) == 2
    anonymous = ask(service.admin, "by-device", targetingKey="", device_id="d-3")
    assert anonymous.status_code == 200
    assert len(kept(service)) == 3, "before the login, too"
