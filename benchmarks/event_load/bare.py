"""Servers to compare with: as little as it takes to keep events, without a single check.

``python -m benchmarks.event_load.bare FORM PORT WORKERS ADDRESS``; FORM is one of `FORMS`:

- ``batches``: the design of the inbox, bare: typed decoding, one compressed row per request, commits in groups.
- ``rows``: one row per event and a primary key over the event ids, commits in groups (SQLite).
- ``copy``: the same on PostgreSQL, by COPY.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import cache
from typing import Any

import msgspec
import zstandard

LARGEST_GROUP = 64


class Event(msgspec.Struct):
    """An exposure or a conversion, as far as their types go."""

    event_id: str
    unit_id: str
    timestamp: str
    experiment: str = ""
    phase: int = 0
    variant: str = ""
    event: str = ""
    value: str = ""
    attributes: dict[str, str] = {}
    properties: dict[str, str] = {}


class Envelope(msgspec.Struct):
    """The body of a request."""

    events: list[Event]


_decode = msgspec.json.Decoder(Envelope).decode
_encode = msgspec.msgpack.Encoder().encode
_BATCHES = "CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, count INTEGER, payload BLOB)"
_COLUMNS = "event_id TEXT PRIMARY KEY, unit_id TEXT, timestamp TEXT, name TEXT, variant TEXT, value TEXT, more TEXT"
_ROWS = f"CREATE TABLE IF NOT EXISTS event ({_COLUMNS})"


class SqliteWriter:
    """The one thread of a process that writes: all requests that wait are committed together."""

    def __init__(self, path: str, insert: str) -> None:
        self._waiting: queue.SimpleQueue[tuple[list[tuple[Any, ...]], Future[None]]] = queue.SimpleQueue()
        self._path, self._insert = path, insert
        threading.Thread(target=self._run, daemon=True).start()

    def keep(self, rows: list[tuple[Any, ...]]) -> None:
        """Return when the rows are on disk."""
        done: Future[None] = Future()
        self._waiting.put((rows, done))
        done.result()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        while True:
            group = [self._waiting.get()]
            while len(group) < LARGEST_GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            connection.execute("BEGIN IMMEDIATE")
            for rows, _ in group:
                connection.executemany(self._insert, rows)
            connection.execute("COMMIT")
            for _, done in group:
                done.set_result(None)


def _keep_batches(address: str) -> Callable[[list[Event]], None]:
    writer, pack = SqliteWriter(address, "INSERT INTO inbox (count, payload) VALUES (?, ?)"), threading.local()

    def keep(events: list[Event]) -> None:
        if not hasattr(pack, "compress"):
            pack.compress = zstandard.ZstdCompressor(level=1).compress
        writer.keep([(len(events), pack.compress(_encode(events)))])

    return keep


def _keep_rows(address: str) -> Callable[[list[Event]], None]:
    writer = SqliteWriter(address, "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)")
    return lambda events: writer.keep(list(_as_rows(events)))


def _keep_copies(address: str) -> Callable[[list[Event]], None]:
    import psycopg

    own = threading.local()

    def keep(events: list[Event]) -> None:
        if not hasattr(own, "connection"):
            own.connection = psycopg.connect(address)
        with (
            own.connection.transaction(),
            own.connection.cursor() as cursor,
            cursor.copy("COPY event FROM STDIN") as copy,
        ):
            for row in _as_rows(events):
                copy.write_row(row)

    return keep


def _as_rows(events: Iterable[Event]) -> Iterable[tuple[str, ...]]:
    for event in events:
        more = _encode(event.attributes or event.properties).hex()
        name = event.experiment or event.event
        yield event.event_id, event.unit_id, event.timestamp, name, event.variant, event.value, more


FORMS = {"batches": _keep_batches, "rows": _keep_rows, "copy": _keep_copies}


def prepare(form: str, address: str) -> None:
    """Make the table."""
    if form == "copy":
        import psycopg

        with psycopg.connect(address) as database:
            database.execute(_ROWS)
        return
    connection = sqlite3.connect(address)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(_BATCHES if form == "batches" else _ROWS)
    connection.commit()
    connection.close()


@cache
def _keep() -> Callable[[list[Event]], None]:
    return FORMS[os.environ["BARE_FORM"]](os.environ["BARE_ADDRESS"])


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """The WSGI application."""
    if environ["REQUEST_METHOD"] == "GET":
        start_response("204 No Content", [("Content-Length", "0")])
        return [b""]
    events = _decode(environ["wsgi.input"].read()).events
    _keep()(events)
    answer = b'{"accepted":%d,"rejected":[]}' % len(events)
    start_response("202 Accepted", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


def main(form: str, port: str, workers: str, address: str) -> None:
    """Serve until stopped."""
    from granian import Granian
    from granian.constants import Interfaces
    from granian.log import LogLevels

    os.environ.update(BARE_FORM=form, BARE_ADDRESS=address)
    prepare(form, address)
    Granian(
        "benchmarks.event_load.bare:app",
        address="127.0.0.1",
        port=int(port),
        interface=Interfaces.WSGI,
        workers=int(workers),
        websockets=False,
        log_level=LogLevels.error,
        workers_kill_timeout=5,
    ).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
