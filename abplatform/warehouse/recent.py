"""A bounded memory of what never changes: the least recently used goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """Values by key, up to a total weight; safe to use from several threads.

    Args:
        most: how much all values together may weigh. The last one stays, whatever it weighs.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value of a key; None if it is not here."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Remember a value, and forget others if there is no room."""
        with self._lock:
            _, before = self._values.pop(key, (None, 0))
            self._values[key] = (value, weight)
            self._total += weight - before
            while self._total > self._most and len(self._values) > 1:
                _, (_, forgotten) = self._values.popitem(last=False)
                self._total -= forgotten

    def fetch(self, key: Key, read: Callable[[], Value], weigh: Callable[[Value], int] = lambda _value: 1) -> Value:
        """The value of a key, read if it is not here. Two threads may both read it."""
        found = self.get(key)
        if found is None:
            found = read()
            self.put(key, found, weigh(found))
        return found
