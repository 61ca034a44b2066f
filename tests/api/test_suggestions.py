"""Refusals that say what may be meant: of fields, variants, metrics, experiments, and methods."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.conftest import Service
from tests.api.documents import (
    Body,
    conversion_body,
    decision_body,
    experiment_body,
    exposure_body,
    holdout_body,
    holdout_exposure_body,
    metric_body,
)
from tests.api.problems import refusal


@pytest.fixture(scope="module", name="prepared")
def _prepared(shared_service: Service) -> Service:
    shared_service.start()
    shared_service.define("draft")
    assert shared_service.admin.post("/layers", json={"key": "homes", "name": "Homes"}).status_code == 201
    assert shared_service.admin.post("/holdouts", json=holdout_body("q3")).status_code == 201
    return shared_service


def changed(**changes: Any) -> Body:
    return experiment_body("other", **changes)


FIELDS = [
    ("/experiments", changed(hypotesis="x"), "hypotesis", "is not a field here; did you mean 'hypothesis'?"),
    (
        "/experiments",
        changed(variants=[{"key": "control"}, {"key": "treatment", "wieght": 2}]),
        "variants.1.wieght",
        "is not a field here; did you mean 'weight'?",
    ),
    (
        "/experiments",
        changed(plan={"planned_units": 100, "prior": {"scael": 1}}),
        "plan.prior.scael",
        "is not a field here; did you mean 'scale'?",
    ),
    ("/assignments", {"unit_id": "u", "x": 1}, "x", "is not a field here; there is 'unit_id', 'units', 'attributes', "),
    ("/experiments", changed(_schema=1), "", "is not a field here"),
    ("/experiments", changed(plan={"planned_units": 100, "_schema": 1}), "plan", "is not a field here"),
    (
        "/experiments",
        changed(variants=[{"key": "control", "_schema": 1}, {"key": "treatment"}]),
        "variants.0",
        "is not a field here",
    ),
    ("/experiments", changed(metrics=[{"metric": "purchase", "_schema": 1}]), "metrics.0", "is not a field here"),
    ("/experiments", changed(prerequisites=[{"_schema": 1}]), "prerequisites.0", "is not a field here"),
    ("/experiments", changed(control="nobody"), "control", "one of the variants; there is 'control', 'treatment'"),
    (
        "/experiments",
        changed(metrics=[{"metric": "purchas", "role": "primary"}]),
        "metrics.0.metric",
        "there is no metric 'purchas'; did you mean 'purchase'?",
    ),
    ("/experiments", changed(layer="home"), "layer", "there is no layer 'home'; did you mean 'homes'?"),
    ("/experiments", changed(layer="zzz"), "layer", "there is no layer 'zzz'; there is 'homes'"),
    (
        "/holdouts",
        {"key": "h", "name": "H", "share": 0.05, "layers": ["hoems"]},
        "layers.0",
        "there is no layer 'hoems'; did you mean 'homes'?",
    ),
    (
        "/experiments",
        changed(prerequisites=[{"experiment": "rate-dispaly", "variants": ["treatment"]}]),
        "prerequisites.0.experiment",
        "there is no experiment 'rate-dispaly' that is served here; did you mean 'rate-display'?",
    ),
    (
        "/experiments",
        changed(prerequisites=[{"experiment": "rate-display", "variants": ["b"]}]),
        "prerequisites.0.variants.0",
        "'rate-display' has no variant 'b'; there is 'control', 'treatment'",
    ),
    (
        "/experiments/rate-display/decide",
        decision_body(outcome="ship", variant="b"),
        "variant",
        "must be the key of the variant that ships, one of 'control', 'treatment'",
    ),
    (
        "/exposures",
        exposure_body(variant="treatmnt"),
        "variant",
        "the experiment has no variant of that key in that phase; did you mean 'treatment'?",
    ),
    (
        "/exposures",
        {name: value for name, value in exposure_body(unitid="u").items() if name != "unit_id"},
        "unitid",
        "is not a field of such an event; did you mean 'unit_id'?",
    ),
    ("/exposures", exposure_body(experimnt="x"), "experimnt", "did you mean 'experiment'?"),
    (
        "/conversions",
        conversion_body(x=1),
        "x",
        "such an event; there is 'event_id', 'event', 'timestamp', 'unit_id', ",
    ),
    (
        "/exposures",
        exposure_body(experiment="rate-dispaly"),
        "experiment",
        "there is no experiment of that key; did you mean 'rate-display'?",
    ),
    ("/exposures", exposure_body(experiment="drft"), "experiment", "of that key; there is 'rate-display'"),
    ("/exposures", holdout_exposure_body(holdout="q33"), "holdout", "no holdout of that key; did you mean 'q3'?"),
]


@pytest.mark.parametrize(("path", "body", "field", "sentence"), FIELDS)
def test_a_refused_name_comes_with_what_there_is(
    unchanged: Service, path: str, body: Body, field: str, sentence: str
) -> None:
    (message,) = refusal(unchanged.admin.post(path, json=body), 422)["errors"][field]
    assert sentence in message


def test_a_query_has_suggestions_too(unchanged: Service) -> None:
    errors = refusal(unchanged.admin.get("/experiments?limt=3"), 422)["errors"]
    assert errors == {"limt": ["is not a field here; did you mean 'limit'?"]}


def test_only_the_first_of_many_unknown_fields_are_compared(unchanged: Service) -> None:
    body = metric_body() | {f"nam{number}": 1 for number in range(1000)} | {"name" * 10_000: 1}
    errors = refusal(unchanged.admin.post("/metrics", data=json.dumps(body), content_type="application/json"), 422)
    suggested = [messages for messages in errors["errors"].values() if "did you mean 'name'" in messages[0]]
    assert len(errors["errors"]) == 1001
    assert len(suggested) == 5


def test_only_the_first_of_many_wrong_names_of_a_definition_are_compared(unchanged: Service) -> None:
    uses = [{"metric": f"purchas-{number}", "role": "primary"} for number in range(60)]
    errors = refusal(unchanged.admin.post("/experiments", json=changed(metrics=uses)), 422)["errors"]
    assert sum("did you mean 'purchase'" in messages[0] for messages in errors.values()) == 5


@pytest.mark.parametrize(
    ("wrong", "code", "meant"),
    [
        ({"variant": "treatmnt"}, "UNKNOWN_VARIANT", "treatment"),
        ({"experiment": "rate-dispaly"}, "UNKNOWN_EXPERIMENT", "rate-display"),
        ({"unitid": "u"}, "UNKNOWN_FIELD", "unit_id"),
    ],
)
def test_only_the_first_bad_events_of_a_batch_are_compared(
    prepared: Service, wrong: Body, code: str, meant: str
) -> None:
    events = [exposure_body(f"s-{number}", **wrong) for number in range(60)]
    rejected = prepared.admin.post("/exposures", json={"events": events}).json["rejected"]
    assert sum(f"did you mean '{meant}'" in each["detail"] for each in rejected) == 5
    assert {each["code"] for each in rejected} == {code}


def test_a_key_that_is_not_there_comes_with_the_one_that_is_meant(prepared: Service) -> None:
    for path in ("/experiments/rate-dispaly", "/experiments/rate-dispaly/results"):
        detail = refusal(prepared.admin.get(path), 404, "NOT_FOUND")["detail"]
        assert detail == "there is no experiment 'rate-dispaly'; did you mean 'rate-display'?"
    other = prepared.caller("admin", "other").get("/experiments/rate-dispaly")
    assert refusal(other, 404)["detail"] == "there is no experiment 'rate-dispaly'", "of its own project only"


def test_a_method_that_an_address_does_not_take_names_those_that_it_takes(unchanged: Service) -> None:
    answer = unchanged.admin.call("PUT", "/experiments/rate-display", json={})
    detail = refusal(answer, 405, "METHOD_NOT_ALLOWED")["detail"]
    assert detail == "this address takes no PUT, but DELETE, GET, HEAD, OPTIONS, PATCH"
