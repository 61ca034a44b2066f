"""Conditional requests: strong ETags on what is read, ``If-Match`` on what is changed (RFC 9110, section 13)."""

from __future__ import annotations

from datetime import datetime

from flask import Response, request

from abplatform.errors import PreconditionFailed, PreconditionRequired

IF_MATCH_PARAMETER = {
    "in": "header",
    "name": "If-Match",
    "required": True,
    "schema": {"type": "string"},
    "description": "The `ETag` that a read gave.",
}
MAY_MATCH_PARAMETER = {
    **IF_MATCH_PARAMETER,
    "required": False,
    "description": "The `ETag` that a read gave: the step is taken only from that version, so that it can be repeated.",
}
IF_NONE_MATCH_PARAMETER = {
    "in": "header",
    "name": "If-None-Match",
    "schema": {"type": "string"},
    "description": "An `ETag` that is already known; the answer is 304 while it is the current one.",
}
ETAG_HEADER = {"ETag": {"description": "The version of what was read.", "schema": {"type": "string"}}}


def revision_tag(revision: int, created_at: datetime) -> str:
    """The ETag of one revision, without quotes.

    The time of creation is part of it: what is deleted and made anew under the same key begins again at revision 1.
    """
    return f"{revision}-{created_at:%Y%m%dT%H%M%S%f}"


def check_if_match(tag: str) -> None:
    """Refuse a change to another version than the caller has read.

    Args:
        tag: of the current version.

    Raises:
        PreconditionRequired: without ``If-Match``.
        PreconditionFailed: if it does not name the current version.
    """
    if "If-Match" not in request.headers:
        raise PreconditionRequired("read it with GET, and send the ETag of that answer in the header If-Match")
    if request.headers["If-Match"].strip() == tag:
        raise PreconditionFailed('If-Match needs the ETag with its quotes, as a read gave it: "..."')
    if not request.if_match.contains(tag):
        raise PreconditionFailed(
            "If-Match names another version than the present one: it has changed since you read it; read it again with "
            "GET, decide anew, and send the ETag of that answer"
        )


def tagged(response: Response, tag: str) -> Response:
    """The response with its ETag; 304 without a body if the caller already knows it."""
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request)  # type: ignore[return-value]
