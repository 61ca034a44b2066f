"""Versions of metrics over HTTP, and every bad definition named by its path."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.conftest import Service
from tests.api.documents import conversion_body, experiment_body, exposure_body, metric_body
from tests.api.problems import refusal

PATH = "/metrics/purchase"
VERSIONS = f"{PATH}/versions"


def tag(service: Service, path: str = PATH) -> dict[str, str]:
    return {"If-Match": service.admin.get(path).headers["ETag"]}


def test_a_metric_in_use_gets_a_version_instead_of_an_edit(service: Service) -> None:
    service.start()
    first = service.admin.get(PATH)
    detail = refusal(service.admin.patch(PATH, json={"event": "order"}, headers=tag(service)), 409, "IN_USE")["detail"]
    assert "make the next version instead (POST /metrics/purchase/versions)" in detail
    made = service.admin.post(VERSIONS, json={"event": "order"}, headers=tag(service))
    assert (made.status_code, made.headers["Location"]) == (201, "/api/v1/metrics/purchase?version=2")
    document = made.get_json()
    assert document == first.get_json() | {
        "event": "order",
        "version": 2,
        "revision": 2,
        "version_created_at": document["version_created_at"],
    }
    assert document["version_created_at"] > document["created_at"]
    assert first.get_json()["version_created_at"] is None
    assert service.admin.get(PATH).get_json() == document
    assert service.admin.get(VERSIONS).get_json() == {"items": [document, first.get_json()], "next_cursor": None}
    assert [each["version"] for each in service.admin.get("/metrics").get_json()["items"]] == [2]


def test_a_version_that_was_replaced_is_read_with_the_etag_that_it_had(service: Service) -> None:
    service.define()
    first = service.admin.get(PATH)
    service.admin.post(VERSIONS, json={"name": "Second"}, headers=tag(service))
    again = service.admin.get(f"{PATH}?version=1")
    assert (again.get_json(), again.headers["ETag"]) == (first.get_json(), first.headers["ETag"])
    known = {"If-None-Match": first.headers["ETag"]}
    assert service.admin.get(f"{PATH}?version=1", headers=known).status_code == 304
    assert service.admin.get(PATH, headers=known).get_json()["name"] == "Second"
    newest = service.admin.get(f"{PATH}?version=2")
    assert (newest.get_json(), newest.headers["ETag"]) == (service.admin.get(PATH).get_json(), tag(service)["If-Match"])
    refusal(service.admin.patch(PATH, json={"name": "x"}, headers={"If-Match": first.headers["ETag"]}), 412)
    assert "it has had the versions 1 to 2" in refusal(service.admin.get(f"{PATH}?version=3"), 404)["detail"]
    for wrong in ("0", "-1", "x", "1.0", "9" * 30):
        assert "version" in refusal(service.admin.get(f"{PATH}?version={wrong}"), 422)["errors"]
    refusal(service.admin.get("/metrics/missing/versions"), 404)


def test_a_version_needs_if_match_and_is_made_once_per_idempotency_key(service: Service) -> None:
    service.define()
    refusal(service.admin.post(VERSIONS, json={"event": "order"}), 428)
    refusal(service.admin.post(VERSIONS, json={"event": "order"}, headers={"If-Match": '"x"'}), 412)
    headers = tag(service) | {"Idempotency-Key": "once"}
    made, again = (service.admin.post(VERSIONS, json={"event": "order"}, headers=headers) for _ in range(2))
    assert (made.status_code, again.status_code, made.get_json()) == (201, 201, again.get_json())
    assert made.headers["ETag"] == again.headers["ETag"] == tag(service)["If-Match"]
    refusal(service.admin.post(VERSIONS, json={"event": "x"}, headers=headers), 422, "IDEMPOTENCY_MISMATCH")
    refusal(service.admin.post(VERSIONS, json={"event": "x"}, headers=headers | {"Idempotency-Key": "2"}), 412)
    assert len(service.admin.get(VERSIONS).get_json()["items"]) == 2


def test_of_parallel_edits_and_versions_with_one_etag_exactly_one_wins(service: Service) -> None:
    service.define()
    headers = tag(service)

    def change(number: int) -> int:
        send, path = (service.admin.post, VERSIONS) if number % 2 else (service.admin.patch, PATH)
        return send(path, json={"name": f"name {number}"}, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, range(8)))
    assert statuses[0] in {200, 201}
    assert statuses[1:] == [412] * 7
    assert service.admin.get(PATH).get_json()["revision"] == 2


def test_results_are_those_of_the_pinned_version_in_the_zone_of_the_project(service: Service) -> None:
    """A unit that comes back after two hours: on the next day in Shanghai, on the same one in UTC."""
    service.admin.patch("/projects/default", json={"time_zone": "Asia/Shanghai"}, headers={"If-Match": "*"})
    days = {"start": "P1D", "end": "P2D", "calendar": True}
    service.admin.post("/metrics", json=metric_body(kind="retention", where={}, window=days))
    uses = [{"metric": "purchase", "role": "primary"}]
    body = experiment_body(assignment="external", metrics=uses, plan={"method": "fixed", "planned_units": 10})
    assert service.admin.post("/experiments", json=body).status_code == 201
    assert service.admin.post("/experiments/rate-display/start").status_code == 200
    seen = exposure_body(timestamp="2026-01-01T15:00:00Z")  # 23:00 in Shanghai
    assert service.admin.post("/exposures", json=seen).status_code == 202
    for number, at in enumerate(("2026-01-01T15:30:00Z", "2026-01-01T17:00:00Z")):
        event = "purchase" if number else "order"
        sent = service.admin.post("/conversions", json=conversion_body(f"c-{number}", event=event, timestamp=at))
        assert sent.status_code == 202

    def returned() -> str:
        (metric,) = service.admin.get("/experiments/rate-display/results").get_json()["metrics"]
        return next(arm["sum"] for arm in metric["variants"] if arm["variant"] == "treatment")

    assert float(returned()) == 1.0
    service.admin.post(VERSIONS, json={"event": "order"}, headers=tag(service))
    assert float(returned()) == 1.0
    (metric,) = service.admin.get("/experiments/rate-display/results").get_json()["metrics"]
    assert (metric["version"], metric["newer_version"]) == (1, 2)
    assert len(service.admin.get("/experiments/rate-display/results/looks").get_json()["items"]) == 1


def test_a_look_keeps_the_version_and_a_newer_one_is_told_beside_it(service: Service) -> None:
    service.define()
    service.admin.post(VERSIONS, json={"event": "order"}, headers=tag(service))
    assert service.admin.post("/experiments/rate-display/start").status_code == 200

    def versions(path: str = "") -> tuple[object, object]:
        document = service.admin.get(f"/experiments/rate-display/results{path}").get_json()
        (metric,) = document.get("items", [document])[0]["metrics"]
        return metric["version"], metric["newer_version"]

    assert versions() == versions("/looks") == (2, None)
    service.admin.post(VERSIONS, json={"event": "purchase"}, headers=tag(service))
    assert versions() == versions("?method=fixed") == (2, 3)
    assert versions("/looks") == (2, None)


def test_a_version_must_change_something(service: Service) -> None:
    service.define()
    for body in ({}, {"name": "Purchase"}):
        said = refusal(service.admin.post(VERSIONS, json=body, headers=tag(service)), 422)["errors"][""]
        assert said == ["must change something: version 1 of purchase says the same already"]
    said = refusal(service.admin.post(VERSIONS, json={"version": 7}, headers=tag(service)), 422)["errors"]
    assert list(said) == ["version"]


def test_the_start_pins_versions_and_nobody_else_sets_them(service: Service) -> None:
    service.define()
    path = "/experiments/rate-display"
    assert [use["version"] for use in service.admin.get(path).get_json()["metrics"]] == [None]
    service.admin.post(VERSIONS, json={"event": "order"}, headers=tag(service))
    started = service.admin.post(f"{path}/start").get_json()
    assert [use["version"] for use in started["metrics"]] == [2]
    body = experiment_body("copy", metrics=started["metrics"])
    assert list(refusal(service.admin.post("/experiments", json=body), 422)["errors"]) == ["metrics.0.version"]
    unpinned = [use | {"version": None} for use in started["metrics"]]
    assert service.admin.post("/experiments", json=body | {"metrics": unpinned}).status_code == 201
    same = service.admin.patch(path, json={"metrics": started["metrics"]}, headers=tag(service, path))
    assert (same.status_code, same.get_json()) == (200, started)
    other = [use | {"version": 1} for use in started["metrics"]]
    refusal(service.admin.patch(path, json={"metrics": other}, headers=tag(service, path)), 409, "CONFLICT")


WINDOW = {"start": "P2D", "end": "P1D"}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"kind": "ratio", "event": "fee"}, "denominator"),
        ({"kind": "ratio", "event": "fee", "denominator": {"event": ""}}, "denominator.event"),
        (
            {"kind": "ratio", "event": "fee", "denominator": {"event": "x", "aggregation": "max"}},
            "denominator.aggregation",
        ),
        ({"window": WINDOW}, "window.end"),
        ({"window": {"start": "P1D", "end": "P1D"}}, "window.end"),
        ({"window": {"start": "PT1H", "end": "P1D", "calendar": True}}, "window.start"),
        ({"where": {"a": {"$type": "nubmer"}}}, "where.a.$type"),
        ({"where": {"a": {"$type": "array"}}}, "where.a.$type"),
        ({"where": {"a": {"$regex": "x"}}}, "where.a.$regex"),
        ({"kind": "retention", "window": None}, "window"),
        ({"kind": "retention", "window": {"end": "P1D"}}, "window.start"),
        ({"kind": "quantile", "quantile": 1.5}, "quantile"),
        ({"kind": "funnel", "event": "", "where": {}, "steps": [{"event": "one"}]}, "steps"),
        ({"kind": "time_to", "start": {"event": "purchase", "where": {"product": "term-deposit"}}}, "start.event"),
        ({"cap": {"quantile": 0.99}}, "cap"),
        ({"kind": "sum", "cap": {"value": 1, "quantile": 0.5}}, "cap"),
        ({"kind": "sum", "cap": {"value": 0}}, "cap.value"),
        ({"kind": "average"}, "kind"),
        ({"outcome": "nothing"}, "outcome"),
        ({"outcome": "purchase"}, "outcome"),
        ({"outcome": "hint"}, "outcome"),
    ],
)
def test_a_bad_definition_is_named_by_its_path(prepared: Service, changes: dict[str, Any], path: str) -> None:
    """A ratio without a denominator, a window that ends before it starts, a circle of metrics, and others."""
    admin = prepared.admin
    answers = [
        admin.patch(PATH, json=changes, headers=tag(prepared)),
        admin.post(VERSIONS, json=changes, headers=tag(prepared)),
    ]
    if changes.get("outcome") not in {"hint", "purchase"}:  # nothing leads to what is not there yet
        answers.append(admin.post("/metrics", json=metric_body("new") | changes))
    assert [list(refusal(answer, 422)["errors"]) for answer in answers] == [[path]] * len(answers)


@pytest.fixture(name="prepared", scope="module")
def _prepared(shared_service: Service) -> Service:
    """A metric, and one that hints at it."""
    for body in (metric_body(), metric_body("hint", outcome="purchase")):
        assert shared_service.admin.post("/metrics", json=body).status_code == 201
    return shared_service


def test_a_metric_that_another_hints_at_cannot_be_deleted(service: Service) -> None:
    for body in (metric_body(), metric_body("hint", outcome="purchase")):
        assert service.admin.post("/metrics", json=body).status_code == 201
    answer = service.admin.delete(PATH, headers=tag(service))
    assert refusal(answer, 409, "IN_USE")["detail"] == "purchase is the outcome of version 1 of the metric hint"


def test_a_truth_value_in_place_of_a_number_is_a_change(service: Service) -> None:
    service.admin.post("/metrics", json=metric_body(where={"vip": 1}))
    edited = service.admin.patch(PATH, json={"where": {"vip": True}}, headers=tag(service))
    assert (edited.get_json()["where"], edited.get_json()["revision"]) == ({"vip": True}, 2)
    made = service.admin.post(VERSIONS, json={"where": {"vip": 1}}, headers=tag(service))
    assert (made.status_code, made.get_json()["version"]) == (201, 2)
    refusal(service.admin.post(VERSIONS, json={"where": {"vip": 1.0}}, headers=tag(service)), 422)
