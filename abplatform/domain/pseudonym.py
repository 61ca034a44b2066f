"""Pseudonyms of units: raw ids never reach a database, a file or a log."""

from __future__ import annotations

import hashlib
import hmac


def pseudonymise(key: bytes, unit_type: str, unit_id: str) -> str:
    """HMAC-SHA256 of a unit under the installation's secret, as 64 hexadecimal digits.

    The length of the type stands before it, so that no two (type, id) pairs share an encoding.

    Args:
        key: the secret, at least 32 bytes.
        unit_type: for example ``user_id``.
        unit_id: the raw id, used as it is.

    >>> pseudonymise(b"k" * 32, "user_id", "u-1") == pseudonymise(b"k" * 32, "user_id", "u-1")
    True
    """
    kind = unit_type.encode()
    message = b"%d:%s%s" % (len(kind), kind, unit_id.encode())
    return hmac.digest(key, message, hashlib.sha256).hex()
