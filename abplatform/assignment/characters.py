"""Sets of characters, as ascending ranges ``[low, high)`` of code points without overlap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from functools import cache

Characters = tuple[tuple[int, int], ...]

END = 0x110000
ANY: Characters = ((0, END),)
DIGITS: Characters = ((0x30, 0x3A),)
WORD: Characters = ((0x30, 0x3A), (0x41, 0x5B), (0x5F, 0x60), (0x61, 0x7B))
# Tab, line feed, vertical tab, form feed, carriage return; space.
SPACE: Characters = ((0x09, 0x0E), (0x20, 0x21))

_LAST_WITH_CASE = 0x20000


def union(ranges: Iterable[tuple[int, int]]) -> Characters:
    """Return the set that ranges cover together."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(characters: Characters) -> Characters:
    """Return every character that is not in a set, surrogates included."""
    bounds = [0, *(bound for pair in characters for bound in pair), END]
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return tuple((low, high) for low, high in pairs if low < high)


def lower(character: str) -> str:
    """Return the lower case of one character, or itself where that is more than one character (``İ``)."""
    lowered = character.lower()
    return lowered if len(lowered) == 1 else character


def with_lower_case(characters: Characters) -> Characters:
    """Return a set together with the lower case of each of its members."""
    codes, lowered = _capitals()
    added = [
        (lowered[index], lowered[index] + 1)
        for low, high in characters
        for index in range(bisect_left(codes, low), bisect_left(codes, high))
    ]
    return union([*characters, *added])


@cache
def _capitals() -> tuple[list[int], list[int]]:
    """The characters that have another lower case, ascending, and beside them those."""
    pairs = [(code, ord(lower(chr(code)))) for code in range(_LAST_WITH_CASE)]
    changed = [(code, lowered) for code, lowered in pairs if code != lowered]
    return [code for code, _ in changed], [lowered for _, lowered in changed]
