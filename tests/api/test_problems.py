"""Every refusal has one shape, whoever refuses: a view, the framework, or a fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import structlog
from structlog.testing import capture_logs

from abplatform.api.problems import STATUSES
from abplatform.errors import AbplatformError, StartRefused, Unavailable
from abplatform.services import publish
from tests.api.conftest import Service
from tests.api.documents import conversion_body
from tests.api.problems import refusal


def kinds(kind: type[AbplatformError]) -> Iterator[type[AbplatformError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_every_error_of_the_platform_has_a_status() -> None:
    for kind in kinds(AbplatformError):
        if kind is not AbplatformError and not issubclass(kind, StartRefused):
            assert any(parent in STATUSES for parent in kind.__mro__), kind


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "root:/api", 404, "NOT_FOUND"),
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/experiments/", 404, "NOT_FOUND"),
        ("GET", "//experiments", 404, "NOT_FOUND"),
        ("GET", "/experiments/UPPER", 404, "NOT_FOUND"),
        ("GET", "/experiments/%00", 404, "NOT_FOUND"),
        ("GET", "/experiments/a%00b", 404, "NOT_FOUND"),
        ("GET", "/experiments/a%0a", 404, "NOT_FOUND"),
        ("GET", "/experiments/%ff%fe", 404, "NOT_FOUND"),
        ("GET", "/experiments/%ed%a0%80", 404, "NOT_FOUND"),
        ("GET", "/experiments/..%2fkeys", 404, "NOT_FOUND"),
        ("GET", "/experiments/" + "a" * 65, 404, "NOT_FOUND"),
        ("GET", "/experiments/" + "a" * 100_000, 404, "NOT_FOUND"),
        ("GET", "/experiments/nothing", 404, "NOT_FOUND"),
        ("GET", "/experiments/nothing/results", 404, "NOT_FOUND"),
        ("GET", "/experiments/nothing/results/looks", 404, "NOT_FOUND"),
        ("DELETE", "/keys/x", 404, "NOT_FOUND"),
        ("DELETE", "/keys/0123456789ABCDEF", 404, "NOT_FOUND"),
        ("PUT", "/experiments", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/snapshot", 405, "METHOD_NOT_ALLOWED"),
        ("TRACE", "/experiments", 405, "METHOD_NOT_ALLOWED"),
        ("NONSENSE", "/experiments", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "root:/healthz", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_what_the_framework_refuses_is_a_problem(
    shared_service: Service, method: str, path: str, status: int, code: str
) -> None:
    answer = shared_service.admin.call(method, path)
    refusal(answer, status, code)
    assert (status == 405) == ("Allow" in answer.headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "text/html"},
        {"Accept": ";;;"},
        {"Range": "bytes=0-1"},
        {"If-None-Match": "\x00"},
        {"If-Modified-Since": "never"},
        {"Cookie": "a=b; \xff"},
        {"X-Forwarded-For": "' OR 1=1"},
        {"Host": "evil.example\u2028"},
        {"Transfer-Encoding": "chunked, chunked"},
        {"Expect": "nothing"},
        {"Content-Encoding": "br"},
        {"X-HTTP-Method-Override": "DELETE"},
    ],
)
def test_odd_headers_do_no_harm(shared_service: Service, headers: dict[str, str]) -> None:
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    answer = shared_service.admin.get("/experiments", environ_overrides=environ)
    assert answer.status_code in {200, 400}


def test_an_unexpected_fault_is_logged_with_its_number_and_shows_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        secret_of_the_function = "hidden local"  # noqa: F841 - must not reach the log
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(publish, "read_snapshot", fail)
    structlog.reset_defaults()
    with capture_logs() as logs:
        answer = service.admin.get("/snapshot")
    document = refusal(answer, 500, "INTERNAL_ERROR")
    assert "fault of ours" not in answer.text
    (entry,) = [log for log in logs if log["event"] == "unexpected error"]
    assert entry["request_id"] in document["detail"]
    assert entry["request_id"] == answer.headers["X-Request-Id"]
    assert "a fault of ours" in entry["trace"]
    assert "hidden local" not in entry["trace"].replace('secret_of_the_function = "hidden local"', "")
    assert service.admin.get("/experiments").status_code == 200


def test_a_part_that_does_not_answer_is_a_503_that_says_when_to_try_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Unavailable("the database does not answer; try again shortly")

    monkeypatch.setattr(publish, "read_snapshot", fail)
    answer = service.admin.get("/snapshot")
    refusal(answer, 503, "UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_database_without_tables_is_not_ready_but_alive(service: Service) -> None:
    nobody = service.nobody()
    assert nobody.get("root:/readyz").get_json() == {"status": "ok"}
    with service.platform.database.begin() as connection:
        connection.execute(sa.text("ALTER TABLE project RENAME TO gone"))
    assert nobody.get("root:/readyz").status_code >= 500
    assert nobody.get("root:/healthz").get_json() == {"status": "ok"}


def test_numbers_are_told_while_the_database_is_away(service: Service) -> None:
    nobody = service.nobody()
    assert "\nabplatform_database_up 1.0\n" in nobody.get("root:/metrics").text
    engine = service.platform.database
    engine.dispose()

    def refuse(*_: Any) -> None:
        if engine.dialect.name == "postgresql":
            raise psycopg.OperationalError("connection refused")
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    sa.event.listen(engine, "do_connect", refuse)
    assert nobody.get("root:/readyz").status_code == 503
    answer = nobody.get("root:/metrics")
    sa.event.remove(engine, "do_connect", refuse)
    assert answer.status_code == 200
    assert "\nabplatform_database_up 0.0\n" in answer.text
    assert 'abplatform_requests_total{method="GET",route="/readyz",status="503"} 1.0' in answer.text
    assert "abplatform_inbox_pending" not in answer.text
    assert "\nabplatform_database_up 1.0\n" in nobody.get("root:/metrics").text


def test_every_answer_forbids_guessing_framing_and_storing(shared_service: Service) -> None:
    for path in ("/experiments", "/snapshot", "/nothing", "root:/healthz", "root:/metrics"):
        headers = shared_service.admin.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] in {"no-store", "private, no-cache"}
        assert len(headers["X-Request-Id"]) == 32


def test_requests_are_counted_by_route_not_by_path(shared_service: Service) -> None:
    shared_service.admin.get("/experiments/some-key")
    shared_service.admin.get("/no/such/path")
    shared_service.admin.post("/experiments/some-key/pause")
    text = shared_service.nobody().get("root:/metrics").text
    assert 'route="/api/v1/experiments/<key:key>",status="404"' in text
    assert 'route="/api/v1/experiments/<key:key>/pause",status="404"' in text
    assert "any(" not in text
    assert 'route="unknown",status="404"' in text
    assert "some-key" not in text
    assert "/no/such/path" not in text


def test_unit_ids_stay_out_of_logs(service: Service) -> None:
    with capture_logs() as logs:
        service.admin.post("/conversions", json=conversion_body(unit_id="+86-138-0013-8000"))
        service.admin.post("/conversions", json=conversion_body(unit_id="+86-138-0013-8000", value="x"))
    assert "138" not in str(logs)
