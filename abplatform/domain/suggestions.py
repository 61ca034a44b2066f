"""What somebody may have meant who named something that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHORT_LIST = 10
LONGEST_NAME = 128
"""Longer names are compared with nothing: they are no misspelt keys, and comparing takes time."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not there: the one that is most like it, or the few that there are.

    Args:
        name: as somebody wrote it.
        known: what there is.

    Returns:
        A text that begins with a semicolon, or an empty one.

    >>> suggest("hypotesis", ["name", "hypothesis", "plan"])
    "; did you mean 'hypothesis'?"
    >>> suggest("c", ["treatment", "control"])
    "; there is 'treatment', 'control'"
    >>> suggest("c", [])
    ''
    """
    names = list(known)
    close = get_close_matches(name, names, n=1) if len(name) <= LONGEST_NAME else []
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {quote(names)}" if 0 < len(names) <= SHORT_LIST else ""


def quote(names: Iterable[str]) -> str:
    """Names as a list within a sentence."""
    return ", ".join(map(repr, names))
