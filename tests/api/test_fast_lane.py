"""The short way for batches: the same answers as the long way, and no fault that goes past it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from abplatform.errors import Unavailable
from abplatform.services import take_at_once
from abplatform.warehouse import inbox
from abplatform.warehouse.inbox import Inbox
from tests.api.conftest import Service
from tests.api.documents import conversion_body

BATCH = {"events": [conversion_body("c-1"), conversion_body("c-2")]}


def test_both_ways_answer_alike(service: Service) -> None:
    first = service.admin.post("/conversions", json=BATCH)  # the key is not known yet: the long way
    again = service.admin.post("/conversions", json=BATCH)

    assert (first.status_code, first.get_json()) == (again.status_code, again.get_json())
    assert first.get_json() == {"accepted": 2, "rejected": []}
    assert {name for name, _ in first.headers} == {name for name, _ in again.headers}
    numbers = service.nobody().get("root:/metrics").text
    assert 'abplatform_events_total{kind="conversion",outcome="accepted"} 4.0' in numbers
    assert 'abplatform_requests_total{method="POST",route="/api/v1/conversions",status="202"} 2.0' in numbers


def test_a_fault_that_nobody_expected_is_reported_as_everywhere(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.admin.post("/conversions", json=BATCH)
    monkeypatch.setattr(inbox, "pack", fail)
    answer = service.admin.post("/conversions", json=BATCH)
    assert (answer.status_code, answer.get_json()["code"]) == (500, "INTERNAL_ERROR")
    assert "X-Request-Id" in answer.headers


def test_a_full_inbox_refuses_both_ways_alike_before_anything_is_read(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_RECOUNT_SECONDS", 0.0)
    small = Inbox(service.platform.database, most_waiting=2)
    service = Service(replace(service.platform, inbox=small))
    assert service.admin.post("/conversions", json=BATCH).status_code == 202

    monkeypatch.setattr(take_at_once, "_read", fail)
    fast, slow = (caller.post("/conversions", json=BATCH) for caller in (service.admin, service.caller("sdk")))

    assert (fast.status_code, fast.get_json()["code"], fast.headers["Retry-After"]) == (429, "INBOX_FULL", "2")
    assert (fast.get_json(), fast.content_type) == (slow.get_json(), slow.content_type)
    assert sorted(name for name, _ in fast.headers) == sorted(name for name, _ in slow.headers)
    numbers = service.nobody().get("root:/metrics").text
    assert 'abplatform_requests_total{method="POST",route="/api/v1/conversions",status="429"} 2.0' in numbers
    assert small.pending("default") == 2


def test_a_database_that_does_not_answer_is_asked_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.admin.post("/conversions", json=BATCH)
    tries = []

    def give_no_answer(*_: Any) -> None:
        tries.append(1)
        raise Unavailable("the database does not answer; try again shortly")

    monkeypatch.setattr(inbox, "transaction", give_no_answer)
    answer = service.admin.post("/conversions", json=BATCH)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "UNAVAILABLE")
    assert len(tries) == 1


def fail(*_: Any, **__: Any) -> None:
    raise RuntimeError("a fault of ours")


def test_a_body_that_ends_early_is_refused_as_everywhere(service: Service) -> None:
    service.admin.post("/conversions", json=BATCH)
    answer = service.admin.post(
        "/conversions",
        data=io.BytesIO(b'{"events":['),
        content_type="application/json",
        headers={"Content-Length": "500"},
    )
    assert answer.status_code == 400


def test_a_length_in_many_digits_is_no_shorter_than_it_is(service: Service) -> None:
    service.admin.post("/conversions", json=BATCH)
    answer = service.admin.post(
        "/conversions",
        data=io.BytesIO(b'{"events":['),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "0000000000015000000000"},
    )
    assert answer.status_code == 413
