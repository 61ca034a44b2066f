"""Real databases for tests: SQLite files and a PostgreSQL server of our own.

Every test has a migrated database to itself, without rows; the migrations run once per test process.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from abplatform.storage import migrate, schema
from abplatform.warehouse import tables as warehouse

START_SECONDS = 60
COLUMNS = """
    SELECT attrelid::regclass::text, attname, atttypid FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped ORDER BY 1, 2
"""
# Runs the server until the pipe from the test process closes, which happens however that process ends.
KEEPER = """
    exec 3<&0
    "$@" 3<&- </dev/null & server=$!
    { cat <&3 >/dev/null; kill -INT $server; } &
    wait $server
    rm -rf data
"""
VERSION = "SELECT version_num FROM alembic_version"
END_OTHER_CONNECTIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# PyIceberg makes its tables itself where they are missing.
DROP_CATALOG = "DROP TABLE IF EXISTS iceberg_tables, iceberg_namespace_properties"
RESTART_NUMBERS = "SELECT setval(sequencename::regclass, start_value, false) FROM pg_sequences"
HOW_TO_INSTALL = "initdb and postgres are missing; install PostgreSQL (Debian: apt-get install postgresql)"


class SqliteDatabases:
    """SQLite files below one folder."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def empty(self) -> str:
        """Address of a new database without tables."""
        return f"sqlite:///{self._folder / f'{next(self._numbers)}.db'}"

    def migrated(self) -> str:
        """Address of a new database with the current schema."""
        url = self.empty()
        shutil.copyfile(self._template, url.removeprefix("sqlite:///"))
        return url

    def drop(self, url: str) -> None:
        """Delete a database; its connections must be closed."""
        for suffix in ("", "-wal", "-shm"):
            Path(url.removeprefix("sqlite:///") + suffix).unlink(missing_ok=True)

    @cached_property
    def _template(self) -> Path:
        path = self._folder / "template.db"
        migrate.upgrade(f"sqlite:///{path}")
        return path


class PostgresDatabases:
    """Databases of one running PostgreSQL server."""

    name = "postgresql"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = count(1)
        self._clean: list[str] = []

    def empty(self) -> str:
        """Address of a new database without tables."""
        return self._create("template0")

    def migrated(self) -> str:
        """Address of a database with the current schema and no rows."""
        return self._clean.pop() if self._clean else self._create(self._template)

    def drop(self, url: str) -> None:
        """End a database's connections; wipe it for the next test, or delete it if its tables are not ours."""
        # Making a database takes half a second where files are slow, wiping one some milliseconds.
        if self._wipe(url):
            self._clean.append(url)
        else:
            self._tell(f'DROP DATABASE "{sa.make_url(url).database}" WITH (FORCE)')

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._tell(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._server.url(name)

    @cached_property
    def _template(self) -> str:
        self._tell('CREATE DATABASE "migrated" TEMPLATE "template0"')
        migrate.upgrade(self._server.url("migrated"))
        return "migrated"

    @cached_property
    def _columns(self) -> list[tuple[object, ...]]:
        with _connect(self._server.url(self._template)) as connection:
            return connection.execute(COLUMNS).fetchall()

    def _wipe(self, url: str) -> bool:
        with _connect(url) as connection:
            connection.execute(END_OTHER_CONNECTIONS)
            connection.execute(DROP_CATALOG)
            if connection.execute(COLUMNS).fetchall() != self._columns:
                return False
            if connection.execute(VERSION).fetchall() != [(migrate.head_revision(),)]:
                return False
            tables = (*warehouse.metadata.sorted_tables, *schema.metadata.sorted_tables)
            deletions = [f'DELETE FROM "{table.name}"' for table in reversed(tables)]
            connection.execute("; ".join([*deletions, RESTART_NUMBERS]).encode())
        return True

    def _tell(self, statement: str) -> None:
        """What concerns the server."""
        with _connect(self._server.url("postgres")) as connection:
            connection.execute(statement.encode())


def _connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    # The driver alone: SQLAlchemy asks a new server for more than there is to do here.
    return psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)


Databases = SqliteDatabases | PostgresDatabases


class PostgresServer:
    """A PostgreSQL server in a folder of its own, on a Unix socket there, with nothing made durable unless asked."""

    # The shell program that runs it.
    keeper = KEEPER

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Not pytest's folder: that one is closed to other users, and the path of a socket must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="abplatform-pg-", dir="/tmp"))
        # PostgreSQL refuses to run as root.
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self._keeper: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """SQLAlchemy address of a database of this server."""
        return f"postgresql+psycopg://abplatform@/{database}?host={self._folder}"

    @property
    def pid(self) -> int:
        """Process that the server and its processes descend from."""
        if self._keeper is None:
            raise RuntimeError("the server has not been started")
        return self._keeper.pid

    def start(self, *, durable: bool = False) -> None:
        """Make the cluster and start the server; returns when it answers.

        Args:
            durable: keep PostgreSQL's own defaults, as benchmarks must.
        """
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        locale = ("--encoding=UTF8", "--locale=C.UTF-8")
        initdb = self._spawn(*self._program("initdb"), "--username=abplatform", "--auth=trust", "--no-sync", *locale)
        initdb.communicate(timeout=START_SECONDS)
        if initdb.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{self._log()}")
        settings = {"listen_addresses": "", "unix_socket_directories": str(self._folder), "max_connections": "100"}
        not_durable = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        settings |= {} if durable else not_durable
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._keeper = self._spawn("sh", "-c", self.keeper, "sh", *self._program("postgres"), *options)
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End the server and delete its folder."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait(START_SECONDS)
        shutil.rmtree(self._folder)

    def _program(self, name: str) -> tuple[str, ...]:
        return str(self._programs / name), "-D", str(self._folder / "data")

    def _log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        identity: dict[str, Any] = {}
        if self._user is not None:
            identity = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Outside the terminal's group: Ctrl-C ends the tests, and those end the server.
                start_new_session=True,
                **identity,
            )

    def _wait_until_it_answers(self) -> None:
        engine = sa.create_engine(self.url("postgres"), poolclass=sa.NullPool)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                engine.connect().close()
            except sa.exc.OperationalError:
                ended = self._keeper is None or self._keeper.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log()}") from None
                time.sleep(0.02)
            else:
                return


def find_postgres() -> Path:
    """Folder of initdb and postgres, from PATH or where Debian keeps them.

    Without them the test is skipped, and fails where ``CI=true``.
    """
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: -float(folder.parent.name))
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    if os.environ.get("CI") == "true":
        pytest.fail(HOW_TO_INSTALL)
    pytest.skip(HOW_TO_INSTALL)


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
