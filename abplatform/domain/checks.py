"""Collecting what is wrong with a definition, field by field."""

from __future__ import annotations

import math
import re
import unicodedata

from abplatform.domain.suggestions import Suggestions
from abplatform.errors import InvalidInput

KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
KEY_RULE = "must be 1 to 64 characters of a-z, 0-9, _ and -, beginning with a letter or digit"
MAX_TEXT = 4000
MOST_INTEGER = 10**300
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Faults:
    """A list of faults by dotted path that ends in one `InvalidInput`.

    >>> faults = Faults()
    >>> faults.add("variants.0.weight", "must be positive")
    >>> faults.raise_any()
    Traceback (most recent call last):
    abplatform.errors.InvalidInput: variants.0.weight: must be positive
    """

    def __init__(self) -> None:
        self._errors: dict[str, list[str]] = {}
        self.suggest = Suggestions().suggest

    def add(self, path: str, message: str) -> None:
        """Note one fault."""
        self._errors.setdefault(path, []).append(message)

    def check(self, holds: bool, path: str, message: str) -> bool:
        """Note a fault unless ``holds``; gives ``holds`` back."""
        if not holds:
            self.add(path, message)
        return holds

    def key(self, value: str, path: str) -> bool:
        """Check the key of an experiment, metric, layer, holdout or segment."""
        return self.check(KEY.fullmatch(value) is not None, path, KEY_RULE)

    def text(self, value: str, path: str, *, most: int = MAX_TEXT, least: int = 0) -> bool:
        """Check a text for people: its length, and that both databases can store it."""
        return self.check(
            least <= len(value) <= most and storable(value),
            path,
            f"must be {least} to {most} characters of valid text without NUL",
        )

    def unit_type(self, value: str, path: str) -> bool:
        """Check the name of a type of units."""
        return self.check(0 < len(value) <= 64 and printable(value), path, "must be 1 to 64 printable characters")

    def raise_any(self) -> None:
        """Raise all faults together, if there are any.

        Raises:
            InvalidInput: with every fault that was noted.
        """
        if self._errors:
            raise InvalidInput(self._errors)


def storable(text: str) -> bool:
    """Whether every database and file format can hold the text: no NUL, no lone surrogate."""
    return _UNSTORABLE.search(text) is None


def printable(text: str) -> bool:
    """Whether the text has only visible characters and spaces (no control or format characters)."""
    return storable(text) and not any(unicodedata.category(character).startswith("C") for character in text)


def is_number(value: object) -> bool:
    """Whether the value is a finite number; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < MOST_INTEGER if isinstance(value, int) else math.isfinite(value)
