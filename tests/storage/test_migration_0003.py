"""The state of experiments grows: what is served stays what it was, up and down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.database import open_database, reading, transaction
from abplatform.storage import migrate
from abplatform.storage.documents import to_text
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_past_phase, a_scorecard, an_experiment, an_external_experiment, later

MICROSECONDS = 1_795_424_400_123_456  # what the tests' time is stored as


@pytest.fixture
def old(empty_url: str) -> Iterator[sa.Engine]:
    """A database with the schema before, with experiments of every status and a look at one of them."""
    migrate.upgrade(empty_url)
    migrate.downgrade(empty_url, "0002")
    engine = open_database(empty_url)
    with transaction(engine) as connection:
        run(
            connection,
            "INSERT INTO project (key, name, unit_type, created_at) VALUES ('default', 'D', 'user_id', :now)",
            now=MICROSECONDS,
        )
        for status in ("draft", "running", "paused", "stopped", "archived"):
            add(connection, status, to_text(an_experiment(status, coverage=1 / 3)), status)
        add(connection, "imported", to_text(an_external_experiment()), "running")
        run(
            connection,
            "INSERT INTO look (project, experiment, phase, number, computed_at, fingerprint, scorecard) "
            "VALUES ('default', 'running', 1, 1, :now, 'x', :scorecard)",
            now=MICROSECONDS,
            scorecard=to_text(a_scorecard("running")),
        )
    yield engine
    engine.dispose()


def run(connection: sa.Connection, statement: str, **values: Any) -> None:
    connection.execute(sa.text(statement), values)


def add(connection: sa.Connection, key: str, definition: str, status: str) -> None:
    run(
        connection,
        "INSERT INTO experiment (project, key, status, phase, revision, salt, layer_salt, preregistered, created_at, "
        "started_at, definition) "
        "VALUES ('default', :key, :status, 1, 3, :salt, 'layer', :yes, :now, :start, :definition)",
        key=key,
        status=status,
        salt=f"salt of {key}",
        yes=True,
        now=MICROSECONDS,
        start=None if status == "draft" else MICROSECONDS,
        definition=definition,
    )


def rows(engine: sa.Engine) -> dict[str, Any]:
    with reading(engine) as connection:
        return {row.key: row for row in connection.execute(sa.text("SELECT * FROM experiment"))}


def test_served_experiments_keep_the_draws_that_were_published(empty_url: str, old: sa.Engine) -> None:
    migrate.upgrade(empty_url)
    with UnitOfWork(old).reading() as work:
        experiments = {each.key: each for each in work.experiments.all("default")}
        assert len(work.looks.history("default", "running", 1)) == 1
    for key, experiment in experiments.items():
        # A third of a million, to the nearest integer.
        held = () if key in {"draft", "imported"} else ((0, 333_333),)
        assert (experiment.slots, experiment.phase_salt) == (held, f"salt of {key}")
        assert experiment.phase_started_at == (None if key == "draft" else NOW)
        assert (experiment.past_phases, experiment.forced, experiment.shipped) == ((), {}, None)
        assert experiment.definition.prerequisites == ()


def test_the_older_program_goes_on_with_the_draws_of_the_current_phase(empty_url: str, old: sa.Engine) -> None:
    migrate.upgrade(empty_url)
    with UnitOfWork(old).begin() as work:
        running, paused = (work.experiments.get("default", key) for key in ("running", "paused"))
        second = {"phase": 2, "phase_salt": "second", "past_phases": (a_past_phase(1),)}
        changed = replace(running, **second)
        work.experiments.save("default", changed, expected_revision=3)
        closed = {"status": "closed", "closed_at": later(days=1)}
        changed = replace(paused, **closed)
        work.experiments.save("default", changed, expected_revision=3)
    migrate.downgrade(empty_url, "0002")
    after = rows(old)
    assert (after["running"].salt, after["running"].phase) == ("second", 2)
    assert (after["paused"].status, after["paused"].salt) == ("running", "salt of paused")
    assert not {"phase_salt", "records", "shipped", "closed_at", "phase_started_at"} & set(after["running"]._fields)
    assert json.loads(after["draft"].definition)["coverage"] == 1 / 3


def test_it_goes_up_down_and_up_again_with_rows(empty_url: str, old: sa.Engine) -> None:
    before = rows(old)
    for _ in range(2):
        migrate.upgrade(empty_url)
        migrate.downgrade(empty_url, "0002")
        assert rows(old) == before
