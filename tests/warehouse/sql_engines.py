"""The engines whose SQL the platform prints, each with a table ``units`` of hostile ids, ready to be asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa
import sqlglot

from tests.databases import PostgresDatabases

Row = tuple[Any, ...]


class Ask(Protocol):
    """Runs a query as it is printed."""

    def __call__(self, query: str, /) -> list[Row]: ...


def need(*, present: bool, how: str) -> None:
    """Skip the test where something is missing; fail it where ``CI=true``."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(how)
    pytest.skip(how)


@contextmanager
def ask_duckdb(units: Sequence[str | None]) -> Iterator[Ask]:
    with duckdb.connect() as connection:
        connection.register("units", pa.table({"unit_id": pa.array(units, pa.string())}))
        yield lambda query: connection.execute(query).fetchall()


@contextmanager
def ask_bigquery(units: Sequence[str | None]) -> Iterator[Ask]:
    """No BigQuery: sqlglot reads the query as BigQuery does, and what it understood is run by DuckDB."""
    with ask_duckdb(units) as ask:
        yield lambda query: ask(";".join(sqlglot.transpile(query, read="bigquery", write="duckdb")))


@contextmanager
def ask_postgresql(units: Sequence[str | None], databases: PostgresDatabases) -> Iterator[Ask]:
    url = databases.empty()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE units (unit_id text)"))
        rows = [{"unit": unit} for unit in units]
        connection.execute(sa.text("INSERT INTO units VALUES (:unit)"), rows)
        # As it is: a driver that looks for parameters would take the % of the query for one.
        plain = connection.execution_options(no_parameters=True)
        yield lambda query: [tuple(row) for row in plain.exec_driver_sql(query)]
    databases.drop(url)


@contextmanager
def ask_clickhouse(units: Sequence[str | None]) -> Iterator[Ask]:
    need(present=find_spec("chdb") is not None, how="chDB is missing; run: pip install chdb-core")
    with import_module("chdb.session").Session() as session:

        def run(query: str) -> list[Row]:
            answer = session.query(query.rstrip().removesuffix(";"), "JSONCompact").bytes()
            return [tuple(row) for row in json.loads(answer)["data"]] if answer else []

        session.query("CREATE TABLE units (unit_id Nullable(String)) ENGINE = Memory")
        written = ", ".join("(NULL)" if unit is None else f"(unhex('{unit.encode().hex()}'))" for unit in units)
        session.query(f"INSERT INTO units VALUES {written}")
        yield run
