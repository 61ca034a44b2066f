"""Growing pauses between attempts."""

from __future__ import annotations

import random

_FIRST = 0.5
_LONGEST = 30.0


class Backoff:
    """Doubles from 0.5 to 30 seconds; a random half of each pause keeps many clients apart."""

    def __init__(self) -> None:
        self._step = _FIRST

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._step = _FIRST

    def next(self) -> float:
        """The next pause, in seconds."""
        pause = self._step
        self._step = min(pause * 2, _LONGEST)
        return pause * (0.5 + 0.5 * random.random())  # noqa: S311 (spreads load, hides nothing)
