"""The short way for what products send all day: batches of events that are right, from keys that are known.

It does what the views in `abplatform.api.events` do, without what a web framework does around a view, which costs more
than taking a hundred events. Whatever is not plainly right takes the long way, with its body as it came, and is refused
or taken there.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from time import perf_counter
from typing import Any

from flask import Flask

from abplatform.api.auth import MATRIX, Ability, Admission
from abplatform.api.bodies import LARGEST_EVENTS_BODY, read_pieces
from abplatform.api.problems import refuse
from abplatform.api.silence import Visits
from abplatform.api.telemetry import Telemetry
from abplatform.bootstrap import Platform
from abplatform.domain.events import EventKind
from abplatform.errors import InboxFull, Unavailable, Unreadable
from abplatform.services.ingest import Intake

Environment = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environment, StartResponse], Iterable[bytes]]

LOOK_CLOSELY = "abplatform.look_closely"
"""Where the environment of a request says that its batch is not plainly right, and was not taken."""

_PATHS: dict[str, EventKind] = {"/api/v1/exposures": "exposure", "/api/v1/conversions": "conversion"}
_JSON = ("application/json", "application/json; charset=utf-8")
_STATUS = f"{HTTPStatus.ACCEPTED.value} {HTTPStatus.ACCEPTED.phrase.upper()}"


class FastLane:
    """Answers what it can by itself and leaves the rest to the app.

    A full inbox and a database that does not answer are refused here: the long way would do all of it once more.

    Args:
        app: the whole API.
        headers: of every answer.
    """

    def __init__(self, app: Flask, headers: Iterable[tuple[str, str]]) -> None:
        self._all_else: Application = app.wsgi_app
        self._platform: Platform = app.extensions["abplatform"]
        self._intake: Intake = app.extensions["abplatform_intake"]
        self._admission: Admission = app.extensions["abplatform_admission"]
        self._telemetry: Telemetry = app.extensions["abplatform_telemetry"]
        self._visits = Visits()
        self._headers = [("Content-Type", "application/json"), *headers]

    def __call__(self, environ: Environment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        self._visits.begin(environ)
        try:
            return self._answer(environ, start_response) or self._all_else(environ, start_response)
        finally:
            self._visits.end(environ)

    def _answer(self, environ: Environment, start_response: StartResponse) -> Iterable[bytes] | None:
        kind = _PATHS.get(environ.get("PATH_INFO", ""))
        length = _plain_length(environ) if kind is not None else None
        if kind is None or length is None:
            return None
        started = perf_counter()
        key = self._admission.recall(environ.get("HTTP_AUTHORIZATION", ""))
        if key is None or key.role not in MATRIX[Ability.SEND_EVENTS]:
            return None
        body = _read(environ, length)
        try:
            accepted = None if body is None else self._take(environ, kind, key.project, body)
        except (InboxFull, Unavailable) as error:
            refusal = refuse(error)
            self._count(environ, refusal.status_code, started)
            refusal.headers.extend([*self._headers[1:], _new_request_id()])
            return refusal(environ, start_response)
        if accepted is None:
            return None
        answer = b'{"accepted":%d,"rejected":[]}' % accepted
        self._count(environ, HTTPStatus.ACCEPTED, started)
        self._telemetry.count_events(kind, accepted=accepted, rejected=0)
        own = [("Content-Length", str(len(answer))), _new_request_id()]
        start_response(_STATUS, self._headers + own)
        return [answer]

    def _take(self, environ: Environment, kind: EventKind, project: str, body: bytes) -> int | None:
        try:
            accepted = self._intake.take_at_once(project, kind, body, received_at=self._platform.now())
        except (InboxFull, Unavailable):
            raise
        except Exception:  # noqa: BLE001 - the long way meets it again, and reports it
            # What was kept in spite of it has the same ids.
            return None
        environ[LOOK_CLOSELY] = accepted is None
        return accepted

    def _count(self, environ: Environment, status: int, started: float) -> None:
        self._telemetry.count_answer("POST", environ["PATH_INFO"], status, perf_counter() - started)


def _new_request_id() -> tuple[str, str]:
    return "X-Request-Id", uuid.uuid4().hex


def _plain_length(environ: Environment) -> int | None:
    """The length of a body that can be read in one go; None for all others."""
    plain = (
        environ.get("REQUEST_METHOD") == "POST"
        and environ.get("CONTENT_TYPE") in _JSON
        and "HTTP_CONTENT_ENCODING" not in environ
        and "HTTP_TRANSFER_ENCODING" not in environ
    )
    text = environ.get("CONTENT_LENGTH", "")
    if (
        not plain
        or not text.isascii()
        or not text.isdigit()
        or len(text) > 12
        or not 0 < int(text) <= LARGEST_EVENTS_BODY
    ):
        return None
    return int(text)


def _read(environ: Environment, length: int) -> bytes | None:
    """The body, which stays to be read by others as far as it came; None if it is not whole."""
    body = bytearray()
    with suppress(Unreadable):
        for piece in read_pieces(environ, environ["wsgi.input"], length):
            body += piece
    environ["wsgi.input"] = io.BytesIO(body)
    return bytes(body) if len(body) == length else None
