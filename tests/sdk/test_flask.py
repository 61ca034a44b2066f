"""The Flask extension: one client per application, one unit per request, no trouble for the request."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from abplatform_sdk import middleware, testing
from abplatform_sdk.flask import Experiments, Unit
from abplatform_sdk.notices import Troubles
from abplatform_sdk.testing import TestingClient

DEFAULT = {"copy": "3.5% a year"}
TREATMENT = {"copy": "10,000 earns 350 in a year"}


def kit() -> TestingClient:
    rule = testing.experiment(
        "rate-display",
        variants={"control": DEFAULT, "treatment": TREATMENT},
        targeting={"country": {"$in": ["CN", "HK"]}},
        dimensions=["channel"],
    )
    return testing.client(snapshot=testing.snapshot(rule))


def customer(request: flask.Request) -> Unit | None:
    unit_id = request.headers.get("X-Customer")
    if unit_id is None:
        return None
    return Unit(unit_id, {"country": request.headers.get("X-Country", "CN"), "channel": "app"}, {"device_id": "d-1"})


def make_app(experiments: Experiments) -> flask.Flask:
    app = flask.Flask("shop")
    experiments.init_app(app)

    @app.get("/rate")
    def rate() -> dict[str, Any]:
        decision = experiments.assign("rate-display", default={"copy": "default"})
        return {"variant": decision.variant, "payload": decision.payload, "reason": decision.reason}

    @app.post("/buy")
    def buy() -> dict[str, bool]:
        return {"logged": experiments.track("purchase", value="350.00", properties={"product": "term-deposit"})}

    return app


def test_a_request_is_decided_for_its_unit_with_its_attributes() -> None:
    client = kit()
    web = make_app(Experiments(client=client, unit=customer)).test_client()
    for unit in ("u-1", "u-2", "u-3", "u-4"):
        expected = client.evaluate("rate-display", unit, {"country": "CN"})
        answer = web.get("/rate", headers={"X-Customer": unit}).json
        assert answer == {"variant": expected.variant, "payload": expected.payload, "reason": "ASSIGNED"}
    assert web.get("/rate", headers={"X-Customer": "u-1", "X-Country": "US"}).json["reason"] == "NOT_TARGETED"
    first = client.exposures[0]
    assert (first["unit_id"], first["units"], first["attributes"]) == ("u-1", {"device_id": "d-1"}, {"channel": "app"})
    assert web.post("/buy", headers={"X-Customer": "u-1"}).json == {"logged": True}
    (purchase,) = client.conversions
    assert (purchase["unit_id"], purchase["value"], purchase["units"]) == ("u-1", "350", {"device_id": "d-1"})


def test_without_a_unit_the_default_is_served_and_nothing_logged() -> None:
    client = kit()
    web = make_app(Experiments(client=client, unit=customer)).test_client()
    assert web.get("/rate").json == {"variant": None, "payload": {"copy": "default"}, "reason": "NO_UNIT"}
    assert web.post("/buy").json == {"logged": False}
    assert client.exposures == client.conversions == []
    assert client.stats().reasons == {"invalid_unit": 1}


def test_before_the_login_a_conversion_carries_the_device_alone() -> None:
    client = kit()
    experiments = Experiments(client=client, unit=lambda request: middleware.Unit(None, units={"device_id": "d-1"}))
    assert make_app(experiments).test_client().post("/buy").json == {"logged": True}
    assert [event["units"] for event in client.conversions] == [{"device_id": "d-1"}]


def test_the_unit_is_looked_up_once_per_request_and_not_before_it_is_needed() -> None:
    asked: list[str] = []

    def unit(request: flask.Request) -> str:
        asked.append(request.path)
        return "u-1"

    experiments = Experiments(client=kit(), unit=unit)
    app = make_app(experiments)
    app.add_url_rule("/plain", "plain", view_func=lambda: "plain")
    app.add_url_rule("/twice", "twice", view_func=lambda: str([experiments.assign("a"), experiments.track("b")]))
    # One application context over several requests, as suites like to have it.
    with app.app_context():
        web = app.test_client()
        web.get("/plain")
        assert asked == []
        web.get("/twice")
        web.get("/twice")
    assert asked == ["/twice", "/twice"]


def test_a_unit_that_cannot_be_found_is_no_error_of_the_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_troubles", Troubles())
    web = make_app(Experiments(client=kit(), unit=lambda request: {}["6217 0012 3456"])).test_client()
    with caplog.at_level(logging.WARNING, logger="abplatform_sdk"):
        for _ in range(3):
            answer = web.get("/rate")
            assert (answer.status_code, answer.json["reason"]) == (200, "NO_UNIT")
    assert [record.message for record in caplog.records] == ["the unit of a request cannot be found: KeyError"]


@pytest.mark.parametrize("found", [17, b"u-1", "", ["u-1"], "\ud800"])
def test_a_unit_of_a_wrong_kind_is_nobody(found: Any) -> None:
    web = make_app(Experiments(client=kit(), unit=lambda request: found)).test_client()
    assert web.get("/rate").json["reason"] == "NO_UNIT"
    assert web.post("/buy").json == {"logged": False}


def test_templates_have_variant_and_payload() -> None:
    client = kit()
    client.force("rate-display", "treatment")
    app = make_app(Experiments(client=client, unit=customer))
    page = "{{ variant('rate-display') }}: {{ payload('rate-display')['copy'] }}; {{ payload('none', 'default') }}"
    with app.test_request_context(headers={"X-Customer": "u-1"}):
        assert flask.render_template_string(page) == "treatment: 10,000 earns 350 in a year; default"
    assert [event["variant"] for event in client.exposures] == ["treatment"]


def test_requests_of_many_threads_keep_their_units_apart() -> None:
    client = kit()
    app = make_app(Experiments(client=client, unit=customer))
    together = threading.Barrier(8)

    def ask(number: int) -> tuple[int, str]:
        web = app.test_client()
        together.wait(10)
        return number, web.get("/rate", headers={"X-Customer": f"u-{number}"}).json["variant"]

    with ThreadPoolExecutor(8) as pool:
        answers = dict(pool.map(ask, range(64)))
    assert answers == {n: client.evaluate("rate-display", f"u-{n}", {"country": "CN"}).variant for n in range(64)}
    assert sorted(event["unit_id"] for event in client.exposures) == sorted(f"u-{number}" for number in range(64))


def test_each_application_has_a_client_of_its_own_from_its_settings() -> None:
    experiments = Experiments(unit=customer)
    apps = [flask.Flask(name) for name in ("deposits", "loans")]
    for app in apps:
        app.config.update(
            ABPLATFORM_URL="http://127.0.0.1:9", ABPLATFORM_API_KEY="k", ABPLATFORM_OPTIONS={"cache_dir": None}
        )
        experiments.init_app(app)
    clients = []
    for app in apps:
        with app.app_context():
            clients.append(experiments.client)
    assert clients[0] is not clients[1]
    for client in clients:
        client.close(0)


def test_the_client_stays_open_after_requests_and_application_contexts() -> None:
    client = kit()
    app = make_app(Experiments(client=client, unit=customer))
    with app.app_context():
        app.test_client().get("/rate", headers={"X-Customer": "u-1"})
    app.test_client().post("/buy", headers={"X-Customer": "u-1"})
    assert (len(client.exposures), len(client.conversions)) == (1, 1)


def test_outside_of_a_request_there_is_no_unit() -> None:
    experiments = Experiments(client=kit(), unit=customer)
    with make_app(experiments).app_context():
        assert experiments.assign("rate-display", default=1).reason == "NO_UNIT"
        assert not experiments.track("purchase")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "ABPLATFORM_URL"),
        ({"ABPLATFORM_URL": "http://a"}, "ABPLATFORM_API_KEY"),
        ({"ABPLATFORM_URL": "ftp://a", "ABPLATFORM_API_KEY": "k"}, "base_url"),
        (
            {"ABPLATFORM_URL": "http://a", "ABPLATFORM_API_KEY": "k", "ABPLATFORM_OPTIONS": {"batch_size": 1}},
            "batch_size",
        ),
    ],
)
def test_a_missing_or_bad_setting_is_named_at_start(settings: dict[str, Any], message: str) -> None:
    app = flask.Flask("shop")
    app.config.update(settings)
    with pytest.raises(ValueError, match=message):
        Experiments(app, unit=customer)
