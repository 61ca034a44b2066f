"""The bucket of a unit: one number from 0 to 999,999 per salt, the same in every language.

A released hash version is never edited; a new one is added beside it.
"""

from collections.abc import Callable
from hashlib import sha256
from struct import Struct

HASH_VERSION = 1
BUCKETS = 1_000_000

_HEXADECIMAL = frozenset("0123456789abcdef")
first_eight_bytes: Callable[[bytes], tuple[int]] = Struct(">Q").unpack_from


def bucket(salt: str, unit_id: str) -> int:
    """Return the bucket of a unit under a salt, an integer in [0, 1,000,000).

    It is the first 13 hexadecimal digits (52 bits) of SHA-256 over the UTF-8 bytes of
    ``len(salt) ":" salt unit_id``, modulo 1,000,000, where ``len(salt)`` is the decimal count of the salt's
    UTF-8 bytes: no two (salt, unit) pairs share an encoding. The id is used as it is: no trimming, no case
    folding, no Unicode normalisation.

    Raises:
        ValueError: ``salt`` or ``unit_id`` is not a string, or has no UTF-8 form (a lone surrogate).

    >>> bucket("rate-display", "u-1")
    346557
    """
    return bucket_of(salt_prefix(salt), encode_text(unit_id, "unit_id"))


def unit_digest(salt: str, unit_id: str) -> str:
    """Return the SHA-256 of what ``bucket`` hashes, as 64 hexadecimal digits: how lists of units are published.

    Raises:
        ValueError: as for ``bucket``.

    >>> unit_digest("rate-display", "u-1")[:13]
    'e1a6b3eadc0fd'
    """
    return sha256(salt_prefix(salt) + encode_text(unit_id, "unit_id")).hexdigest()


def salt_prefix(salt: str) -> bytes:
    """Return the part of the hashed bytes that a salt fixes; ValueError as for ``bucket``."""
    encoded = encode_text(salt, "salt")
    return b"%d:%b" % (len(encoded), encoded)


def bucket_of(prefix: bytes, unit: bytes) -> int:
    """Return the bucket for the prefix of a salt and the UTF-8 bytes of a unit id."""
    # Eight bytes are 16 hexadecimal digits; the shift drops the last three.
    return (first_eight_bytes(sha256(prefix + unit).digest())[0] >> 12) % BUCKETS


def decode_digest(digits: object, name: str) -> bytes:
    """Return the 32 bytes of a digest as ``unit_digest`` writes it; a ValueError names ``name``."""
    if isinstance(digits, str) and len(digits) == 64 and _HEXADECIMAL.issuperset(digits):
        return bytes.fromhex(digits)
    raise ValueError(f"{name}: must be 64 hexadecimal digits in lower case")


def encode_text(text: object, name: str) -> bytes:
    """Return the UTF-8 bytes of ``text``; a ValueError names ``name`` where there are none."""
    if not isinstance(text, str):
        raise ValueError(f"{name}: must be a string, not {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: holds a lone surrogate and cannot be written as UTF-8") from None
