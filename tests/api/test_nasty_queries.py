"""Every query parameter that the API describes, with values that break careless code: a 2xx, or a 4xx that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Service
from tests.api.documents import behaviour_body, costs_body, exposure_body, holdout_body
from tests.api.problems import refusal
from tests.api.test_nasty_values import NASTY, leaves, replaced

TEXTS = (
    "",
    "0",
    "1",
    "-1",
    "1.0",
    "²",
    "9223372036854775808",
    "9" * 60,
    "NaN",
    "a" * 10_000,
    "'; DROP TABLE experiment; --",
    "<script>alert(1)</script>",
    "\u202e\u200b\ufeff",
    "\x00",
    "\x01\x1f\x7f",
    "purchase,",
    ",".join(["purchase"] * 30),
    "1,,2",
    "30,7",
    "rfm@0",
    "rfm@99999999999",
    "rfm@²",
    "experiment:",
    "experiment:\x00",
)
VALUES = (*map(quote, TEXTS), "%ff%fe", "%ed%a0%80", "%", "%zz")
"""As they stand in the address; the last ones are no text at all, or no proper escapes."""
NEEDED = {"by": "channel", "metric": "purchase"}
"""What a route asks for beside the parameter that is tried."""
KEYS = {"experiments": "rate-display", "holdouts": "q3", "metrics": "purchase", "behaviours": "rfm"}


@pytest.fixture(name="prepared", scope="module")
def _prepared(shared_service: Service) -> Service:
    shared_service.start()
    for path, body in (("/holdouts", holdout_body()), ("/behaviours", behaviour_body())):
        assert shared_service.admin.post(path, json=body).status_code == 201
    seen = [
        exposure_body(channel, unit_id=channel, attributes={"channel": channel}) for channel in costs_body()["costs"]
    ]
    assert shared_service.admin.post("/exposures", json={"events": seen}).get_json()["rejected"] == []
    shared_service.platform.seal("default")
    return shared_service


def described(service: Service) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Address and name of each query parameter, with the others that its route needs."""
    paths = service.admin.get("/openapi.json").get_json()["paths"]
    template = service.admin.get("/metric-templates").get_json()["items"][0]["key"]
    keys = KEYS | {"metric-templates": template}
    for path, operations in paths.items():
        place = path.removeprefix("/api/v1")
        address = place.replace("{key}", keys.get(place.split("/")[1], ""))
        for name, others in _parameters(operations.get("get", {})):
            yield address, name, others


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    found = {each["name"]: each["required"] for each in operation.get("parameters", ()) if each.get("in") == "query"}
    for name in found:
        yield name, {other: NEEDED[other] for other, required in found.items() if required and other != name}


def test_a_nasty_query_is_answered_or_its_parameter_is_named(prepared: Service, unchanged: Service) -> None:
    tried = list(described(prepared))
    asked_for = {"by", "with", "phase", "days", "view", "cohort", "method", "metric", "version", "cursor", "lang"}
    assert asked_for <= {name for _, name, _ in tried}
    answered, wrong = set(), []
    for address, name, others in tried:
        beside = "".join(f"&{other}={value}" for other, value in others.items())
        for value in VALUES:
            answer = unchanged.admin.get(f"{address}?{name}={value}{beside}")
            if answer.status_code < 300:
                answered.add((address, name))
                continue
            assert answer.status_code < 500, f"{address}?{name}={value[:40]}"
            problem = refusal(answer, answer.status_code)
            if name not in {path.partition(".")[0] for path in problem.get("errors", {})}:
                wrong.append(f"{address}?{name}={value[:40]}: {answer.status_code} {problem['detail']}")
    assert wrong == []
    assert len(answered) > 10


def test_a_nasty_value_in_a_question_is_answered_or_its_field_is_named(unchanged: Service) -> None:
    """What costs too much room for an address is asked in a body."""
    body = costs_body(method="fixed", phase=1)
    answered = 0
    for path in leaves(body):
        for value in NASTY[::2]:  # what is taken is computed
            answer = unchanged.admin.post(
                "/experiments/rate-display/results/acquisition-cost", json=replaced(body, path, value)
            )
            assert answer.status_code < 500, f"{path} = {value!r}"
            if answer.status_code == 200:
                answered += 1
                continue
            errors = refusal(answer, 422)["errors"]
            assert {str(path[0])} == {name.partition(".")[0] for name in errors}, f"{path} = {value!r}: {errors}"
    assert answered
