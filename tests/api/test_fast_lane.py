"""The short way for batches: the same answers as the long way, and no fault that goes past it."""

from __future__ import annotations

import io
from typing import Any

import pytest

from abplatform.warehouse import inbox
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

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(inbox, "pack", fail)
    answer = service.admin.post("/conversions", json=BATCH)
    assert (answer.status_code, answer.get_json()["code"]) == (500, "INTERNAL_ERROR")
    assert "X-Request-Id" in answer.headers


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
