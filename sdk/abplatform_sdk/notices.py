"""Telling the product what happens: listeners that may raise, and do no harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

Heard = TypeVar("Heard")


class SnapshotNews(NamedTuple):
    """Something about the snapshot that answers.

    Attributes:
        kind: ``ready`` (the server has given or confirmed it, for the first time or again), ``changed`` (a newer
            version answers), ``stale`` (not confirmed for three intervals), ``error`` (not there, and the server gives
            none).
        version: of the snapshot that answers; None if there is none.
        message: what went wrong, else None.
    """

    kind: Literal["ready", "changed", "stale", "error"]
    version: int | None
    message: str | None


class Listeners(Generic[Heard]):
    """Functions of the product that hear of something, in the order in which they were added.

    Attributes:
        errors: how often one raised.
        all: the listeners.
    """

    def __init__(self) -> None:
        self.errors = 0
        self.all: tuple[Callable[[Heard], object], ...] = ()

    def add(self, listener: Callable[[Heard], object]) -> Callable[[], None]:
        """Add one; gives the function that takes it away again."""
        self.all = (*self.all, listener)
        return lambda: self._remove(listener)

    def tell(self, news: Heard) -> None:
        """Call all of them; what they raise is counted."""
        for listener in self.all:
            try:
                listener(news)
            except Exception:  # noqa: BLE001 (a listener of the product may do anything)
                self.errors += 1

    def _remove(self, listener: Callable[[Heard], object]) -> None:
        self.all = tuple(other for other in self.all if other is not listener)
