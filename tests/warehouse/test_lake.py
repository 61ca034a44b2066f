"""The lake: what is appended is there, at fixed states, for any reader."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.catalog import table_root
from abplatform.warehouse.lake import Lake, latest_receipt
from abplatform.warehouse.layout import TABLE_PROPERTIES, arrow_schema, facts_to_arrow
from tests.builders import NOW, a_conversion_fact, an_exposure_fact, later
from tests.facts import arrow_to_facts
from tests.warehouse.processes import append_one, several_processes


def rows_of(lake: Lake, kind: str = "exposure", project: str = "default") -> list[ExposureFact | ConversionFact]:
    """All facts of a table, by event id, read with nothing but pyarrow."""
    tables = [pq.ParquetFile(file.path).read() for file in lake.files(project, kind)]
    facts = [fact for table in tables for fact in arrow_to_facts(kind, table)]
    return sorted(facts, key=lambda fact: fact.event_id)


def test_facts_come_back_from_the_lake_equal(lake: Lake) -> None:
    exposures = [
        an_exposure_fact("1", attributes={}, cluster="c", expected_variant=None),
        an_exposure_fact("2", attributes={"城市": '"上海"', "n": "3"}, timestamp=later(days=-400)),
    ]
    conversions = [
        a_conversion_fact("1", value=None, units={"device_id": "pseudonym-2", "户": "pseudonym-3"}),
        a_conversion_fact("2", value=Decimal("-99999999999999.999999")),
    ]

    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", conversions))

    assert rows_of(lake) == exposures
    assert rows_of(lake, "conversion") == conversions
    assert latest_receipt((*lake.files("default", "exposure"), *lake.files("default", "conversion"))) == NOW


def test_a_project_without_events_has_no_files(lake: Lake) -> None:
    assert lake.files("default", "exposure") == ()
    assert lake.find("default", "exposure") is None
    assert latest_receipt(lake.files("default", "exposure")) is None
    lake.delete_experiment("default", "rate-display")
    assert lake.open("default", "exposure").files() == ()


def test_projects_have_tables_of_their_own(local_lake: Lake) -> None:
    for project in ("one", "two"):
        append_facts(local_lake, project, "exposure", facts_to_arrow("exposure", [an_exposure_fact(project)]))

    assert [fact.event_id for fact in rows_of(local_lake, project="two")] == ["two"]


def test_files_are_split_by_utc_day_and_sorted_by_unit(local_lake: Lake) -> None:
    moments = [later(hours=-hours) for hours in range(0, 72, 7)]
    facts = [
        an_exposure_fact(f"{unit}-{number}", unit=f"unit-{unit}", timestamp=moment)
        for number, moment in enumerate(moments)
        for unit in (3, 1, 2)
    ]

    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", facts))

    files = local_lake.files("default", "exposure")
    assert sum(file.rows for file in files) == len(facts)
    assert len(files) == len({moment.date() for moment in moments})
    for file in files:
        table = pq.ParquetFile(file.path).read()
        days = {moment.date() for moment in table.column("timestamp").to_pylist()}
        assert [f"timestamp_day={day}" for day in days] == [Path(file.path).parent.name]
        rows = list(zip(*(table.column(name).to_pylist() for name in ("unit", "timestamp", "event_id")), strict=True))
        assert rows == sorted(rows)
        assert pq.ParquetFile(file.path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_another_reader_sees_the_same_rows(local_lake: Lake) -> None:
    facts = [a_conversion_fact(str(number), value=Decimal("99999999999999.999999")) for number in range(3)]
    append_facts(local_lake, "default", "conversion", facts_to_arrow("conversion", facts))
    paths = [file.path for file in local_lake.files("default", "conversion")]

    with duckdb.connect() as connection:
        files = connection.read_parquet(paths, hive_partitioning=False)  # noqa: F841  (named in the query)
        total, count = connection.sql("SELECT sum(value), count(DISTINCT event_id) FROM files").fetchall()[0]

    # In millionths that is far beyond 2^53: no double could hold it.
    assert (total, count) == (Decimal("299999999999999.999997"), 3)


def test_another_iceberg_client_finds_the_tables(local_lake: Lake, sqlite_url: str) -> None:
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact("1")]))

    catalog = SqlCatalog("abplatform", uri=sqlite_url)
    table = catalog.load_table("default.exposures").scan().to_arrow()
    catalog.engine.dispose()

    assert table.column("event_id").to_pylist() == ["1"]


def test_deleting_an_experiment_rewrites_files_and_leaves_the_others(lake: Lake) -> None:
    facts = [an_exposure_fact(f"{key}-{n}", experiment=key, unit=f"u{n}") for key in ("gone", "kept") for n in range(5)]
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", facts))
    only = an_exposure_fact("gone-alone", experiment="gone", timestamp=later(days=-3))
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", [only]))

    lake.delete_experiment("default", "gone")
    lake.delete_experiment("default", "gone")

    assert rows_of(lake) == [fact for fact in facts if fact.experiment == "kept"]


def test_an_append_to_a_table_that_changed_is_refused(local_lake: Lake) -> None:
    for _ in range(2):  # The first round finds an empty table, the second one with a commit.
        stale = local_lake.open("default", "exposure")
        append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact("1")]))
        before = rows_of(local_lake)
        with pytest.raises(CommitFailedException):
            stale.append(facts_to_arrow("exposure", [an_exposure_fact("2")]), "seal")
        assert rows_of(local_lake) == before


def test_an_opened_table_stays_as_it_was(local_lake: Lake) -> None:
    opened = local_lake.open("default", "exposure")
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact("1")]))

    assert opened.files() == ()
    assert len(local_lake.files("default", "exposure")) == 1


def test_a_bulk_append_with_one_seal_id_happens_once(lake: Lake) -> None:
    table = facts_to_arrow("exposure", [an_exposure_fact("1")])

    append_facts(lake, "default", "exposure", table, seal_id="import-1")
    append_facts(lake, "default", "exposure", table, seal_id="import-1")
    append_facts(lake, "default", "exposure", table.slice(0, 0))

    assert [fact.event_id for fact in rows_of(lake)] == ["1"]


def test_a_bulk_append_refuses_a_table_of_another_shape(local_lake: Lake) -> None:
    table = facts_to_arrow("exposure", [an_exposure_fact("1")])
    with pytest.raises(ValueError, match="table must have the column unit"):
        append_facts(local_lake, "default", "exposure", table.drop_columns(["unit"]))
    nothing = pa.array([None], pa.string())
    position = table.schema.get_field_index("unit")
    with pytest.raises(ValueError, match="do not fit"):
        append_facts(local_lake, "default", "exposure", table.set_column(position, "unit", nothing))
    assert local_lake.files("default", "exposure") == ()


def test_columns_that_came_later_may_be_missing_from_a_bulk_append(lake: Lake) -> None:
    fact = a_conversion_fact()
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", [fact]).drop_columns(["units"]))
    assert rows_of(lake, "conversion") == [fact]


def test_a_lake_lives_in_a_folder_with_an_awkward_name(sqlite_url: str, tmp_path: Path) -> None:
    root = tmp_path / "my lake [x]* 100% 湖"
    lake = Lake(root.as_uri(), sqlite_url)
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact("1")]))
    paths = [Path(file.path) for file in lake.files("default", "exposure")]
    lake.close()

    assert all(path.is_relative_to(root) and path.exists() for path in paths)


@pytest.mark.parametrize(
    "url",
    [
        "/srv/lake",
        "file://host/srv/lake",
        "file:///srv/a%3Fb",
        "s3://",
        "s3://Bucket",
        "s3://bucket/a%20b",
        "s3://key:secret@bucket/lake",
        "http://bucket/lake",
    ],
)
def test_an_address_that_cannot_hold_a_lake_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url must"):
        table_root(url)


def test_sqlites_lock_is_taken_before_anything_of_the_lake_is_written(local_lake: Lake) -> None:
    """Whoever begins by reading waits for it in another way than those who take events, and starves behind them."""
    said: dict[int, list[str]] = {}
    engine = local_lake._catalog.engine
    engine.dispose()

    def listen(connection: Any, _record: object) -> None:
        connection.set_trace_callback(said.setdefault(id(connection), []).append)

    sa.event.listen(engine.pool, "connect", listen)
    append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact()]))

    beginnings = []
    for statements in said.values():
        for statement in statements:
            if statement.startswith("BEGIN"):
                begun = statement
            elif statement.startswith(("INSERT", "UPDATE")):
                beginnings.append((statement.split()[0], begun))
    assert set(beginnings) == {("INSERT", "BEGIN IMMEDIATE"), ("UPDATE", "BEGIN IMMEDIATE")}
    assert any("BEGIN" in statements for statements in said.values()), "reading waits for nobody"


def test_processes_that_create_the_same_tables_at_once_all_succeed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'platform.db'}"
    with several_processes(4) as pool:
        started = [pool.submit(append_one, (tmp_path / "lake").as_uri(), url, number) for number in range(8)]
        for each in started:
            each.result(timeout=60)

    lake = Lake((tmp_path / "lake").as_uri(), url)
    assert len(rows_of(lake)) == 8
    lake.close()


def test_arrow_columns_are_those_of_the_facts() -> None:
    assert arrow_schema("exposure").names == list(ExposureFact.__struct_fields__)
    assert arrow_schema("conversion").names == list(ConversionFact.__struct_fields__)


def test_merged_manifests_lose_and_repeat_no_file(local_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE_PROPERTIES, "commit.manifest.min-count-to-merge", "4")
    for number in range(10):
        fact = an_exposure_fact(str(number), timestamp=NOW - timedelta(days=number % 2 * 900))
        append_facts(local_lake, "default", "exposure", facts_to_arrow("exposure", [fact]))

    assert [fact.event_id for fact in rows_of(local_lake)] == [str(number) for number in range(10)]
    files = local_lake.files("default", "exposure")
    assert len({file.committed_at for file in files}) == 10
