"""Caps by quantile become numbers when an experiment starts, and stay those."""

from __future__ import annotations

from tests.api.conftest import Service
from tests.api.documents import conversion_body, experiment_body, metric_body
from tests.api.problems import refused_fields

SPENT = metric_body("spent", kind="sum", where={}, cap={"quantile": 0.9})
USES = [{"metric": "spent", "role": "primary"}]


def buy(service: Service, amounts: range, *, name: str) -> None:
    """Have one unit each spend an amount."""
    events = [
        conversion_body(f"{name}-{number}", unit_id=f"{name}-{number}", value=str(amount))
        for number, amount in enumerate(amounts)
    ]
    answer = service.admin.post("/conversions", json={"events": events})
    assert answer.get_json()["rejected"] == []


def test_the_start_fixes_the_cap_from_what_units_were_worth(service: Service) -> None:
    assert service.admin.post("/metrics", json=SPENT).status_code == 201
    buy(service, range(0, 110, 10), name="before")
    body = experiment_body(metrics=USES, targeting={})
    assert service.admin.post("/experiments", json=body).get_json()["metrics"][0]["cap"] is None
    started = service.admin.post("/experiments/rate-display/start")
    assert started.status_code == 200, started.text
    buy(service, range(10_000, 10_100, 10), name="after")
    (use,) = service.admin.get("/experiments/rate-display").get_json()["metrics"]
    assert (use["cap"], use["version"]) == ("90", 1)
    assert service.admin.get("/metrics/spent").get_json()["cap"] == {"value": None, "quantile": 0.9}
    results = service.admin.get("/experiments/rate-display/results")
    assert results.status_code == 200, results.text


def test_without_history_the_start_says_what_is_missing(service: Service) -> None:
    assert service.admin.post("/metrics", json=SPENT).status_code == 201
    assert service.admin.post("/experiments", json=experiment_body(metrics=USES)).status_code == 201
    answer = service.admin.post("/experiments/rate-display/start")
    assert refused_fields(answer) == {"metrics.0.metric"}
    assert "give its cap a value" in answer.text
    assert service.admin.get("/experiments/rate-display").get_json()["status"] == "draft"


def test_the_cap_is_no_input(service: Service) -> None:
    assert service.admin.post("/metrics", json=SPENT).status_code == 201
    body = experiment_body(metrics=[{**USES[0], "cap": "90"}])
    assert refused_fields(service.admin.post("/experiments", json=body)) == {"metrics.0.cap"}
