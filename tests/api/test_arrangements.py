"""Layers, holdouts and segments, and the experiments that depend on them."""

from __future__ import annotations

import json
import logging
from hashlib import sha256
from typing import Any

import pytest

from tests.api.conftest import Service
from tests.api.documents import holdout_body, layer_body, segment_body, units_body
from tests.api.problems import refusal, refused_fields

IN_GROUP = {"branch": {"$inGroup": "vip-branches"}}


def step(service: Service, name: str, key: str = "rate-display") -> None:
    answer = service.admin.post(f"/experiments/{key}/{name}")
    assert answer.status_code == 200, answer.text


def read(service: Service, path: str) -> Any:
    answer = service.admin.get(path)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def snapshot(service: Service) -> Any:
    return read(service, "/snapshot")


ANY = {"If-Match": "*"}


def test_a_layer_shows_who_holds_how_much_of_it(service: Service) -> None:
    service.arrange()
    assert (read(service, "/layers/home-page")["free"], read(service, "/layers/home-page")["experiments"]) == (1, [])
    service.start("a", layer="home-page", coverage=0.25)
    service.start("b", layer="home-page", coverage=0.5)
    service.define("c", layer="home-page", coverage=0.5)
    service.start("d")
    expected = {
        "free": 0.25,
        "experiments": [
            {"experiment": "a", "status": "running", "share": 0.25},
            {"experiment": "b", "status": "running", "share": 0.5},
            {"experiment": "c", "status": "draft", "share": 0},
        ],
    }
    document = read(service, "/layers/home-page")
    assert document | expected == document
    assert read(service, "/layers")["items"] == [document]
    step(service, "pause", "a")
    step(service, "stop", "b")
    document = read(service, "/layers/home-page")
    assert document["free"] == 0.75
    assert [(each["status"], each["share"]) for each in document["experiments"]] == [
        ("paused", 0.25),
        ("stopped", 0),
        ("draft", 0),
    ]
    step(service, "archive", "b")
    assert [each["experiment"] for each in read(service, "/layers/home-page")["experiments"]] == ["a", "c"]


def test_the_etag_of_a_layer_changes_with_what_it_shows(service: Service) -> None:
    service.arrange()
    before = service.admin.get("/layers/home-page").headers["ETag"]
    service.start(layer="home-page")
    after = service.admin.get("/layers/home-page", headers={"If-None-Match": before})
    assert (after.status_code, after.get_json()["free"]) == (200, 0)
    refusal(service.admin.patch("/layers/home-page", json={"name": "A"}, headers={"If-Match": before}), 412)
    tag = after.headers["ETag"]
    assert service.admin.get("/layers/home-page", headers={"If-None-Match": tag}).status_code == 304
    assert service.admin.patch("/layers/home-page", json={"name": "A"}, headers={"If-Match": tag}).status_code == 200


def test_a_layer_in_use_keeps_its_unit_type_and_stays(service: Service) -> None:
    service.admin.post("/layers", json=layer_body())
    service.start(layer="home-page")
    change = {"unit_type": "device_id"}
    refusal(service.admin.patch("/layers/home-page", json=change, headers=ANY), 409, "IN_USE")
    refusal(service.admin.delete("/layers/home-page", headers=ANY), 409, "IN_USE")
    assert service.admin.post("/layers", json=layer_body("other")).status_code == 201
    assert service.admin.patch("/layers/other", json=change, headers=ANY).get_json()["unit_type"] == "device_id"
    assert service.admin.delete("/layers/other", headers=ANY).status_code == 204
    refusal(service.admin.get("/layers/other"), 404)


def test_a_holdout_covers_experiments_that_start_after_it(service: Service) -> None:
    service.start("before")
    assert service.admin.post("/holdouts", json=holdout_body()).status_code == 201
    service.start("after")
    published = snapshot(service)
    assert published["experiments"]["after"]["holdouts"] == ["q3"]
    assert not published["experiments"]["before"].get("holdouts")
    assert published["holdouts"]["q3"]["range"] == [0, 50_000]
    refusal(service.admin.delete("/holdouts/q3", headers=ANY), 409, "IN_USE")


def test_the_end_of_a_holdout_is_published_at_once_and_for_good(service: Service) -> None:
    service.admin.post("/holdouts", json=holdout_body())
    service.start()
    version = snapshot(service)["version"]
    stale = service.admin.get("/holdouts/q3").headers["ETag"]
    service.admin.patch("/holdouts/q3", json={"name": "New"}, headers=ANY)
    refusal(service.admin.post("/holdouts/q3/end", headers={"If-Match": stale}), 412)
    assert refused_fields(service.admin.post("/holdouts/q3/end", json={"reason": "over"})) == {""}
    ended = service.admin.post("/holdouts/q3/end")
    assert ended.status_code == 200
    assert ended.get_json()["ended_at"] == read(service, "/holdouts/q3")["ended_at"] is not None
    published = snapshot(service)
    assert published["version"] == version + 1
    assert "holdouts" not in published
    refusal(service.admin.post("/holdouts/q3/end"), 409, "CONFLICT")
    refusal(service.admin.post("/holdouts/nothing/end"), 404)


