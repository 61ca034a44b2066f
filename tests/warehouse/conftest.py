"""A lake beside each database of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.engines import Engine
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from tests.warehouse.lakes import a_database_in
from tests.warehouse.spark_engines import SparkProcess, spark_engine


@pytest.fixture
def inbox(database: sa.Engine) -> Inbox:
    """The inbox of a database of either kind."""
    return Inbox(database)


@pytest.fixture
def lake(metadata_url: str, tmp_path: Path) -> Iterator[Lake]:
    """An empty lake whose catalog is in a database of either kind."""
    lake = Lake((tmp_path / "lake").as_uri(), metadata_url)
    yield lake
    lake.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Address of an SQLite database with the tables of the event path: where the kind of database is no matter."""
    return a_database_in(tmp_path)


@pytest.fixture
def local_lake(sqlite_url: str, tmp_path: Path) -> Iterator[Lake]:
    """An empty lake with an SQLite catalog."""
    lake = Lake((tmp_path / "lake").as_uri(), sqlite_url)
    yield lake
    lake.close()


@pytest.fixture(scope="session")
def engine() -> DuckDBEngine:
    """The engine under test."""
    return DuckDBEngine(memory_limit="512MB")


@pytest.fixture(scope="session")
def spark_on_threads() -> Iterator[SparkProcess]:
    """The Spark engine on two threads of this machine; it starts once for all tests."""
    with spark_engine("spark://local[2]") as engine:
        yield engine


@pytest.fixture
def each_engine(request: pytest.FixtureRequest) -> Engine:
    """The engine that the test names: ``engine`` or ``spark_on_threads``."""
    engine: Engine = request.getfixturevalue(request.param)
    return engine
