"""Versions, conditional requests, and doing things once (C-1..C-6)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from abplatform.api.schemas.experiment import STATE as EXPERIMENT_STATE
from tests.api.conftest import Service
from tests.api.documents import (
    Body,
    experiment_body,
    holdout_body,
    key_body,
    layer_body,
    metric_body,
    segment_body,
    units_body,
)
from tests.api.problems import refusal, refused_fields

RESOURCES: dict[str, Body] = {
    "/experiments/rate-display": experiment_body(),
    "/metrics/purchase": metric_body(),
    "/layers/home-page": layer_body(),
    "/holdouts/q3": holdout_body(layers=["home-page"]),
    "/segments/vip-branches": segment_body(),
    "/segments/staff": units_body(),
}


def define_all(service: Service) -> None:
    service.define()
    service.arrange()


def at_once(count: int, call: Callable[[int], TestResponse]) -> list[TestResponse]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def test_a_definition_comes_back_as_it_was_sent(service: Service) -> None:
    define_all(service)
    for path, body in RESOURCES.items():
        shown = {name: value for name, value in body.items() if name != "unit_ids"}
        assert says(service.admin.get(path).get_json(), shown)
    assert service.admin.get("/experiments/rate-display").get_json()["status"] == "draft"


def says(document: Any, sent: Any) -> bool:
    """Whether a document says all that was sent; what was left out may stand there with its default."""
    if isinstance(sent, dict):
        return all(name in document and says(document[name], value) for name, value in sent.items())
    if isinstance(sent, list):
        return len(sent) == len(document) and all(map(says, document, sent))
    return bool(document == sent)


STATE = {*EXPERIMENT_STATE, "free", "experiments", "ended_at", "count", "version", "version_created_at"}


def test_what_a_read_gives_can_be_sent_again_under_another_key(service: Service) -> None:
    define_all(service)
    for path in RESOURCES.keys() - {"/segments/staff"}:
        document = service.admin.get(path).get_json()
        again = {name: value for name, value in document.items() if name not in STATE} | {"key": "again"}
        made = service.admin.post(path.rpartition("/")[0], json=again)
        assert made.status_code == 201, made.text
        assert service.admin.get(made.headers["Location"].removeprefix("/api/v1")).get_json() | again == made.get_json()


def test_no_document_shows_a_salt(service: Service) -> None:
    service.start()
    assert "salt" not in service.admin.get("/experiments/rate-display").text
    assert "salt" not in service.admin.get("/experiments").text
    assert "salt" in service.admin.get("/snapshot").text


@pytest.mark.parametrize("path", RESOURCES)
def test_an_edit_needs_the_current_etag(service: Service, path: str) -> None:
    define_all(service)
    first = service.admin.get(path).headers["ETag"]
    assert not first.startswith("W/")
    missing = refusal(service.admin.patch(path, json={"name": "A"}), 428, "PRECONDITION_REQUIRED")
    assert missing["detail"] == "read it with GET, and send the ETag of that answer in the header If-Match"
    edited = service.admin.patch(path, json={"name": "A"}, headers={"If-Match": first})
    assert edited.status_code == 200
    assert edited.get_json()["name"] == "A"
    assert edited.headers["ETag"] != first
    for stale in (first, "garbage", '"x"', f"W/{edited.headers['ETag']}", ""):
        outdated = service.admin.patch(path, json={"name": "B"}, headers={"If-Match": stale})
        assert "read it again with GET" in refusal(outdated, 412, "PRECONDITION_FAILED")["detail"]
    assert service.admin.patch(path, json={"name": "C"}, headers={"If-Match": "*"}).status_code == 200
    listed = f'"x", {service.admin.get(path).headers["ETag"]}'
    assert service.admin.patch(path, json={"name": "D"}, headers={"If-Match": listed}).status_code == 200


@pytest.mark.parametrize("path", RESOURCES)
def test_a_read_with_a_known_etag_is_304(service: Service, path: str) -> None:
    define_all(service)
    tag = service.admin.get(path).headers["ETag"]
    again = service.admin.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert service.admin.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_drafts_are_deleted_with_if_match_and_an_old_etag_does_not_fit_a_namesake(service: Service) -> None:
    service.define()
    path = "/experiments/rate-display"
    tag = service.admin.get(path).headers["ETag"]
    refusal(service.admin.delete(path), 428)
    refusal(service.admin.delete(path, headers={"If-Match": '"x"'}), 412)
    assert service.admin.delete(path, headers={"If-Match": tag}).status_code == 204
    refusal(service.admin.get(path), 404)
    service.define()
    refusal(service.admin.patch(path, json={"name": "A"}, headers={"If-Match": tag}), 412)


def test_of_parallel_edits_with_one_etag_exactly_one_wins(service: Service) -> None:
    define_all(service)
    for path in RESOURCES:
        tag = service.admin.get(path).headers["ETag"]
        answers = at_once(
            12,
            lambda number, path=path, tag=tag: service.admin.patch(  # type: ignore[misc]
                path, json={"name": f"name {number}"}, headers={"If-Match": tag}
            ),
        )
        assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 11}
        winner = next(answer.get_json() for answer in answers if answer.status_code == 200)
        assert service.admin.get(path).get_json() == winner


def test_of_parallel_starts_exactly_one_wins_and_one_version_is_published(service: Service) -> None:
    service.define()
    before = service.admin.get("/snapshot").get_json()["version"]
    answers = at_once(8, lambda _: service.admin.post("/experiments/rate-display/start"))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 7}
    assert service.admin.get("/snapshot").get_json()["version"] == before + 1


def test_of_parallel_creations_of_one_key_exactly_one_wins(service: Service) -> None:
    answers = at_once(8, lambda _: service.admin.post("/metrics", json=metric_body()))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}
    refusal(next(answer for answer in answers if answer.status_code == 409), 409, "ALREADY_EXISTS")


def test_a_step_can_be_bound_to_the_version_that_was_read(service: Service) -> None:
    service.define()
    path = "/experiments/rate-display"
    tag = service.admin.get(path).headers["ETag"]
    service.admin.patch(path, json={"name": "A"}, headers={"If-Match": tag})
    refusal(service.admin.post(f"{path}/start", headers={"If-Match": tag}), 412)
    tag = service.admin.get(path).headers["ETag"]
    assert service.admin.post(f"{path}/start", headers={"If-Match": tag}).status_code == 200


def test_the_life_of_an_experiment_step_by_step(service: Service) -> None:
    service.define()
    path = "/experiments/rate-display"
    for step, status in [
        ("start", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("close", "closed"),
        ("stop", "stopped"),
        ("archive", "archived"),
    ]:
        answer = service.admin.post(f"{path}/{step}")
        assert (answer.status_code, answer.get_json()["status"]) == (200, status)
        refusal(service.admin.post(f"{path}/{step}"), 409, "ILLEGAL_TRANSITION")
    refusal(service.admin.post(f"{path}/launch"), 404)
    refusal(service.admin.post("/experiments/nothing/start"), 404)


def test_a_regulated_experiment_waits_for_review(service: Service) -> None:
    service.define(risk_class="regulated")
    refusal(service.admin.post("/experiments/rate-display/start"), 409, "REVIEW_REQUIRED")


def test_after_the_start_only_words_can_be_edited(service: Service) -> None:
    service.start()
    path = "/experiments/rate-display"
    tag = service.admin.get(path).headers["ETag"]
    refusal(service.admin.patch(path, json={"coverage": 0.5}, headers={"If-Match": tag}), 409, "CONFLICT")
    refusal(service.admin.delete(path, headers={"If-Match": tag}), 409)
    metric_tag = service.admin.get("/metrics/purchase").headers["ETag"]
    refusal(
        service.admin.patch("/metrics/purchase", json={"event": "x"}, headers={"If-Match": metric_tag}), 409, "IN_USE"
    )
    refusal(service.admin.delete("/metrics/purchase", headers={"If-Match": metric_tag}), 409, "IN_USE")
    assert service.admin.patch(path, json={"hypothesis": "B"}, headers={"If-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/experiments", experiment_body()),
        ("/metrics", metric_body("other")),
        ("/layers", layer_body()),
        ("/holdouts", holdout_body()),
        ("/segments", segment_body()),
        ("/segments", units_body()),
        ("/keys", key_body()),
    ],
)
def test_a_repeated_idempotency_key_gets_the_same_answer(service: Service, path: str, body: dict[str, object]) -> None:
    service.admin.post("/metrics", json=metric_body())
    headers = {"Idempotency-Key": "k-1"}
    first, second = (service.admin.post(path, json=body, headers=headers) for _ in range(2))
    assert first.status_code == second.status_code == 201
    secret = first.get_json().pop("secret", None)
    assert second.get_json() == first.get_json() | ({"secret": None} if secret else {})
    assert first.headers.get("ETag") == second.headers.get("ETag")
    assert first.headers.get("Location") == second.headers.get("Location")
    spaced = service.admin.post(path, data=json.dumps(body, indent=1), headers=headers, content_type="application/json")
    assert spaced.status_code == 201, "the same body, written with other spaces"
    refusal(service.admin.post(path, json=body | {"name": "B"}, headers=headers), 422, "IDEMPOTENCY_MISMATCH")
    key_count = len(service.admin.get("/keys").get_json()["items"])
    assert key_count == (2 if path == "/keys" else 1)


def test_a_step_is_taken_once_by_idempotency_key(service: Service) -> None:
    service.start()
    path, body, headers = "/experiments/rate-display/phase", {"reason": "new words"}, {"Idempotency-Key": "k-1"}
    first, second = (service.admin.post(path, json=body, headers=headers) for _ in range(2))
    assert (first.status_code, first.get_json()["phase"]) == (200, 2)
    assert (second.status_code, second.get_json()) == (200, first.get_json())
    read = service.admin.get("/experiments/rate-display")
    assert first.headers["ETag"] == second.headers["ETag"] == read.headers["ETag"]
    refusal(service.admin.post(path, json={"reason": "other"}, headers=headers), 422, "IDEMPOTENCY_MISMATCH")
    paused = [service.admin.post("/experiments/rate-display/pause", headers=headers).get_json() for _ in range(2)]
    assert paused[0] == paused[1]
    assert paused[0]["status"] == "paused"


def test_an_etag_without_its_quotes_is_told_so(service: Service) -> None:
    service.start()
    tag = service.admin.get("/experiments/rate-display").headers["ETag"].strip('"')
    answer = service.admin.call("PATCH", "/experiments/rate-display", json={"name": "B"}, headers={"If-Match": tag})
    assert "with its quotes" in refusal(answer, 412, "PRECONDITION_FAILED")["detail"]


def test_one_idempotency_key_in_parallel_makes_one_thing(service: Service) -> None:
    headers = {"Idempotency-Key": "k-1"}
    answers = at_once(8, lambda _: service.admin.post("/keys", json=key_body(), headers=headers))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.get_json()["id"] for answer in answers}) == 1
    assert sum(answer.get_json()["secret"] is not None for answer in answers) == 1


def test_an_idempotency_key_counts_within_its_project_and_operation(service: Service) -> None:
    headers = {"Idempotency-Key": "k-1"}
    assert service.admin.post("/metrics", json=metric_body(), headers=headers).status_code == 201
    assert service.admin.post("/keys", json=key_body(), headers=headers).status_code == 201
    other = service.caller("admin", "other")
    assert other.post("/metrics", json=metric_body(), headers=headers).status_code == 201


def test_a_refused_creation_leaves_the_idempotency_key_free(service: Service) -> None:
    headers = {"Idempotency-Key": "k-1"}
    refusal(service.admin.post("/metrics", json=metric_body(kind="ratio"), headers=headers), 422)
    assert service.admin.post("/metrics", json=metric_body(), headers=headers).status_code == 201


@pytest.mark.parametrize("value", ["", "x" * 256, "a\tb", "\u00e9"])
def test_an_unusable_idempotency_key_is_named(shared_service: Service, value: str) -> None:
    answer = shared_service.admin.post("/metrics", json=metric_body(), headers={"Idempotency-Key": value})
    assert refused_fields(answer) == {"Idempotency-Key"}


def test_lists_come_in_pages(service: Service) -> None:
    keys = [f"m-{number}" for number in range(7)]
    for key in keys:
        assert service.admin.post("/metrics", json=metric_body(key)).status_code == 201
    seen, cursor = [], None
    while True:
        page = service.admin.get(
            "/metrics", query_string={"limit": 3} | ({"cursor": cursor} if cursor else {})
        ).get_json()
        seen += [item["key"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == keys[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=" + "A" * 501, "cursor"),
        ("cursor=%FF%FE", "cursor"),
        ("page=2", "page"),
        ("status=live", "status"),
        ("%00=1", "\0"),
    ],
)
def test_a_bad_query_is_named(shared_service: Service, query: str, field: str) -> None:
    assert refused_fields(shared_service.admin.get(f"/experiments?{query}")) == {field}


def test_experiments_are_listed_by_status(service: Service) -> None:
    service.define("a")
    service.start("b")
    for status, keys in [("draft", ["a"]), ("running", ["b"]), ("paused", [])]:
        items = service.admin.get("/experiments", query_string={"status": status}).get_json()["items"]
        assert [item["key"] for item in items] == keys


def test_snapshot_is_304_until_something_is_published(service: Service) -> None:
    sdk = service.caller("sdk")
    empty = sdk.get("/snapshot")
    assert (empty.status_code, empty.get_json()["version"]) == (200, 0)
    service.start()
    first = sdk.get("/snapshot")
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    known = sdk.get("/snapshot", headers={"If-None-Match": tag})
    assert (known.status_code, known.data) == (304, b"")
    service.admin.post("/experiments/rate-display/pause")
    second = sdk.get("/snapshot", headers={"If-None-Match": tag})
    assert second.status_code == 200
    assert second.get_json()["version"] > first.get_json()["version"]
    for hidden in ("Rate display", "Concrete", "purchase", "planned_units"):
        assert hidden not in second.text
