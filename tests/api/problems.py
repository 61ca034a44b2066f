"""What every refusal looks like."""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse


def refusal(response: TestResponse, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document of a refused request, checked for its shape."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = response.get_json(force=True)
    assert {"type", "title", "status", "detail", "code"} <= document.keys() <= SHAPE
    assert document["status"] == status
    assert document["detail"]
    assert "Traceback" not in response.text
    assert code is None or document["code"] == code, document
    return document


def refused_fields(response: TestResponse) -> set[str]:
    """The fields that a 422 names."""
    return set(refusal(response, 422)["errors"])


SHAPE = {"type", "title", "status", "detail", "code", "errors"}
