"""Requests of events that were never sent before, made by patching a few bytes of ready ones.

All events of a request have the same length, so that a body is a table of bytes in which whole columns are replaced at
once: the time, the number of the request within the event ids, the units and the variants that the platform draws.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from abplatform.assignment.hashing import salt_prefix
from abplatform.domain.events import EventKind
from abplatform.warehouse.buckets import draw_buckets
from benchmarks.event_load.fingerprints import ID_BYTES

VARIANTS = ("control", "concise")  # of equal length
EXPERIMENT = "ingest"
EVENT = "purchase"

_CHANNELS = ("app", "web", "ios", "pad")
_PRODUCTS = ("fund", "loan", "card")
_SECONDS = len("2026-11-26T03:38:07")
_MARK = len('{"sent_at":"')
# Each begins with a place for the comma that parts it from the one before.
_EXPOSURE = (
    ' {{"event_id":"{id}","experiment":"ingest","phase":1,"variant":"control","unit_id":"user-0000000",'
    '"timestamp":"{time}","attributes":{{"channel":"{channel}"}}}}'
)
_CONVERSION = (
    ' {{"event_id":"{id}","event":"purchase","timestamp":"{time}","unit_id":"user-0000000",'
    '"value":"{value}","properties":{{"product":"{product}"}}}}'
)

Bytes = npt.NDArray[np.uint8]
IdParts = tuple[Bytes, Bytes, Bytes]
"""What the ids of a request do not share with those that it had before: two pieces of the time, and a number."""


@dataclass(frozen=True)
class Population:
    """Units in a random order, as text in rows of equal length, and the variant that each one is given."""

    units: Bytes
    variants: Bytes


def draw_population(salt: str, *, units: int) -> Population:
    """Units and their variants in a 50/50 experiment that everybody is in.

    Args:
        salt: of the experiment's first phase.
    """
    order = np.random.default_rng().permutation(units)
    ids = [f"user-{number:07}" for number in order]
    second = draw_buckets(salt_prefix(salt), pa.array(ids)) >= 500_000
    keys = np.array([list(key.encode()) for key in VARIANTS], dtype=np.uint8)
    return Population(_as_rows(ids), keys[second.astype(np.intp)])


class Request:
    """A POST of many events, sent again and again with other ids, units and times.

    Args:
        kind: what it sends.
        batch: number of events.
        population: whom the events are about.
        headers: lines of the head, each with its line end.
    """

    _numbers = count()

    def __init__(self, kind: EventKind, batch: int, population: Population, headers: str) -> None:
        self._population, self.batch = population, batch
        self.id_parts: IdParts = _id_parts(0, 0)
        self._next, self._run = secrets.randbelow(len(population.units)), 0
        events = "".join(_event(kind, next(self._numbers)) for _ in range(batch))
        start = f'{{"sent_at":"{_time(0)}Z","events":['
        head = f"POST /api/v1/{kind}s HTTP/1.1\r\n{headers}Content-Length: {len(start) + len(events) + 2}\r\n\r\n"
        self.data = bytearray(f"{head}{start}{events}]}}".encode())
        whole = np.frombuffer(self.data, dtype=np.uint8)
        self._sent_at = whole[len(head) + _MARK : len(head) + _MARK + _SECONDS]
        table = whole[len(head) + len(start) : -2].reshape(batch, -1)
        table[1:, 0] = ord(",")
        self._columns = _Columns(table, _event(kind, 0), has_variant=kind == "exposure")

    def renew(self) -> None:
        """Make all events new ones: of other units, at the time that it is now."""
        now = time.time()
        self._run += 1
        first = self._next if self._next + self.batch <= len(self._population.units) else 0
        self._next = first + self.batch
        rows = slice(first, self._next)
        seconds = np.frombuffer(_time(now)[:_SECONDS].encode(), dtype=np.uint8)
        self._sent_at[:] = seconds
        self.id_parts = _id_parts(now, self._run)
        self._columns.fill(seconds, self.id_parts, self._population, rows)

    def ids(self, parts: IdParts) -> Bytes:
        """The event ids that it had with some `id_parts`, in rows."""
        return self._columns.ids(parts)


class _Columns:
    """The places within the events of a request that change."""

    def __init__(self, table: Bytes, sample: str, *, has_variant: bool) -> None:
        ids = sample.index('"event_id":"') + len('"event_id":"')
        moment = sample.index('"timestamp":"') + len('"timestamp":"')
        unit = sample.index("user-")
        self._ids = table[:, ids : ids + ID_BYTES]
        self._high, self._low = table[:, ids : ids + 8], table[:, ids + 9 : ids + 11]
        self._run = table[:, ids + 24 : ids + 30]
        self._seconds = table[:, moment : moment + _SECONDS]
        self._units = table[:, unit : unit + len("user-0000000")]
        variant = sample.index("control") if has_variant else 0
        self._variants = table[:, variant : variant + len("control")] if has_variant else None

    def fill(self, seconds: Bytes, parts: IdParts, population: Population, rows: slice) -> None:
        self._high[:], self._low[:], self._run[:] = parts
        self._seconds[:] = seconds
        self._units[:] = population.units[rows]
        if self._variants is not None:
            self._variants[:] = population.variants[rows]

    def ids(self, parts: IdParts) -> Bytes:
        ids = self._ids.copy()
        ids[:, :8], ids[:, 9:11], ids[:, 24:30] = parts
        return ids


def _event(kind: EventKind, number: int) -> str:
    chance = np.random.default_rng(number)
    # A UUIDv7 that ends in the number of the run, filled in later, and that of the event. The last two digits of the
    # milliseconds stay as they are here, so that the ids of a request are not in order.
    head = f"00000000-00{chance.integers(256):02x}-7{chance.integers(4096):03x}-8{chance.integers(4096):03x}"
    shared = {
        "id": f"{head}-000000{number:06x}",
        "time": f"{_time(0)}.{chance.integers(10**6):06}Z",
    }
    if kind == "exposure":
        return _EXPOSURE.format(**shared, channel=_CHANNELS[number % len(_CHANNELS)])
    value = f"{chance.integers(100, 1000)}.{chance.integers(100):02}"
    return _CONVERSION.format(**shared, value=value, product=_PRODUCTS[number % len(_PRODUCTS)])


def _id_parts(now: float, run: int) -> IdParts:
    milliseconds = f"{int(now * 1000):012x}"
    texts = milliseconds[:8], milliseconds[8:10], f"{run:06x}"
    return tuple(np.frombuffer(text.encode(), dtype=np.uint8) for text in texts)  # type: ignore[return-value]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _as_rows(texts: list[str]) -> Bytes:
    return np.frombuffer("".join(texts).encode(), dtype=np.uint8).reshape(len(texts), -1)
