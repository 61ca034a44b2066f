"""Versions of apps and systems in the order that people expect.

The precedence of Semantic Versioning 2.0.0 (section 11), widened where apps in stores differ from it: any
number of release parts, missing ones counting as 0 (3.2 equals 3.2.0), and a leading ``v``.
"""

from __future__ import annotations

from functools import lru_cache

# Longer texts are not versions. The bound also keeps int() clear of Python's limit on digits.
MAX_LENGTH = 256

_IDENTIFIER = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")

# Release parts; whether it is a release (a pre-release sorts before); identifiers, numeric ones first.
Version = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]


def parse_version(text: object) -> Version | None:
    """Return a key that orders versions, or None if ``text`` is not one.

    A version is ``[v]N[.N...][-ID[.ID...]][+BUILD]`` with decimal N and identifiers of ASCII letters, digits
    and hyphens. The leading ``v`` and the build metadata are ignored.
    """
    return _parse(text) if isinstance(text, str) and len(text) <= MAX_LENGTH else None


# The versions of an app in use are few, and each evaluation reads one.
@lru_cache(maxsize=1_024)
def _parse(text: str) -> Version | None:
    core, _, _ = text.removeprefix("v").partition("+")
    release, hyphen, prerelease = core.partition("-")
    parts = release.split(".")
    identifiers = prerelease.split(".") if hyphen else []
    if not all(map(_is_number, parts)) or not all(map(_is_identifier, identifiers)):
        return None
    return _strip_zeros(parts), not hyphen, tuple(map(_identifier_key, identifiers))


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit()


def _is_identifier(part: str) -> bool:
    return bool(part) and _IDENTIFIER.issuperset(part)


def _identifier_key(part: str) -> tuple[bool, int, str]:
    return (False, int(part), "") if _is_number(part) else (True, 0, part)


def _strip_zeros(parts: list[str]) -> tuple[int, ...]:
    numbers = [int(part) for part in parts]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