def test_an_edit_of_a_holdout_names_what_is_fixed(service: Service) -> None:
    service.arrange()
    change = {"share": 0.1, "layers": None, "unit_type": "device_id", "name": "New"}
    answer = service.admin.patch("/holdouts/q3", json=change, headers=ANY)
    assert refused_fields(answer) == {"share", "layers", "unit_type"}
    whole = {name: read(service, "/holdouts/q3")[name] for name in change} | {"name": "New"}
    assert service.admin.patch("/holdouts/q3", json=whole, headers=ANY).get_json()["name"] == "New"


def test_no_more_than_twenty_holdouts_are_active(service: Service) -> None:
    for number in range(20):
        assert service.admin.post("/holdouts", json=holdout_body(f"h-{number}")).status_code == 201
    answer = service.admin.post("/holdouts", json=holdout_body("one-more"))
    assert "end one first" in refusal(answer, 409, "CONFLICT")["detail"]


def test_members_of_a_segment_stay_while_an_experiment_that_names_it_runs(service: Service) -> None:
    service.arrange()
    service.start(targeting=IN_GROUP)
    assert snapshot(service)["groups"]["vip-branches"] == {"values": ["SH-1", 7, True]}
    change = {"values": ["BJ-1"]}
    answer = service.admin.patch("/segments/vip-branches", json=change, headers=ANY)
    detail = refusal(answer, 409, "IN_USE")["detail"]
    assert "rate-display is running" in detail
    assert "open a new phase" in detail
    refusal(service.admin.delete("/segments/vip-branches", headers=ANY), 409, "IN_USE")
    assert service.admin.patch("/segments/vip-branches", json={"name": "New"}, headers=ANY).status_code == 200
    step(service, "stop")
    assert service.admin.patch("/segments/vip-branches", json=change, headers=ANY).get_json()["values"] == ["BJ-1"]
    assert snapshot(service)["groups"]["vip-branches"] == change
    step(service, "archive")
    assert service.admin.delete("/segments/vip-branches", headers=ANY).status_code == 204


def test_a_segment_of_units_is_published_as_digests_and_shown_as_a_count(service: Service) -> None:
    service.arrange()
    service.start(targeting={"user_id": {"$notInGroup": "staff"}})
    document = read(service, "/segments/staff")
    assert document.keys() == {"key", "name", "kind", "count", "revision", "created_at"}
    assert document["count"] == 2
    group = snapshot(service)["groups"]["staff"]
    assert len(group["sha256"]) == 2
    assert all(len(digest) == 64 for digest in group["sha256"])
    assert group["salt"] not in service.admin.get("/segments/staff").text


def test_ids_are_neither_logged_nor_shown_nor_repeated_in_refusals(
    service: Service, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    headers = {"Idempotency-Key": "k-1"}
    secret = ["secret-1", "secret-2", "secret-1"]
    answers = [service.admin.post("/segments", json=units_body(unit_ids=secret), headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].get_json()["count"] == 2
    for wrong in ([*secret, ""], [*secret, "secret" * 100], [*secret, 7], "secret", {"secret": 1}, ["secret"] * 50_001):
        answers.append(service.admin.patch("/segments/staff", json={"unit_ids": wrong}, headers=ANY))
        assert answers[-1].status_code == 422
    answers += [service.admin.get("/segments"), service.admin.get("/segments/staff")]
    assert not [answer.text for answer in answers if "secret" in answer.text]
    written = capsys.readouterr()
    assert "secret" not in caplog.text + written.out + written.err
    with service.platform.uow.reading() as work:
        kept = work.replies.find("default", "k-1", "POST /api/v1/segments")
    assert kept is not None
    assert "secret" not in str(kept)
    body = json.dumps(units_body(unit_ids=secret), sort_keys=True).encode()
    assert kept.request_hash != sha256(body).hexdigest(), "who knows the rest of the body could try out ids"


def test_a_full_segment_of_units_fits_into_one_request(service: Service) -> None:
    """50,000 UUIDs, as text with quotes and commas 2 MB: more than other bodies may have."""
    ids = [f"{number:08x}-0000-7000-8000-000000000000" for number in range(50_000)]
    made = service.admin.post("/segments", json=units_body(unit_ids=ids))
    assert (made.status_code, made.get_json()["count"]) == (201, 50_000)
    answer = service.admin.patch("/segments/staff", json={"unit_ids": [*ids, "u-1"]}, headers=ANY)
    assert refused_fields(answer) == {"unit_ids"}
    assert service.admin.patch("/segments/staff", json={"unit_ids": ids[:1]}, headers=ANY).get_json()["count"] == 1
    refusal(service.admin.post("/segments", json=units_body(unit_ids=["x" * 256] * 20_000)), 413)
    assert service.admin.post("/segments", json=segment_body(values=list(range(50_000)))).status_code == 201


def test_no_document_shows_a_salt(service: Service) -> None:
    service.arrange()
    for path in ("/layers", "/holdouts", "/segments"):
        for item in read(service, path)["items"]:
            assert "salt" not in service.admin.get(f"{path}/{item['key']}").text
        assert "salt" not in service.admin.get(path).text
