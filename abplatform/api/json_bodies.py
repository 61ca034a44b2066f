"""JSON bodies of requests: as strict as `abplatform.domain.strict_json`."""

from __future__ import annotations

from typing import Any

from flask import Request

from abplatform.api.bodies import LARGEST_BODY, has_body, read_body
from abplatform.domain.strict_json import parse_json
from abplatform.errors import InvalidInput, Unreadable, UnsupportedMedia


def read_json(request: Request, *, most: int = LARGEST_BODY) -> Any:
    """Read the JSON body of a request.

    Args:
        request: its stream must not have been touched.
        most: largest number of bytes, both as sent and unpacked.

    Raises:
        UnsupportedMedia, TooLarge, Unreadable: as `read_text`; also if it is not strict JSON.
    """
    return parse_json(read_text(request, most=most))


def read_text(request: Request, *, most: int = LARGEST_BODY) -> bytes:
    """Read the body of a request that says that it is JSON; what it holds is not looked at.

    Raises:
        UnsupportedMedia: if the content type is not ``application/json`` in UTF-8.
        TooLarge: if the body passes ``most``.
        Unreadable: if there is no body, or it does not come whole.
    """
    if not has_body(request):
        raise Unreadable("the request has no body; send a JSON object")
    _check_content_type(request)
    text = read_body(request, most=most)
    if not text.strip():
        raise Unreadable("the body is empty; send a JSON object")
    return text


def read_optional_json(request: Request) -> Any:
    """Read the body of a request that needs none; without one the value is an empty object.

    Raises:
        UnsupportedMedia, TooLarge, Unreadable: as `read_json`.
    """
    return read_json(request) if has_body(request) else {}


def check_no_fields(request: Request) -> None:
    """Refuse a body that says anything, for calls that take none.

    Raises:
        InvalidInput: it has fields.
        UnsupportedMedia, TooLarge, Unreadable: as `read_json`.
    """
    if read_optional_json(request) != {}:
        raise InvalidInput({"": ["this call takes no fields; send no body or {}"]})


def _check_content_type(request: Request) -> None:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "application/json" or charset not in {"utf-8", "utf8"}:
        raise UnsupportedMedia("Content-Type must be application/json, in UTF-8")
