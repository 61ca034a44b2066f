"""The API's description is valid, whole and true; its page needs nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from tests.api.conftest import Service

CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance, response_headers_conformance]
EXAMPLES_PER_OPERATION = 12


@pytest.fixture(name="description")
def _description(shared_service: Service) -> dict[str, Any]:
    answer = shared_service.nobody().get("/openapi.json")
    assert answer.status_code == 200
    document: dict[str, Any] = answer.get_json()
    return document


def test_it_is_valid_openapi_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1.")
    OPENAPI_31_VALIDATOR.validate(description)


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    references = set(re.findall(r"'\$ref': '#/components/(\w+)/(\w+)'", str(description)))
    assert len(references) > 20
    assert all(name in description["components"][kind] for kind, name in references)


def test_the_address_of_the_server_alone_leads_to_the_docs_page(shared_service: Service) -> None:
    answer = shared_service.nobody().get("root:/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/api/docs")


def test_every_route_is_described_and_says_what_it_does(shared_service: Service, description: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule), method.lower())
        for rule in shared_service.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule != "/" and not rule.rule.startswith(("/api/docs", "/api/v1/openapi.json"))
    }
    described = {
        (path, method) for path, methods in description["paths"].items() for method in methods if method != "parameters"
    }
    assert described == routes
    for path, method in described:
        assert description["paths"][path][method]["summary"], (path, method)


def test_every_operation_but_health_needs_a_key_and_names_the_roles(description: dict[str, Any]) -> None:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api/v1") and method != "parameters":
                assert operation["security"] == [{"key": []}], (path, method)
                assert operation["x-roles"], (path, method)
    assert description["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_refusals_are_described_as_problems(description: dict[str, Any]) -> None:
    default = description["components"]["responses"]["DEFAULT_ERROR"]
    assert list(default["content"]) == ["application/problem+json"]


def test_generated_requests_find_no_server_error_and_no_answer_that_is_not_described(service: Service) -> None:
    """Schemathesis, some examples for each operation; the long run is a benchmark's matter."""
    service.start()
    service.arrange()
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", service.app, config=SchemathesisConfig())
    headers = {"Authorization": f"Bearer {service.admin.secret}", "If-Match": "*"}
    asked = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        if operation.path.startswith("/api/v1/keys/"):
            continue

        @hypothesis.seed(20261123)
        @hypothesis.settings(
            max_examples=EXAMPLES_PER_OPERATION,
            deadline=None,
            database=None,
            derandomize=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(headers=headers, checks=CHECKS)

        ask()
    assert asked > 100
    for path in (
        "/experiments",
        "/metrics",
        "/metrics/purchase/versions",
        "/projects",
        "/layers",
        "/holdouts",
        "/segments",
        "/behaviours",
        "/keys",
        "/snapshot",
        "/experiments/rate-display/results",
    ):
        assert service.admin.get(path).status_code == 200, path


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inline = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [value for name in ("src", "href") if (value := values.get(name))]
        self.inline += tag == "style" or (tag == "script" and "src" not in values)


def test_the_docs_page_loads_everything_from_here_under_a_strict_policy(shared_service: Service) -> None:
    nobody = shared_service.nobody()
    page = nobody.get("root:/api/docs")
    assert page.status_code == 200
    references = _References()
    references.feed(page.text)
    assert references.inline == 0
    assert len(references.found) >= 4
    for url in references.found:
        assert url.startswith("/api/"), url
        answer = nobody.get(f"root:{url}")
        assert answer.status_code == 200, url
        assert len(answer.data) > 100, url
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "http" not in policy
    assert "http" not in nobody.get("root:/api/docs/start.js").text
    assert nobody.get("root:/api/docs/../app.py").status_code == 404
    assert nobody.get("root:/api/docs/index.html").status_code == 404
