"""Facts by the million as Arrow tables, of the form that the lake has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from abplatform.domain.events import EventKind
from abplatform.warehouse.layout import arrow_schema

DAY_MICROSECONDS = 86_400_000_000
VARIANTS = ("control", "treatment")
CHANNELS = ('"app"', '"web"', '"douyin"', '"branch"')
PRODUCTS = ('"deposit"', '"fund"')

_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_PAIRS = np.stack([np.repeat(_DIGITS, 16), np.tile(_DIGITS, 16)], axis=1)
_GROUPS = (slice(0, 8), slice(8, 12), slice(12, 16), slice(16, 20), slice(20, 32))

Integers = npt.NDArray[np.int64]
Chance = np.random.Generator


@dataclass(frozen=True)
class People:
    """Units, as pseudonyms, and the variant of each."""

    units: pa.Array
    variants: pa.Array

    def __len__(self) -> int:
        """How many there are."""
        return len(self.units)


def draw_people(count: int, chance: Chance) -> People:
    """Units of a 50/50 experiment."""
    pseudonyms = _texts(_PAIRS[chance.integers(0, 256, (count, 32), dtype=np.uint8)].reshape(count, 64))
    return People(pseudonyms, _among(VARIANTS, chance.integers(0, 2, count)))


def exposures(experiment: str, people: People, who: Integers, when: Integers, ids: pa.Array) -> pa.Table:
    """Exposures of units.

    Args:
        who: positions among the people.
        when: microseconds since 1970.
        ids: event ids.
    """
    count = len(who)
    variants, times = people.variants.take(pa.array(who)), _times(when)
    columns = {
        "event_id": ids,
        "experiment": _repeat(experiment, count),
        "phase": pa.repeat(pa.scalar(1, pa.int32()), count),
        "variant": variants,
        "expected_variant": variants,
        "unit": people.units.take(pa.array(who)),
        "cluster": pa.nulls(count, pa.string()),
        "attributes": _maps("channel", _among(CHANNELS, who % len(CHANNELS))),
    }
    return _table("exposure", columns, times)


def conversions(event: str, people: People, who: Integers, when: Integers, ids: pa.Array) -> pa.Table:
    """Conversions of units, of values between 1 and 1,000 that their ids do not tell; arguments as for `exposures`."""
    count = len(who)
    cents = (when * 2_654_435_761 % 99_900) + 100
    columns = {
        "event_id": ids,
        "event": _repeat(event, count),
        "unit": people.units.take(pa.array(who)),
        "value": _amounts(cents),
        "properties": _maps("product", _among(PRODUCTS, when % len(PRODUCTS))),
        "units": pa.nulls(count, pa.map_(pa.string(), pa.string())),
    }
    return _table("conversion", columns, _times(when))


def moments_of_day(day: date, count: int, chance: Chance) -> Integers:
    """Times within a day, in microseconds since 1970."""
    start = (day - date(1970, 1, 1)).days * DAY_MICROSECONDS
    return np.sort(chance.integers(start, start + DAY_MICROSECONDS, count))


def time_ordered_ids(when: Integers, chance: Chance) -> pa.Array:
    """A UUIDv7 for each time, as the SDK makes them."""
    raw = chance.integers(0, 256, (len(when), 16), dtype=np.uint8)
    raw[:, :6] = (when // 1000).astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    return _uuids(raw, version=7)


def random_ids(count: int, chance: Chance) -> pa.Array:
    """UUIDv4s."""
    return _uuids(chance.integers(0, 256, (count, 16), dtype=np.uint8), version=4)


def slices(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    """The table in pieces, as requests bring them."""
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


def microseconds(moment: datetime) -> int:
    """A time since 1970."""
    return int(moment.timestamp() * 1_000_000)


def _table(kind: EventKind, columns: dict[str, Any], times: pa.Array) -> pa.Table:
    columns |= dict.fromkeys(("timestamp", "sent_timestamp", "received_at"), times)
    schema = arrow_schema(kind)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _uuids(raw: npt.NDArray[np.uint8], *, version: int) -> pa.Array:
    raw[:, 6] = raw[:, 6] & 0x0F | version << 4
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = _PAIRS[raw].reshape(len(raw), 32)
    text = np.full((len(raw), 36), ord("-"), dtype=np.uint8)
    for place, group in enumerate(_GROUPS):
        text[:, group.start + place : group.stop + place] = digits[:, group]
    return _texts(text)


def _texts(rows: npt.NDArray[np.uint8]) -> pa.Array:
    """Texts of equal length, one in each row of bytes."""
    count, length = rows.shape
    offsets = np.arange(0, (count + 1) * length, length, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.StringArray.from_buffers(count, buffers[1], buffers[2])


def _times(when: Integers) -> pa.Array:
    return pa.array(when).cast(pa.timestamp("us", tz="UTC"))


def _amounts(cents: Integers) -> pa.Array:
    """Amounts of money; Arrow keeps a decimal as 16 bytes, the lower ones first."""
    words = np.stack([cents * 10_000, np.zeros_like(cents)], axis=1)
    return pa.Array.from_buffers(pa.decimal128(20, 6), len(cents), [None, pa.py_buffer(words)])


def _among(options: tuple[str, ...], positions: Integers) -> pa.Array:
    return pa.array(options, pa.string()).take(pa.array(positions))


def _repeat(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), count)


def _maps(name: str, values: pa.Array) -> pa.Array:
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32))
    return pa.MapArray.from_arrays(offsets, _repeat(name, len(values)), values)
