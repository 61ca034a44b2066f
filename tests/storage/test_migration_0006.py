"""Metrics get versions and projects a time zone: what experiments are judged by stays, up and down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.database import open_database, reading
from abplatform.domain.experiment import Pin, pin_metrics
from abplatform.services.pin import pinned_metrics
from abplatform.storage import migrate
from abplatform.storage.metrics import StoredMetric
from abplatform.storage.session import UnitOfWork, Work
from tests.builders import NOW, a_draft, a_metric, a_metric_use, an_experiment, later

FIRST = StoredMetric(metric=a_metric(), created_at=NOW)


@pytest.fixture
def engine(metadata_url: str) -> Iterator[sa.Engine]:
    """A database with the present schema and a project."""
    engine = open_database(metadata_url)
    with UnitOfWork(engine).begin() as work:
        work.projects.ensure("default", now=NOW)
    yield engine
    engine.dispose()


def rows(engine: sa.Engine, table: str) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY key")))


def add_started(work: Work, key: str, version: int | None, *metrics: str) -> None:
    uses = tuple(a_metric_use(metric) for metric in metrics or ("purchase",))
    definition = an_experiment(key, metrics=uses, coverage=1 / 3, name="年化")
    pinned = pin_metrics(definition, {use.metric: Pin(version=version) for use in uses})
    work.experiments.add("default", a_draft(key, definition=pinned, status="running", started_at=NOW))


def next_version(work: Work, before: StoredMetric, **changes: Any) -> StoredMetric:
    stored = replace(
        before,
        metric=replace(before.metric, **changes),
        revision=before.revision + 1,
        version=before.version + 1,
        version_created_at=later(days=before.version),
    )
    work.metrics.add_version("default", stored, before=before)
    return stored


def judged_by(engine: sa.Engine, key: str) -> list[str]:
    with UnitOfWork(engine).reading() as work:
        return [each.event for each in pinned_metrics(work, "default", work.experiments.get("default", key).definition)]


def test_what_is_there_becomes_version_1_and_goes_down_and_up_unchanged(metadata_url: str, engine: sa.Engine) -> None:
    with UnitOfWork(engine).begin() as work:
        work.metrics.add("default", FIRST)
        add_started(work, "running", None)
    migrate.downgrade(metadata_url, "0005")
    before = {table: rows(engine, table) for table in ("project", "metric", "experiment")}
    assert not {"version", "version_created_at"} & set(before["metric"][0]._fields)
    for _ in range(2):
        migrate.upgrade(metadata_url)
        with UnitOfWork(engine).reading() as work:
            assert work.metrics.versions("default", "purchase") == (FIRST,)
            project = work.projects.get("default")
            assert (project.time_zone, project.revision) == ("UTC", 1)
        assert judged_by(engine, "running") == ["purchase"]
        migrate.downgrade(metadata_url, "0005")
        assert {table: rows(engine, table) for table in before} == before
    migrate.upgrade(metadata_url)


def test_on_the_way_down_stays_the_version_that_a_started_experiment_uses(metadata_url: str, engine: sa.Engine) -> None:
    with UnitOfWork(engine).begin() as work:
        work.metrics.add("default", FIRST)
        work.metrics.add("default", StoredMetric(metric=a_metric("free"), created_at=NOW))
        add_started(work, "first", 1)
        third = next_version(work, next_version(work, FIRST, event="second"), event="third")
        next_version(work, work.metrics.get("default", "free"), event="newest")
        work.experiments.add("default", a_draft("draft"))
    assert third.revision == 3
    migrate.downgrade(metadata_url, "0005")
    migrate.upgrade(metadata_url)
    assert judged_by(engine, "first") == ["purchase"]
    with UnitOfWork(engine).reading() as work:
        assert work.metrics.get("default", "free").metric.event == "newest"
        assert work.metrics.get("default", "purchase") == replace(FIRST, revision=3)
        assert work.experiments.get("default", "first").definition.metrics == (a_metric_use(),)
        assert work.experiments.get("default", "first").definition.coverage == 1 / 3
        assert work.experiments.get("default", "draft") == a_draft("draft")


def test_of_several_versions_in_use_the_newest_stays(metadata_url: str, engine: sa.Engine) -> None:
    with UnitOfWork(engine).begin() as work:
        work.metrics.add("default", FIRST)
        next_version(work, next_version(work, FIRST, event="second"), event="third")
        add_started(work, "one", 1)
        add_started(work, "two", 2)
    assert (judged_by(engine, "one"), judged_by(engine, "two")) == (["purchase"], ["second"])
    migrate.downgrade(metadata_url, "0005")
    migrate.upgrade(metadata_url)
    assert (judged_by(engine, "one"), judged_by(engine, "two")) == (["second"], ["second"])
