"""Fixtures for every test: databases of both kinds, a fixed time, and no way out to the network."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import secrets
import socket
from collections.abc import Iterator
from datetime import datetime

import pytest
import sqlalchemy as sa

from abplatform.database import open_database
from tests.builders import NOW
from tests.databases import Databases, PostgresDatabases, PostgresServer, SqliteDatabases, find_postgres


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spark's tests first: they take longest, and the worker that has them starts it once for all."""
    items.sort(key=lambda item: "spark" not in item.nodeid)


@pytest.fixture(autouse=True)
def _salts_of_the_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Salts that are the same in every run: what a test says of units drawn by them holds always or never."""
    numbers = itertools.count()

    def token_hex(size: int = 32) -> str:
        return hashlib.shake_256(f"{request.node.nodeid} {next(numbers)}".encode()).hexdigest(size)

    monkeypatch.setattr(secrets, "token_hex", token_hex)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test process."""
    server = PostgresServer(find_postgres())
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: PostgresServer) -> PostgresDatabases:
    """Databases of that server: one object, since it names them. A fixture with parameters is made again and again."""
    return PostgresDatabases(postgres_server)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Both kinds of databases, one after the other; PostgreSQL starts only where a test asks for it."""
    if request.param == "sqlite":
        return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))
    found: PostgresDatabases = request.getfixturevalue("postgres_databases")
    return found


@pytest.fixture
def empty_url(databases: Databases) -> Iterator[str]:
    """Address of a new database without tables."""
    url = databases.empty()
    yield url
    databases.drop(url)


@pytest.fixture
def metadata_url(databases: Databases) -> Iterator[str]:
    """Address of a new database with the current schema."""
    url = databases.migrated()
    yield url
    databases.drop(url)


@pytest.fixture
def database(metadata_url: str) -> Iterator[sa.Engine]:
    """A new database with the current schema, open."""
    engine = open_database(metadata_url)
    yield engine
    engine.dispose()


@pytest.fixture
def now() -> datetime:
    """A fixed time."""
    return NOW


@pytest.fixture(autouse=True, scope="session")
def _no_way_out() -> Iterator[None]:
    """Refuse connections to other machines: a test that needs one would fail elsewhere."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_here(address):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        yield


def _is_here(address: object) -> bool:
    host = str(address[0]) if isinstance(address, tuple) else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
