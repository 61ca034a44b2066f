"""Doing things once: a repeated ``Idempotency-Key`` gets the answer that its first request got.

The answer is kept in the transaction that makes or changes the thing, so that neither can exist without the other.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from flask import Response, current_app, g, request

from abplatform.api.context import platform, project
from abplatform.domain.checks import printable
from abplatform.errors import IdempotencyMismatch, InvalidInput
from abplatform.storage.replies import Reply
from abplatform.storage.session import Work

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
KEPT_FOR = timedelta(days=7)
PARAMETER = {
    "in": "header",
    "name": HEADER,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    "description": f"The same key with the same body gets the same answer again, for {KEPT_FOR.days} days.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request that makes or changes something answers.

    Attributes:
        document: the resource.
        headers: such as ``ETag`` and ``Location``.
        secrets: fields of the document that are shown once and kept nowhere; a repeated answer has null there.
        status: of HTTP.
    """

    document: dict[str, object]
    headers: dict[str, str]
    secrets: tuple[str, ...] = field(default=())
    status: int = 201


def answer_once(act: Callable[[Work], Answer]) -> Response:
    """Run ``act`` in one transaction, unless its answer is already known.

    Args:
        act: makes or changes the resource.

    Raises:
        IdempotencyMismatch: if the key was used with another body.
        InvalidInput: if the key itself cannot be used.
    """
    parts, key = platform(), _read_key()
    with parts.uow.begin() as work:
        if key is None:
            return _answer(act(work))
        # Of two requests with one key, the second waits here and finds the answer of the first.
        work.projects.lock(project())
        known = work.replies.find(project(), key, _operation())
        if known is not None:
            return _repeat(known)
        answer = act(work)
        now = parts.now()
        work.replies.forget(before=now - KEPT_FOR)
        kept = answer.document | dict.fromkeys(answer.secrets)
        work.replies.add(
            project(),
            key,
            _operation(),
            Reply(
                request_hash=_digest(),
                status=answer.status,
                headers=answer.headers,
                body=_write(kept),
                created_at=now,
            ),
        )
    return _answer(answer)


def _answer(answer: Answer) -> Response:
    return _json(_write(answer.document), answer.status, answer.headers)


def _repeat(known: Reply) -> Response:
    if known.request_hash != _digest():
        raise IdempotencyMismatch(f"this {HEADER} was used with another body; use a new one for a new request")
    return _json(known.body, known.status, dict(known.headers))


def _json(body: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(body, status=status, headers=headers, content_type="application/json")


def _operation() -> str:
    return f"{request.method} {request.path}"


def _write(document: dict[str, object]) -> bytes:
    return current_app.json.dumps(document, separators=(",", ":")).encode()


def _digest() -> str:
    """Two bodies are the same if they say the same.

    The hash is keyed, since a body may hold ids of units: without the key nobody finds them by trying.
    """
    said = b"idempotent request: " + json.dumps(g.get("json_body", {}), sort_keys=True).encode()
    return hmac.digest(platform().pseudonym_key, said, "sha256").hex()


def _read_key() -> str | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not printable(key):
        raise InvalidInput({HEADER: [f"must be 1 to {LONGEST_KEY} printable ASCII characters"]})
    return key
