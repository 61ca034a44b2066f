"""What somebody may have meant who named something that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SHORT_LIST = 10
LONGEST_NAME = 80
"""Longer names are compared with nothing: no key is that long, and comparing takes time."""
MOST_COMPARED = 100
MOST_SUGGESTIONS = 5


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not there: the one that is most like it, or the few that there are.

    Of many names at most `MOST_COMPARED` are looked at, those first that begin alike.

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
    names = [each for each in known if len(each) <= LONGEST_NAME]
    if len(names) > MOST_COMPARED:
        names.sort(key=lambda each: (each[:4] != name[:4], each[:1] != name[:1]))
        names = names[:MOST_COMPARED]
    close = get_close_matches(name, names, n=1) if len(name) <= LONGEST_NAME else []
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is {quote(names)}" if 0 < len(names) <= SHORT_LIST else ""


class Suggestions:
    """Suggestions for the first names of one request: it may hold thousands that are not there."""

    def __init__(self) -> None:
        self._left = MOST_SUGGESTIONS

    def suggest(self, name: str, known: Iterable[str]) -> str:
        """As the function of that name; empty after `MOST_SUGGESTIONS` calls."""
        if self._left <= 0:
            return ""
        self._left -= 1
        return suggest(name, known)


def quote(names: Iterable[str]) -> str:
    """Names as a list within a sentence."""
    return ", ".join(map(repr, names))
