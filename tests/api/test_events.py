"""Events over HTTP: partial acceptance, clocks, what is kept and what is not (I-3..I-7, P-1)."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.assignment import decode_snapshot, evaluate
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.services import hold_out
from abplatform.services.decode_events import REJECTION_CODES
from abplatform.warehouse.tables import inbox_batch, rejected_event
from tests.api.conftest import Service
from tests.api.documents import Body, ago, conversion_body, exposure_body, holdout_exposure_body
from tests.api.problems import refusal, refused_fields
from tests.builders import a_holdout
from tests.facts import unpack_facts


def kept(service: Service, kind: str) -> list[Any]:
    """The facts that wait in the inbox."""
    with service.platform.database.connect() as connection:
        rows = connection.execute(sa.select(inbox_batch).where(inbox_batch.c.kind == kind).order_by(inbox_batch.c.id))
        return [fact for row in rows for fact in unpack_facts(row.kind, row.payload)]


def exposures(service: Service) -> list[ExposureFact]:
    return kept(service, "exposure")


def conversions(service: Service) -> list[ConversionFact]:
    return kept(service, "conversion")


BAD_EXPOSURES: dict[str, tuple[Any, str]] = {
    "not an object": (7, "BAD_FIELD"),
    "null": (None, "BAD_FIELD"),
    "nothing": ({}, "MISSING_FIELD"),
    "no unit": ({name: value for name, value in exposure_body().items() if name != "unit_id"}, "MISSING_FIELD"),
    "unknown field": (exposure_body(weight=1), "UNKNOWN_FIELD"),
    "number for a unit": (exposure_body(unit_id=12345), "BAD_FIELD"),
    "empty unit": (exposure_body(unit_id=""), "BAD_FIELD"),
    "long unit": (exposure_body(unit_id="u" * 257), "BAD_FIELD"),
    "long event id": (exposure_body("e" * 65), "BAD_FIELD"),
    "empty event id": (exposure_body(""), "BAD_FIELD"),
    "phase as text": (exposure_body(phase="1"), "BAD_FIELD"),
    "phase 0": (exposure_body(phase=0), "BAD_PHASE"),
    "phase 2": (exposure_body(phase=2), "BAD_PHASE"),
    "huge phase": (exposure_body(phase=10**30), "BAD_PHASE"),
    "unknown experiment": (exposure_body(experiment="nothing"), "UNKNOWN_EXPERIMENT"),
    "no experiment key": (exposure_body(experiment="\U0001f600"), "UNKNOWN_EXPERIMENT"),
    "draft": (exposure_body(experiment="draft"), "NOT_STARTED"),
    "archived": (exposure_body(experiment="old"), "EXPERIMENT_ARCHIVED"),
    "unknown variant": (exposure_body(variant="purple"), "UNKNOWN_VARIANT"),
    "nested attribute": (exposure_body(attributes={"channel": {"a": 1}}), "BAD_FIELD"),
    "65 attributes": (exposure_body(attributes={f"a{number}": 1 for number in range(65)}), "BAD_FIELD"),
    "long attribute": (exposure_body(attributes={"channel": "x" * 1025}), "BAD_FIELD"),
    "units in a list": (exposure_body(units=["d-1"]), "BAD_FIELD"),
    "number for another unit": (exposure_body(units={"device_id": 1}), "BAD_FIELD"),
    "empty other unit": (exposure_body(units={"device_id": ""}), "BAD_FIELD"),
    "17 other units": (exposure_body(units={f"type-{number}": "x" for number in range(17)}), "BAD_FIELD"),
    "holdout beside experiment": (exposure_body(holdout="q3"), "BAD_FIELD"),
    "unknown holdout": (holdout_exposure_body(holdout="nothing"), "UNKNOWN_HOLDOUT"),
    "unknown group": (holdout_exposure_body(group="control"), "BAD_FIELD"),
    "holdout as an experiment": (exposure_body(experiment="holdout:q3", variant="open"), "UNKNOWN_EXPERIMENT"),
    "naive time": (exposure_body(timestamp="2026-11-23T01:02:03"), "BAD_TIMESTAMP"),
    "time as a number": (exposure_body(timestamp=1700000000), "BAD_FIELD"),
    "time in words": (exposure_body(timestamp="yesterday"), "BAD_TIMESTAMP"),
    "no such day": (exposure_body(timestamp="2026-02-30T00:00:00Z"), "BAD_TIMESTAMP"),
    "two days ahead": (exposure_body(timestamp=ago(days=-2)), "TIMESTAMP_IN_FUTURE"),
    "year 9999": (exposure_body(timestamp="9999-12-31T23:59:59Z"), "TIMESTAMP_IN_FUTURE"),
    "beyond year 9999": (exposure_body(timestamp="9999-12-31T23:59:59-23:59"), "BAD_TIMESTAMP"),
    "year 1": (exposure_body(timestamp="0001-01-01T00:00:00Z"), "TIMESTAMP_TOO_OLD"),
    "before year 1": (exposure_body(timestamp="0001-01-01T00:00:00+23:59"), "BAD_TIMESTAMP"),
}
BAD_CONVERSIONS: dict[str, tuple[Any, str]] = {
    "no event": ({name: value for name, value in conversion_body().items() if name != "event"}, "MISSING_FIELD"),
    "empty event": (conversion_body(event=""), "BAD_FIELD"),
    "long event": (conversion_body(event="e" * 129), "BAD_FIELD"),
    "word for a value": (conversion_body(value="a lot"), "BAD_VALUE"),
    "truth for a value": (conversion_body(value=True), "BAD_VALUE"),
    "NaN": (conversion_body(value="NaN"), "BAD_VALUE"),
    "infinity": (conversion_body(value="-Infinity"), "BAD_VALUE"),
    "15 digits": (conversion_body(value=10**14), "BAD_VALUE"),
    "7 places": (conversion_body(value="0.0000001"), "BAD_VALUE"),
    "tiny": (conversion_body(value="1e-5000"), "BAD_VALUE"),
    "huge": (conversion_body(value="1e5000"), "BAD_VALUE"),
    "enormous": (conversion_body(value="1E+1000000"), "BAD_VALUE"),
    "digits apart": (conversion_body(value="1_000"), "BAD_VALUE"),
    "blanks around": (conversion_body(value=" 12 "), "BAD_VALUE"),
    "digits of another script": (conversion_body(value="٣"), "BAD_VALUE"),
    "number for another unit": (conversion_body(units={"device_id": 1}), "BAD_FIELD"),
    "long other unit": (conversion_body(units={"device_id": "d" * 257}), "BAD_FIELD"),
    "nested property": (conversion_body(properties={"a": []}), "BAD_FIELD"),
    "exposure": (exposure_body(), "UNKNOWN_FIELD"),
}


@pytest.fixture(name="running")
def _running(service: Service) -> Service:
    service.start()
    service.define("draft")
    service.start("old")
    for step in ("stop", "archive"):
        assert service.admin.post(f"/experiments/old/{step}").status_code == 200
    with service.platform.uow.begin() as work:
        hold_out.create_holdout(work, "default", a_holdout("q3"), now=service.platform.now())
    return service


@pytest.mark.parametrize(
    ("kind", "bad", "make"),
    [("exposures", BAD_EXPOSURES, exposure_body), ("conversions", BAD_CONVERSIONS, conversion_body)],
)
def test_bad_events_are_named_and_do_not_keep_good_ones_out(
    running: Service, kind: str, bad: dict[str, tuple[Any, str]], make: Any
) -> None:
    good = [make(f"good-{number}", unit_id=f"u-{number}") for number in range(50)]
    batch: list[Any] = []
    expected = []
    for number, event in enumerate(good):
        batch.append(event)
        if number < len(bad):
            wrong, code = list(bad.values())[number]
            expected.append((len(batch), code))
            batch.append(wrong)
    report = running.admin.post(f"/{kind}", json={"events": batch})
    assert report.status_code == 202
    document = report.get_json()
    assert document["accepted"] == 50
    assert [(each["index"], each["code"]) for each in document["rejected"]] == expected
    assert document["accepted"] + len(document["rejected"]) == len(batch)
    singular = kind.removesuffix("s")
    assert [fact.event_id for fact in kept(running, singular)] == [event["event_id"] for event in good]
    with running.platform.database.connect() as connection:
        rows = connection.execute(sa.select(rejected_event).order_by(rejected_event.c.id)).all()
    assert [(row.position, row.code) for row in rows] == expected
    assert running.platform.inbox.counters("default", singular)["rejected"] == len(bad)  # type: ignore[arg-type]


def test_every_rejection_code_has_a_case() -> None:
    assert {code for _, code in (BAD_EXPOSURES | BAD_CONVERSIONS).values()} == REJECTION_CODES.keys()


@pytest.mark.parametrize(("kind", "bad"), [("exposures", BAD_EXPOSURES), ("conversions", BAD_CONVERSIONS)])
def test_a_single_bad_event_is_a_422_that_names_the_field_and_counts_as_one_of_a_batch_does(
    running: Service, kind: str, bad: dict[str, tuple[Any, str]]
) -> None:
    expected = []
    for case, (event, code) in bad.items():
        answer = running.admin.post(f"/{kind}", data=json.dumps(event), content_type="application/json")
        assert len(refused_fields(answer)) == 1, case
        # What is no object is no event: the envelope is wrong.
        expected += [(0, code)] if isinstance(event, dict) else []
    singular: Any = kind.removesuffix("s")
    assert kept(running, singular) == []
    with running.platform.database.connect() as connection:
        rows = connection.execute(sa.select(rejected_event).order_by(rejected_event.c.id)).all()
    assert [(row.position, row.code) for row in rows] == expected
    assert running.platform.inbox.counters("default", singular)["rejected"] == len(expected)
    numbers = running.nobody().get("root:/metrics").text
    assert f'abplatform_events_total{{kind="{singular}",outcome="rejected"}} {len(expected)}.0' in numbers


def test_a_refusal_says_what_a_field_must_be_in_the_words_of_json(running: Service) -> None:
    wrong = {
        "unit_id": (exposure_body(unit_id=7), "unit_id: must be a string"),
        "event_id": (exposure_body(event_id=None), "event_id: must be a string"),
        "phase": (exposure_body(phase="1"), "phase: must be a whole number"),
        "units": (exposure_body(units=[]), "units: must be an object"),
        "a unit": (exposure_body(units={"device_id": 7}), "units: each value must be a string"),
        "an attribute": (
            exposure_body(attributes={"a": []}),
            "attributes: each value must be a string, number, boolean or null",
        ),
        "no object": ("e-1", "events: must be objects, one for each event"),
    }
    events = [event for event, _ in wrong.values()]
    rejected = running.admin.post("/exposures", json={"events": events}).get_json()["rejected"]
    assert [each["detail"] for each in rejected] == [sentence for _, sentence in wrong.values()]
    rejected = running.admin.post("/conversions", json={"events": ["purchase"]}).get_json()["rejected"]
    assert rejected[0]["detail"] == "events: must be objects, one for each event", "which is not the field `event`"


def test_a_batch_of_bad_events_only_is_still_an_answer_by_event(running: Service) -> None:
    report = running.admin.post("/exposures", json={"events": [{}, {}]})
    assert (report.status_code, report.get_json()["accepted"], len(report.get_json()["rejected"])) == (202, 0, 2)
    assert running.platform.inbox.pending("default") == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": []}, "events"),
        ({"events": {}}, "events"),
        ({"events": None}, "events"),
        ({"events": [], "sent_at": 1}, "events"),
        ({"events": [exposure_body()], "sent_at": 1}, "sent_at"),
        ({"events": [exposure_body()], "sent_at": None}, "sent_at"),
        ({"events": [exposure_body()], "sent_at": "now"}, "sent_at"),
        ({"events": [exposure_body()], "sent_at": "2026-11-23T01:02:03"}, "sent_at"),
        ({"events": [exposure_body()], "project": "other"}, "project"),
        (exposure_body() | {"sent_at": ago()}, "sent_at"),
    ],
)
def test_a_wrong_envelope_stores_nothing(running: Service, body: Body, field: str) -> None:
    assert refused_fields(running.admin.post("/exposures", json=body)) == {field}
    assert exposures(running) == []


def test_more_than_a_thousand_events_are_a_413(running: Service) -> None:
    batch = [conversion_body(f"c-{number}") for number in range(1001)]
    refusal(running.admin.post("/conversions", json={"events": batch}), 413, "TOO_LARGE")
    assert conversions(running) == []


def test_raw_unit_ids_reach_neither_database_nor_answer(running: Service) -> None:
    phone = "+86-138-0013-8000"
    running.admin.post(
        "/exposures", json={"events": [exposure_body(unit_id=phone), exposure_body("e-2", unit_id=phone, x=1)]}
    )
    running.admin.post("/conversions", json=conversion_body(unit_id=phone, units={"phone": phone}))
    refused = running.admin.post("/exposures", json=exposure_body(unit_id=phone * 30))
    assert phone not in refused.text
    refused = running.admin.post("/exposures", json=exposure_body(units={"phone": phone * 30}))
    assert phone not in refused.text
    for misplaced in ({phone: 1}, {"units": {phone: ""}}, {"experiment": phone}):
        running.admin.post("/exposures", json=exposure_body(**misplaced))
    with running.platform.database.connect() as connection:
        stored = str(connection.execute(sa.select(rejected_event)).all())
    stored += str(exposures(running)) + str(conversions(running))
    assert phone not in stored
    assert exposures(running)[0].unit == conversions(running)[0].unit


def test_only_declared_dimensions_of_an_exposure_are_kept(running: Service) -> None:
    running.admin.post("/exposures", json=exposure_body(attributes={"channel": "app", "phone": "138", "age": 3}))
    assert exposures(running)[0].attributes == {"channel": '"app"'}


def test_the_expected_variant_is_what_the_published_snapshot_draws(running: Service) -> None:
    snapshot = decode_snapshot(running.admin.get("/snapshot").data)
    attributes = {"country": "CN", "app_version": "3.4.1"}
    units = [f"unit {number} \u4e2d" for number in range(200)]
    drawn = {unit: evaluate(snapshot, "rate-display", unit, attributes).variant for unit in units}
    events = [exposure_body(f"e-{unit}", unit_id=unit, variant="control") for unit in units]
    assert running.admin.post("/exposures", json={"events": events}).get_json()["accepted"] == 200
    assert [fact.expected_variant for fact in exposures(running)] == [drawn[unit] for unit in units]
    assert {fact.variant for fact in exposures(running)} == {"control"}
    assert min(Counter(drawn.values()).values()) > 60, "both variants are drawn"


def test_an_external_experiment_takes_any_declared_variant_and_expects_none(service: Service) -> None:
    service.start("imported", assignment="external", covariates=["age"], targeting={})
    event = exposure_body(experiment="imported", attributes={"age": 41, "phone": "138"})
    assert service.admin.post("/exposures", json=event).status_code == 202
    (fact,) = exposures(service)
    assert (fact.expected_variant, fact.attributes) == (None, {"age": "41"})
    assert service.admin.get("/snapshot").get_json()["experiments"] == {}


def test_a_batch_mixes_exposures_of_experiments_and_of_holdouts(running: Service) -> None:
    events = [exposure_body("1"), holdout_exposure_body("2", group="held_out"), exposure_body("3")]
    assert running.admin.post("/exposures", json={"events": events}).get_json() == {"accepted": 3, "rejected": []}
    assert running.admin.post("/exposures", json=holdout_exposure_body("4")).status_code == 202
    named = [(fact.experiment, fact.variant) for fact in exposures(running)]
    assert named == [
        ("rate-display", "treatment"),
        ("holdout:q3", "held_out"),
        ("rate-display", "treatment"),
        ("holdout:q3", "open"),
    ]


def test_exposures_of_a_clustered_experiment_name_their_cluster(service: Service) -> None:
    service.start(
        "villages",
        assignment="external",
        unit_type="village",
        analysis_unit="user_id",
        targeting={},
        plan={"method": "fixed", "planned_units": 100},
    )
    event = exposure_body(experiment="villages")
    assert refused_fields(service.admin.post("/exposures", json=event)) == {"units.village"}
    assert refused_fields(service.admin.post("/exposures", json=event | {"units": {"village": ""}})) == {
        "units.village"
    }
    assert service.admin.post("/exposures", json=event | {"units": {"village": "u-1", "x": "y"}}).status_code == 202
    (fact,) = exposures(service)
    assert fact.cluster is not None
    assert fact.cluster != fact.unit, "a village and a person of the same name are two"


@pytest.mark.parametrize(
    ("offset", "sent_offset", "moved"),
    [
        (timedelta(0), None, timedelta(0)),
        (timedelta(0), timedelta(seconds=30), timedelta(0)),
        (timedelta(minutes=10), timedelta(minutes=10), timedelta(minutes=-10)),
        (timedelta(days=2), timedelta(days=2), timedelta(days=-2)),
        (timedelta(hours=-3), timedelta(hours=-3), timedelta(hours=3)),
    ],
)
def test_sent_at_corrects_a_wrong_clock_beyond_a_minute(
    running: Service, offset: timedelta, sent_offset: timedelta | None, moved: timedelta
) -> None:
    now = datetime.now(UTC)
    body: Body = {"events": [conversion_body(timestamp=(now + offset).isoformat())]}
    if sent_offset is not None:
        body["sent_at"] = (now + sent_offset).isoformat()
    assert running.admin.post("/conversions", json=body).get_json()["accepted"] == 1
    (fact,) = conversions(running)
    assert fact.sent_timestamp == now + offset
    assert abs(fact.timestamp - (now + offset + moved)) < timedelta(seconds=5)


def test_late_events_and_leap_seconds_are_taken(running: Service) -> None:
    events = [
        conversion_body("late", timestamp=ago(days=7)),
        conversion_body("leap", timestamp="2025-12-31T23:59:60Z"),
        conversion_body("offset", timestamp="2026-01-01T07:59:59.123456789+08:00"),
        conversion_body("lower", timestamp="2026-01-01t00:00:00z"),
    ]
    assert running.admin.post("/conversions", json={"events": events}).get_json()["rejected"] == []
    times = {fact.event_id: fact.timestamp for fact in conversions(running)}
    assert times["leap"] == datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert times["offset"] == datetime(2025, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)


def test_amounts_of_money_are_kept_exactly(running: Service) -> None:
    written = ["99999999999999.999999", "0.1", "-0.000001", "12345678901234.123456", "0", "1e3"]
    as_numbers = ",".join(
        f'{{"event_id":"n-{index}","event":"p","unit_id":"u","timestamp":"{ago()}","value":{text}}}'
        for index, text in enumerate(written)
    )
    answer = running.admin.post("/conversions", data=f'{{"events":[{as_numbers}]}}', content_type="application/json")
    assert answer.get_json()["rejected"] == []
    as_texts = [conversion_body(f"t-{index}", value=text) for index, text in enumerate(written)]
    assert running.admin.post("/conversions", json={"events": as_texts}).get_json()["rejected"] == []
    assert [fact.value for fact in conversions(running)] == [Decimal(text) for text in written] * 2


def test_a_paused_a_closed_and_a_stopped_experiment_still_take_late_exposures(running: Service) -> None:
    for number, step in enumerate(["pause", "resume", "close", "stop"]):
        running.admin.post(f"/experiments/rate-display/{step}")
        assert running.admin.post("/exposures", json=exposure_body(f"e-{number}")).status_code == 202
    running.admin.post("/experiments/rate-display/archive")
    assert refused_fields(running.admin.post("/exposures", json=exposure_body("e-9"))) == {"experiment"}


def test_an_experiment_takes_exposures_from_the_moment_of_its_start(service: Service) -> None:
    service.define()
    assert refused_fields(service.admin.post("/exposures", json=exposure_body())) == {"experiment"}
    service.admin.post("/experiments/rate-display/start")
    assert service.admin.post("/exposures", json=exposure_body()).status_code == 202


def test_accepted_events_are_counted_for_operators(running: Service) -> None:
    running.admin.post("/exposures", json={"events": [exposure_body(), {}, exposure_body("e-2")]})
    text = running.nobody().get("root:/metrics").text
    assert 'abplatform_events_total{kind="exposure",outcome="accepted"} 2.0' in text
    assert 'abplatform_events_total{kind="exposure",outcome="rejected"} 1.0' in text
    assert 'abplatform_inbox_pending{project="default"} 2.0' in text
