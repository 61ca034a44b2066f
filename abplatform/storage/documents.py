"""Domain objects as JSON text and back, without loss."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

Held = TypeVar("Held")


def to_text(value: object) -> str:
    """Write a domain object as JSON.

    The standard library writes and reads, since it keeps integers of any size.

    Raises:
        ValueError: it holds what strict JSON cannot say.
    """
    return json.dumps(msgspec.to_builtins(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def from_text(text: str, kind: type[Held]) -> Held:
    """Read a domain object of that kind."""
    return msgspec.convert(json.loads(text), kind)
