"""Pseudonyms of units: raw ids never reach a database, a file or a log."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

DIGITS = 64
_BLOCK = 64


class Pseudonymiser:
    """Makes pseudonyms of units of one type: HMAC-SHA256 (RFC 2104), with all that the type fixes hashed once.

    Args:
        key: the installation's secret, at least 32 bytes.
        unit_type: for example ``user_id``. Its length stands before it, so that no two (type, id) pairs share an
            encoding.
    """

    def __init__(self, key: bytes, unit_type: str) -> None:
        padded = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
        kind = unit_type.encode()
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded) + b"%d:%s" % (len(kind), kind))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def of(self, unit_ids: Iterable[str]) -> list[str]:
        """Pseudonyms of raw ids, used as they are, as 64 hexadecimal digits each."""
        digits = self.digests(map(str.encode, unit_ids)).hex()
        return [digits[start : start + DIGITS] for start in range(0, len(digits), DIGITS)]

    def digests(self, unit_ids: Iterable[bytes]) -> bytes:
        """Pseudonyms of raw ids in UTF-8, as 32 bytes each."""
        begin_inner, begin_outer = self._inner.copy, self._outer.copy
        pseudonyms = []
        for unit_id in unit_ids:
            inner, outer = begin_inner(), begin_outer()
            inner.update(unit_id)
            outer.update(inner.digest())
            pseudonyms.append(outer.digest())
        return b"".join(pseudonyms)


def pseudonymise(key: bytes, unit_type: str, unit_id: str) -> str:
    """The pseudonym of one unit; see `Pseudonymiser`.

    >>> pseudonymise(b"k" * 32, "user_id", "u-1") == pseudonymise(b"k" * 32, "user_id", "u-1")
    True
    """
    return Pseudonymiser(key, unit_type).of([unit_id])[0]
