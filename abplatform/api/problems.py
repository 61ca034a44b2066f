"""The only place where refusals become HTTP: ``application/problem+json`` (RFC 9457) for every error there is."""

from __future__ import annotations

import traceback
from http import HTTPStatus

import msgspec
import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from abplatform.errors import (
    AbplatformError,
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    InboxFull,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unreadable,
    UnsupportedMedia,
)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

STATUSES: dict[type[AbplatformError], HTTPStatus] = {
    Unreadable: HTTPStatus.BAD_REQUEST,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    IdempotencyMismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    PreconditionRequired: HTTPStatus.PRECONDITION_REQUIRED,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    InboxFull: HTTPStatus.TOO_MANY_REQUESTS,
}

# Headers that tell the client what to do next.
_HINTS: dict[type[AbplatformError], dict[str, str]] = {
    Unauthenticated: {"WWW-Authenticate": 'Bearer realm="abplatform"'},
    Unavailable: {"Retry-After": str(RETRY_AFTER_SECONDS)},
    InboxFull: {"Retry-After": str(RETRY_AFTER_SECONDS)},
    UnsupportedMedia: {"Accept": "application/json", "Accept-Encoding": "gzip, zstd"},
}

# What the web framework refuses by itself, before a view of ours is reached.
_FRAMEWORK_CODES = {
    HTTPStatus.BAD_REQUEST: Unreadable.code,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLarge.code,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: UnsupportedMedia.code,
}

_log = structlog.get_logger("abplatform.api")


def register_problems(app: Flask) -> None:
    """Give every error of the app the one shape."""
    app.register_error_handler(AbplatformError, refuse)
    app.register_error_handler(HTTPException, _refuse_as_framework)
    app.register_error_handler(Exception, _report)


def problem(status: HTTPStatus, code: str, detail: str, errors: dict[str, list[str]] | None = None) -> Response:
    """A problem document as a response.

    Args:
        status: of the response.
        code: stable reason in UPPER_SNAKE.
        detail: a sentence for people.
        errors: messages by dotted path of the field.
    """
    document: dict[str, object] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
    }
    if errors is not None:
        document["errors"] = errors
    return Response(msgspec.json.encode(document), status=int(status), content_type=CONTENT_TYPE)


def refuse(error: AbplatformError) -> Response:
    """A refusal as a response."""
    known = next((kind for kind in type(error).__mro__ if kind in STATUSES), None)
    if known is None:
        return _report(error)
    errors = error.errors if isinstance(error, InvalidInput) else None
    response = problem(STATUSES[known], error.code, error.detail, errors)
    response.headers.update(_HINTS.get(known, {}))
    return response


def _refuse_as_framework(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    code = _FRAMEWORK_CODES.get(status, status.name)
    response = problem(status, code, _explain(error) or status.phrase)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def _explain(error: HTTPException) -> str | None:
    """What the framework's refusal means here."""
    if error.code == HTTPStatus.NOT_FOUND:
        return "there is no such address here; /api/docs lists all"
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        return f"this address takes no {request.method}, but {', '.join(sorted(error.valid_methods))}"
    return error.description


def _report(error: Exception) -> Response:
    # As text: a rendered trace may show local variables, and with them unit ids and secrets.
    trace = "".join(traceback.format_exception(error))
    _log.error("unexpected error", request_id=g.get("request_id"), method=request.method, trace=trace)
    detail = f"something went wrong on this side; the log has more under request {g.get('request_id')}"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", detail)
