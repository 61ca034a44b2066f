"""A bounded memory of what never changes: what nobody asks for goes, and the least recently used first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

_IDLE_SECONDS = 3600.0


class Recent(Generic[Key, Value]):
    """Values by key, up to a total weight; safe to use from several threads.

    A process that runs for months would else keep what was removed long ago until there is no room.

    Args:
        most: how much all values together may weigh. The last one stays, whatever it weighs.
        idle: seconds after which a value that nobody has asked for is forgotten, when another one comes.
        clock: seconds that only grow.
    """

    def __init__(self, most: int, *, idle: float = _IDLE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._idle = idle
        self._clock = clock
        self._total = 0
        self._values: OrderedDict[Key, _Kept[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value of a key; None if it is not here."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            found.used_at = self._clock()
            self._values.move_to_end(key)
            return found.value

    def put(self, key: Key, value: Value, weight: int = 1) -> None:
        """Remember a value, and forget others that nobody has asked for, or for which there is no room."""
        with self._lock:
            before = self._values.pop(key, None)
            self._values[key] = _Kept(value, weight, self._clock())
            self._total += weight - (0 if before is None else before.weight)
            while len(self._values) > 1 and self._has_too_much():
                _, forgotten = self._values.popitem(last=False)
                self._total -= forgotten.weight

    def fetch(self, key: Key, read: Callable[[], Value], weigh: Callable[[Value], int] = lambda _value: 1) -> Value:
        """The value of a key, read if it is not here. Two threads may both read it."""
        found = self.get(key)
        if found is None:
            found = read()
            self.put(key, found, weigh(found))
        return found

    def _has_too_much(self) -> bool:
        oldest = next(iter(self._values.values()))
        return self._total > self._most or oldest.used_at < self._clock() - self._idle


@dataclass(slots=True)
class _Kept(Generic[Value]):
    value: Value
    weight: int
    used_at: float
