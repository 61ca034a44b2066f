"""What is said of a database that does not answer: to whoever asked, to the operator, and to the log."""

from __future__ import annotations

import logging
import socket
import time

import pytest
import sqlalchemy as sa

from abplatform import database
from abplatform.database import open_database, reading, transaction
from abplatform.errors import Unavailable
from tests.databases import PostgresDatabases, PostgresServer

PASSWORD = "hunter2-and-more"


def ask(url: str | sa.URL) -> Unavailable:
    engine = open_database(str(url) if isinstance(url, str) else url.render_as_string(hide_password=False))
    try:
        with pytest.raises(Unavailable) as refusal, reading(engine):
            pass
    finally:
        engine.dispose()
    return refusal.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"username": "stranger"}, 'role "stranger" does not exist'),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"port": 5999}, "No such file or directory"),
        ({"host": "127.0.0.1", "port": 1, "query": {}}, "Connection refused"),
        ({"host": "no-such-host.invalid", "query": {}}, "no-such-host.invalid"),
    ],
)
def test_the_cause_names_host_port_database_and_what_was_said_but_no_password(
    postgres_server: PostgresServer, change: dict[str, object], said: str
) -> None:
    url = sa.make_url(postgres_server.url("postgres")).set(password=PASSWORD).set(**change)  # type: ignore[arg-type]
    found = ask(url)
    assert found.detail == "the database does not answer; try again shortly"
    host = url.host or url.query["host"]
    assert found.cause.startswith(f"host {host}, port {url.port or 5432}, database {url.database}: ")
    assert said in found.cause
    assert "\n" not in found.cause
    assert PASSWORD not in found.cause


def test_an_outage_is_one_warning_in_the_log_and_its_end_another_line(
    postgres_databases: PostgresDatabases, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_databases.migrated()
    engine = open_database(url)
    caplog.set_level(logging.INFO, "abplatform.database")

    def connect(_dialect: object, _record: object, _arguments: object, parameters: dict[str, object]) -> None:
        if away:
            parameters.update(host="127.0.0.1", port=1)

    sa.event.listen(engine, "do_connect", connect)
    try:
        for round_ in range(2):
            away = True
            engine.dispose()
            for ask_for in (reading, transaction, reading):
                with pytest.raises(Unavailable), ask_for(engine):
                    pass
            away = False
            with reading(engine):
                pass
            assert len(caplog.records) == 2 * round_ + 1, "events can only be taken again by writing"
            with transaction(engine), reading(engine):
                pass
            failed, again = caplog.records[2 * round_ :]
            assert (failed.levelname, failed.getMessage()) == ("WARNING", "the database does not answer")
            assert "Connection refused" in vars(failed)["said"]
            assert (again.levelname, again.getMessage()) == ("INFO", "the database answers again")
            assert vars(again)["database"] == vars(failed)["database"]
    finally:
        engine.dispose()
        postgres_databases.drop(url)


def test_a_host_that_takes_connections_and_says_nothing_does_not_hold_a_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "_CONNECT_SECONDS", 2)  # the least that the driver knows
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        found = ask(f"postgresql+psycopg://someone@127.0.0.1:{silent.getsockname()[1]}/events")
    assert "timeout" in (found.cause or "")
    assert time.monotonic() - began < 20
