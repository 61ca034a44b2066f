"""A snapshot that the product hands over, instead of a server."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ._assignment import Snapshot, decode_snapshot


def read_given(snapshot: bytes | Mapping[str, Any] | str | PathLike[str]) -> Snapshot:
    """Read a snapshot from a file (text is its path), from bytes, or from a parsed document.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a snapshot; the message names the field.
    """
    if isinstance(snapshot, (bytes, Mapping)):
        return decode_snapshot(snapshot)
    return decode_snapshot(Path(snapshot).read_bytes())
