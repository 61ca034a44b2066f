"""The lake's events beside the senders' ledger: every field of each one, as the sender first said it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from abplatform.bootstrap import build_platform
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.events import EventKind
from abplatform.services.guard_key import read_pseudonym_key
from abplatform.settings import Settings
from tests.chaos.server.ledger import Event, Ledger

_TEXTS = pa.map_(pa.string(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")
_SHARED = {"event_id": pa.string(), "unit": pa.string(), "timestamp": _TIME, "sent_timestamp": _TIME}
# What the documentation says that the lake keeps, without the time of receipt.
_COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "exposure": _SHARED
    | {
        "experiment": pa.string(),
        "phase": pa.int32(),
        "variant": pa.string(),
        "expected_variant": pa.string(),
        "attributes": _TEXTS,
    },
    "conversion": _SHARED | {"event": pa.string(), "value": pa.decimal128(20, 6), "properties": _TEXTS},
}
_EMPTY = {"exposure": "cluster", "conversion": "units"}
_QUESTION = """
    WITH found AS (SELECT * FROM read_parquet($paths, hive_partitioning=false, union_by_name=true)),
         copies AS (SELECT event_id, count(*) AS number FROM found GROUP BY event_id)
    SELECT (SELECT count(*) FROM found),
           (SELECT count(*) FROM acknowledged ANTI JOIN found USING (event_id)),
           (SELECT count(*) FROM copies WHERE number > 1),
           (SELECT count(*) FROM copies ANTI JOIN said USING (event_id)),
           (SELECT count(*) FROM found JOIN said USING (event_id) WHERE {differs})
"""


class Counts(NamedTuple):
    """What was found; see `scene.Account`."""

    events: int
    lost: int
    twice: int
    foreign: int
    altered: int


def audit(settings: Settings, ledger: Ledger, kind: EventKind, acknowledged: set[str]) -> Counts:
    """Compare the lake of one kind with what was sent; what was acknowledged must be in it.

    Args:
        settings: of the installation.
        ledger: of all senders.
        kind: exposures or conversions.
        acknowledged: ids, from before all that was sealed since.

    Raises:
        duckdb.IOException: a file that the lake names cannot be read, and it goes on naming it.
    """
    said = _say(ledger, kind, ledger.sent_now(kind), partial(_pseudonym, read_pseudonym_key(settings)))
    fields = [f"found.{name} IS DISTINCT FROM said.{name}" for name in _COLUMNS[kind] if name != "event_id"]
    differs = " OR ".join([*fields, f"found.{_EMPTY[kind]} IS NOT NULL", "found.received_at IS NULL"])
    tables = {"said": said, "acknowledged": pa.table({"event_id": pa.array(sorted(acknowledged), pa.string())})}
    paths = _named_files(settings, kind)
    while paths:
        try:
            return _count(_QUESTION.format(differs=differs), paths, tables)
        except duckdb.IOException:
            earlier, paths = paths, _named_files(settings, kind)
            if paths == earlier:
                raise  # The worker has not rewritten a file meanwhile: one is lost.
    return Counts(0, len(acknowledged), 0, 0, 0)


def _named_files(settings: Settings, kind: EventKind) -> list[str]:
    with build_platform(settings) as platform:
        return [file.path for file in platform.lake.files(DEFAULT_PROJECT, kind)]


def _count(question: str, paths: Sequence[str], tables: Mapping[str, pa.Table]) -> Counts:
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return Counts(*connection.execute(question, {"paths": paths}).fetchall()[0])


def _say(ledger: Ledger, kind: EventKind, events: Sequence[Event], pseudonym: Any) -> pa.Table:
    """What the lake must hold if all of them were accepted as they were first sent."""
    times = [datetime.fromisoformat(event.body["timestamp"]) for event in events]
    values: dict[str, list[Any]] = {
        "event_id": [event.id for event in events],
        "unit": [pseudonym(event.unit) for event in events],
        "timestamp": times,
        "sent_timestamp": times,
    }
    if kind == "exposure":
        values |= {name: [event.body[name] for event in events] for name in ("experiment", "phase", "variant")}
        values["expected_variant"] = [ledger.variant_of(event.unit) for event in events]
        # Only the dimension that the experiment declares is kept.
        values["attributes"] = [[("channel", _text(event.body["attributes"]["channel"]))] for event in events]
    else:
        values["event"] = [event.body["event"] for event in events]
        values["value"] = [Decimal(event.body["value"]) for event in events]
        values["properties"] = [
            [(name, _text(value)) for name, value in event.body["properties"].items()] for event in events
        ]
    return pa.table({name: pa.array(values[name], type_) for name, type_ in _COLUMNS[kind].items()})


def _text(value: object) -> str:
    return json.dumps(value)


def _pseudonym(key: bytes, unit: str) -> str:
    """HMAC-SHA256 of the unit's type and id, written anew here."""
    return hmac.new(key, b"7:user_id" + unit.encode(), hashlib.sha256).hexdigest()
