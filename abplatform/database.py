"""The metadata database: one way to open it, one way to change it, one way to store a time.

SQLite runs in WAL mode with ``synchronous=FULL``: with ``NORMAL`` an acknowledged event is lost at a power cut.
Every change happens inside `transaction`, which always ends in a commit or a rollback.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from abplatform.errors import Unavailable

LOCK_WAIT_SECONDS = 30
_RETRY_SECONDS = 0.01
_NEXT_TRY_SECONDS = 0.0005
_BEGIN = "BEGIN IMMEDIATE"
_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REMIND_SECONDS = 600.0
_CONNECT_SECONDS = 5

_log = logging.getLogger(__name__)
# A command that ends by a fault says so itself.
_log.addHandler(logging.NullHandler())


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A time with microseconds, kept as microseconds since 1970 in UTC: alike in SQLite and PostgreSQL."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        """Turn an aware time into microseconds."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("value must have a time zone")
        delta = value - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Turn microseconds back into a time in UTC."""
        return (
            None
            if value is None
            else datetime.fromtimestamp(value // 1_000_000, UTC).replace(microsecond=value % 1_000_000)
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def open_database(url: str) -> sa.Engine:
    """Open the metadata database (nothing is created or migrated).

    Args:
        url: SQLAlchemy address; the folder of an SQLite file is made if it is missing.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        # Whatever the server's default is: an acknowledged event has to be on its disk.
        durable: dict[str, Any] = {"options": "-c synchronous_commit=on"}
        if "connect_timeout" not in parsed.query:
            # A host that drops packets would hold a thread for minutes.
            durable["connect_timeout"] = _CONNECT_SECONDS
        return sa.create_engine(
            parsed,
            pool_pre_ping=True,
            pool_size=8,
            max_overflow=24,
            pool_timeout=10,
            hide_parameters=True,  # errors reach logs, and parameters hold hashes of keys and payloads
            connect_args=durable,
        )
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    waiting = {"timeout": LOCK_WAIT_SECONDS, "check_same_thread": False}
    engine = sa.create_engine(parsed, hide_parameters=True, connect_args=waiting)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own transactions start too late (at the first write): we say BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Of processes that open a new file at once, SQLite refuses all but one without waiting.
    _insist(cursor, "PRAGMA journal_mode=WAL", pause=_RETRY_SECONDS)
    # What is deleted is not overwritten with zeros first; its room is used again by what comes next. To write all
    # events that were sealed once more would take a tenth of a second in which nobody else writes.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=FAST"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _insist(cursor: Any, statement: str, *, pause: float) -> None:
    """Run a statement that SQLite refuses while another one holds a lock, until it is let through."""
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            cursor.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _HELD or time.monotonic() >= deadline:
                raise
            time.sleep(pause)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("abplatform_reads_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    # A deferred transaction that turns into a writer fails at once when another one has written since.
    # SQLite itself waits longer and longer between its tries, up to a tenth of a second: whoever comes often starves
    # whoever waits.
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        _insist(cursor, _BEGIN, pause=_NEXT_TRY_SECONDS)
    except sqlite3.OperationalError as error:
        raise OperationalError(_BEGIN, None, error) from error
    finally:
        cursor.execute(f"PRAGMA busy_timeout={LOCK_WAIT_SECONDS * 1000}")
        cursor.close()


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that changes something: commits at the end, rolls back on any exception.

    Raises:
        Unavailable: if the database does not answer, is locked for too long, or has no room.
    """
    with database_answers(engine, writes=True), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One consistent view for reading only; never waits for writers on SQLite.

    Raises:
        Unavailable: if the database does not answer.
    """
    with database_answers(engine), engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            yield connection.execution_options(abplatform_reads_only=True)
        else:
            yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


@contextmanager
def database_answers(engine: sa.Engine | None = None, *, writes: bool = False) -> Iterator[None]:
    """Speak of a database that does not answer as the rest of the platform does.

    Args:
        engine: what is asked. With it an outage stands in the log once, and its end.
        writes: whether something is changed: a full disk does not heal by being read.

    Raises:
        Unavailable: instead of the driver's errors, where trying again can help.
    """
    try:
        yield
    except PoolTimeout as error:
        raise _unavailable(_BUSY, str(error), engine, writes=writes) from error
    except DBAPIError as error:
        if _sqlite_code(error) in _DAMAGED:
            raise Unavailable(f"the database file is damaged ({error.orig}); restore it from a backup") from error
        fault = _passing_fault(error)
        if fault is None:
            raise
        raise _unavailable(fault, str(error.orig), engine, writes=writes) from error
    if engine is not None:
        _outage(_place(engine.url)).end(writes=writes)


def _unavailable(fault: str, said: str, engine: sa.Engine | None, *, writes: bool) -> Unavailable:
    first_line = " ".join(said.strip().partition("\n")[0].split())
    detail = f"{fault}; try again shortly"
    if engine is None:
        return Unavailable(detail, cause=first_line)
    place = _place(engine.url)
    _outage(place).tell(fault, first_line, writes=writes)
    return Unavailable(detail, cause=f"{place}: {first_line}")


def _place(url: sa.URL) -> str:
    """Where a database is, without its user and password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    host = url.host or url.query.get("host") or "localhost"
    return f"host {host}, port {url.port or _POSTGRESQL_PORT}, database {url.database}"


class _Outage:
    """Whether one database answers, as far as this process knows; the log is told of changes only."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._began: float | None = None
        self._told = 0.0
        self._fault = ""
        self._ends_by_writing = False

    def tell(self, fault: str, said: str, *, writes: bool) -> None:
        """It has failed: the log hears of the first time, and every ten minutes."""
        now = time.monotonic()
        with self._lock:
            known = self._began is not None and fault == self._fault and now - self._told < _REMIND_SECONDS
            self._began = now if self._began is None else self._began
            self._ends_by_writing |= writes
            if known:
                return
            self._fault, self._told = fault, now
        _log.warning(fault, extra={"database": self._place, "said": said})

    def end(self, *, writes: bool) -> None:
        """It has answered."""
        if self._began is None or (self._ends_by_writing and not writes):
            return
        with self._lock:
            began, self._began, self._ends_by_writing = self._began, None, False
        if began is not None:
            seconds = round(time.monotonic() - began, 1)
            _log.info("the database answers again", extra={"database": self._place, "seconds": seconds})


@cache
def _outage(place: str) -> _Outage:
    return _Outage(place)


def _passing_fault(error: DBAPIError) -> str | None:
    """What is wrong with the database server or the disk; None where the fault lies in what was asked."""
    if isinstance(error.orig, sqlite3.Error):
        return _PASSING.get(_sqlite_code(error))
    named = _PASSING_STATES.get(getattr(error.orig, "sqlstate", None) or "")
    passing = error.connection_invalidated or isinstance(error, OperationalError)
    return named or (_NO_ANSWER if passing else None)


def _sqlite_code(error: DBAPIError) -> int:
    """SQLite's primary code of a fault; 0 where there is none."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_POSTGRESQL_PORT = 5432
_BUSY = "the database is busy"
_NO_ANSWER = "the database does not answer"
_READ_ONLY = "the database can only be read"
_FULL = "the disk of the database is full"
_PASSING = {
    sqlite3.SQLITE_BUSY: _NO_ANSWER,
    sqlite3.SQLITE_LOCKED: _NO_ANSWER,
    sqlite3.SQLITE_NOMEM: _NO_ANSWER,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_IOERR: _NO_ANSWER,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CANTOPEN: _NO_ANSWER,
}
# A standby, or a server that was told to take no writes; no room.
_PASSING_STATES = {"25006": _READ_ONLY, "53100": _FULL}
