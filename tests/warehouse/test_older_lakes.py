"""Lakes that an older release made: they get the columns that came later, and their files stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform
from pyiceberg.types import DecimalType, MapType, NestedField, StringType, TimestamptzType

from abplatform.domain.aggregates import AggregationRequest
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.catalog import open_catalog, table_root
from abplatform.warehouse.dedupe import find_sealed
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import TABLE_PROPERTIES, Fact, facts_to_arrow, sort_rows
from tests.builders import a_conversion_fact, a_metric, an_exposure_fact, later
from tests.facts import arrow_to_facts
from tests.warehouse.processes import append_conversion, several_processes
from tests.warehouse.test_lake import rows_of

TEXT, TIME = StringType(), TimestamptzType()
# The conversions of the first release, word by word.
FIRST_SCHEMA = Schema(
    NestedField(1, "event_id", TEXT, required=True),
    NestedField(2, "event", TEXT, required=True),
    NestedField(3, "unit", TEXT, required=True),
    NestedField(4, "value", DecimalType(20, 6), required=False),
    NestedField(5, "timestamp", TIME, required=True),
    NestedField(6, "sent_timestamp", TIME, required=True),
    NestedField(7, "received_at", TIME, required=True),
    NestedField(8, "properties", MapType(100, TEXT, 101, TEXT, value_required=False), required=True),
)
BY_DAY = PartitionSpec(PartitionField(source_id=5, field_id=1000, transform=DayTransform(), name="timestamp_day"))
OLD = a_conversion_fact("old", unit="person-1", value=Decimal(1))


@dataclass(frozen=True)
class OlderLake:
    """A lake of the first release with the conversion `OLD`."""

    root: str
    url: str
    catalog: SqlCatalog

    def append(self, *facts: object) -> None:
        """Write as the first release did."""
        self.catalog.load_table("default.conversions").append(first_rows(*facts))

    def columns(self) -> list[str]:
        """Columns of the table now."""
        return [field.name for field in self.catalog.load_table("default.conversions").schema().fields]


def first_rows(*facts: object) -> pa.Table:
    """Conversions with the columns of the first release."""
    return sort_rows(facts_to_arrow("conversion", facts)).select([field.name for field in FIRST_SCHEMA.fields])  # type: ignore[arg-type]


@pytest.fixture
def older(metadata_url: str, tmp_path: Path) -> object:
    """A lake of the first release, on both kinds of database."""
    root = (tmp_path / "lake").as_uri()
    catalog = open_catalog(table_root(root), metadata_url)
    catalog.create_namespace("default")
    catalog.create_table(
        "default.conversions",
        schema=FIRST_SCHEMA,
        location=f"{table_root(root)}/default/conversions",
        partition_spec=BY_DAY,
        properties=TABLE_PROPERTIES,
    )
    made = OlderLake(root, metadata_url, catalog)
    made.append(OLD)
    yield made
    catalog.engine.dispose()


def test_a_table_gets_new_columns_when_it_is_opened_to_write(older: OlderLake) -> None:
    lake = Lake(older.root, older.url)
    assert rows_of(lake, "conversion") == [OLD]
    assert older.columns()[-1] == "properties", "reading changes nothing"

    new = a_conversion_fact("new", unit="person-1", units={"device_id": "device-1"}, timestamp=later(hours=1))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", [new]))

    assert older.columns()[-3:] == ["properties", "units", "sequence_number"]
    assert rows_of(lake, "conversion") == [new, OLD]
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", [a_conversion_fact("newer")]))
    assert older.columns().count("units") == 1
    lake.close()


def test_another_iceberg_client_reads_nulls_from_old_files(older: OlderLake) -> None:
    append_conversion(older.root, older.url, 1)

    rows = older.catalog.load_table("default.conversions").scan().to_arrow().sort_by("event_id")

    assert rows.column("units").to_pylist() == [[("device_id", "device-1")], None]


def test_processes_that_open_an_older_table_at_once_all_write(older: OlderLake) -> None:
    with several_processes(2) as pool:
        for each in [pool.submit(append_conversion, older.root, older.url, number) for number in range(4)]:
            each.result(timeout=60)

    lake = Lake(older.root, older.url)
    assert [fact.event_id for fact in rows_of(lake, "conversion")] == [*(f"new-{number}" for number in range(4)), "old"]
    assert older.columns().count("units") == 1
    lake.close()


def test_an_older_process_may_go_on_writing_beside_a_newer_one(older: OlderLake) -> None:
    append_conversion(older.root, older.url, 1)
    older.append(a_conversion_fact("from-the-older"))

    lake = Lake(older.root, older.url)
    assert [fact.units for fact in rows_of(lake, "conversion")] == [{}, {"device_id": "device-1"}, {}]
    lake.close()


def test_ids_in_old_and_new_files_are_both_found(older: OlderLake) -> None:
    lake = Lake(older.root, older.url)
    assert find(lake, "old") == [OLD]
    append_conversion(older.root, older.url, 1)

    found = find(lake, "old", "new-1")

    assert {fact.event_id: fact.units for fact in found} == {"old": {}, "new-1": {"device_id": "device-1"}}
    lake.close()


def find(lake: Lake, *ids: str) -> list[Fact]:
    files = lake.files("default", "conversion")
    found = find_sealed("conversion", files, pa.chunked_array([ids], pa.string()), oldest=None)
    return arrow_to_facts("conversion", found)


def test_results_count_old_and_new_files_together(older: OlderLake, engine: DuckDBEngine) -> None:
    lake = Lake(older.root, older.url)
    exposures = [an_exposure_fact("1", unit="person-1"), an_exposure_fact("2", unit="device-1", experiment="devices")]
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", exposures))

    def revenue(experiment: str, unit_type: str | None) -> Decimal:
        request = AggregationRequest(
            project="default",
            experiment=experiment,
            phase=1,
            variants=("control",),
            metrics=(a_metric("revenue", kind="sum", event="purchase", window=None),),
            as_of=later(days=1),
            unit_type=unit_type,
        )
        return engine.aggregate(lake, request).cells[0].total

    assert (revenue("rate-display", None), revenue("devices", "device_id")) == (1, 0)
    append_conversion(older.root, older.url, 1)  # of 350
    assert (revenue("rate-display", None), revenue("devices", "device_id")) == (1, 350)
    lake.close()
