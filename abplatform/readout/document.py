"""The scorecard as the public result document, unrounded."""

from __future__ import annotations

from typing import Any

import msgspec

from abplatform.domain.scorecard import Scorecard


def as_document(scorecard: Scorecard) -> dict[str, Any]:
    """The result format of ``GET /experiments/{key}/results`` as plain values; times are RFC 3339 text.

    A number that JSON cannot hold (NaN, infinity) is no result: it becomes null.
    """
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(scorecard))
    return document


def as_json(scorecard: Scorecard) -> str:
    """The same document as indented JSON, with a line break at its end."""
    return msgspec.json.format(msgspec.json.encode(scorecard), indent=2).decode() + "\n"
