"""Spark beside DuckDB: equal answers, and what Spark alone can do wrong. `test_engine_oracle` asks both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from abplatform.domain.aggregates import AggregationRequest
from abplatform.domain.dimension import Dimension
from abplatform.domain.events import ConversionFact, ExposureFact
from abplatform.domain.metric import Window
from abplatform.errors import StartRefused, Unavailable
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.engines import build_engine
from abplatform.warehouse.lake import Lake, LakeFile
from abplatform.warehouse.layout import facts_to_arrow
from tests.builders import NOW, a_conversion_fact, a_metric, an_exposure_fact, later
from tests.warehouse.histories import a_history
from tests.warehouse.oracle import check_equal
from tests.warehouse.spark_engines import (
    kill_driver,
    left_behind,
    open_two_at_once,
    seconds_until_refused,
    spark_cluster,
    spark_engine,
    use_java,
    wait_for_executors,
)

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
REVENUE = a_metric("revenue", kind="sum", event="purchase", window=None)
REQUEST = AggregationRequest(
    project="default",
    experiment="rate-display",
    phase=1,
    variants=("control", "treatment"),
    metrics=(a_metric("bought", event="purchase", window=None), REVENUE),
    as_of=later(days=10),
)
PHASE_2 = replace(REQUEST, phase=2, variants=("control", "treatment", "third"), as_of=NOW)
ODD_TEXTS = ('"fund"', "7", "true", '"7"', '"a\'b"', '"back\\\\slash"', '"line\\n"', '"上海"', '"$x{y}`"', '"(none)"')
ODD_OPTIONS = ("fund", 7, True, "7", "a'b", "back\\slash", "line\n", "上海", "$x{y}`", "(none)")


def fill(lake: Lake, exposures: Sequence[ExposureFact] = (), conversions: Sequence[ConversionFact] = ()) -> None:
    """Append facts."""
    append_facts(lake, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(lake, "default", "conversion", facts_to_arrow("conversion", conversions))


def test_a_lake_without_files_gives_zeros(local_lake: Lake, engine: DuckDBEngine, spark_on_threads: Any) -> None:
    request = replace(REQUEST, phase=2, clustered=True, covariates=("age",))
    found = spark_on_threads.aggregate(local_lake, request)
    check_equal(found, engine.aggregate(local_lake, request))
    assert found.exposed == {"control": 0, "treatment": 0}


def test_exposures_without_an_expected_variant_mismatch_nothing(
    local_lake: Lake, engine: DuckDBEngine, spark_on_threads: Any
) -> None:
    fill(local_lake, [an_exposure_fact(expected_variant=None)])
    found = spark_on_threads.aggregate(local_lake, REQUEST)
    check_equal(found, engine.aggregate(local_lake, REQUEST))
    assert (found.exposed["control"], found.mismatched_exposures, found.undrawn_exposures) == (1, 0, 0)


def test_text_money_and_time_are_what_they_are_in_duckdb(
    local_lake: Lake, engine: DuckDBEngine, spark_on_threads: Any
) -> None:
    amounts = [Decimal("99999999999999.999999")] * 200 + [Decimal("0.000001"), Decimal("-0.000002")]
    ages = ("30", "1e400", "1e160", '"30"', "true", "-0.5", "0", "-1e99", "4e-320", "2")
    exposures = [
        an_exposure_fact(text, unit=str(n), attributes={"city": text, "age": age})
        for n, (text, age) in enumerate(zip(ODD_TEXTS, ages, strict=True))
    ]
    moments = (-TICK, timedelta(0), HOUR - TICK, HOUR, 3 * HOUR - TICK, 3 * HOUR)
    conversions = [a_conversion_fact(f"{n}", unit=str(n % 10), value=amount) for n, amount in enumerate(amounts)]
    conversions += [a_conversion_fact(f"at-{n}", unit="0", timestamp=NOW + time) for n, time in enumerate(moments)]
    conversions += [
        a_conversion_fact(text, event="chose", unit=str(n), properties={"what is \\'it\\'": text, "city": text})
        for n, text in enumerate(ODD_TEXTS)
    ]
    fill(local_lake, exposures, conversions)
    chosen = [
        a_metric(f"chose-{n}", event="chose", window=None, where={"what is \\'it\\'": option})
        for n, option in enumerate(ODD_OPTIONS)
    ]
    soon = a_metric("soon", kind="sum", event="purchase", window=Window(start=HOUR, end=3 * HOUR))
    request = replace(
        REQUEST, metrics=(REVENUE, soon, *chosen), dimensions=(Dimension(name="city"),), covariates=("age", "absent")
    )

    found = spark_on_threads.aggregate(local_lake, request)

    check_equal(found, engine.aggregate(local_lake, request))
    # By hand: 200 times a millionth less than 10^14, less another millionth; of the six around it five of 350.
    revenue = sum(cell.total for cell in found.cells if cell.name == "revenue")
    assert revenue == Decimal("19999999999999999.999799") + 5 * 350
    assert sum(cell.total for cell in found.cells if cell.name == "soon") == 2 * 350
    assert [sum(cell.total for cell in found.cells if cell.name == metric.key) for metric in chosen] == [1] * 10


def test_exactly_the_files_are_read_whatever_their_names_and_columns(tmp_path: Path, spark_on_threads: Any) -> None:
    names = ("old", "new", "also")
    files = []
    for name in names:
        folder = tmp_path / "a lake" / f"[{name}] {{a,b}} 100% ü=1" / f"day={name}"
        folder.mkdir(parents=True)
        table = facts_to_arrow("conversion", [a_conversion_fact(name, units={"device_id": "phone"})])
        columns = [column for column in table.column_names if name != "old" or column != "units"]
        for path in (folder / "part.parquet", folder / "not-in-the-catalog.parquet"):
            pq.write_table(table.select(columns), path)
        day = NOW.date()
        files.append(LakeFile(str(folder / "part.parquet"), 1, None, None, None, None, "", 1, day, 1))

    rows = spark_on_threads.read_conversions(files)

    assert [(row["event_id"], row["units"]) for row in rows] == [
        ("also", {"device_id": "phone"}),
        ("new", {"device_id": "phone"}),
        ("old", None),
    ]


def test_analyses_at_once_do_not_meet_and_leave_nothing(
    local_lake: Lake, engine: DuckDBEngine, spark_on_threads: Any
) -> None:
    history = a_history(3)
    fill(local_lake, history.exposures, history.conversions)
    requests = [
        PHASE_2,
        replace(PHASE_2, clustered=True),
        replace(PHASE_2, dimensions=(Dimension(name="channel"),)),
        PHASE_2,
    ]

    for found, request in zip(spark_on_threads.aggregate_at_once(local_lake, requests), requests, strict=True):
        check_equal(found, engine.aggregate(local_lake, request))

    assert spark_on_threads.ask(left_behind) == (0, 0)


def test_a_file_that_is_missing_is_no_empty_file(local_lake: Lake, spark_on_threads: Any) -> None:
    fill(local_lake, [an_exposure_fact()])
    (file,) = local_lake.files("default", "exposure")
    Path(file.path).unlink()
    with pytest.raises(FileNotFoundError, match="Path does not exist"):
        spark_on_threads.aggregate(local_lake, REQUEST)


def test_a_standalone_cluster_gives_the_same(local_lake: Lake, engine: DuckDBEngine, tmp_path: Path) -> None:
    history = a_history(4, units=300)
    fill(local_lake, history.exposures, history.conversions)
    request = replace(PHASE_2, clustered=True, dimensions=(Dimension(name="channel"),), covariates=("age",))

    with spark_cluster(tmp_path) as cluster, spark_engine(cluster.url) as spark:
        spark.ask(wait_for_executors, 0.5)
        with pytest.raises(Unavailable, match="no worker with a free core and 512m of memory"):
            spark.aggregate(local_lake, request)
        assert max(spark.ask(seconds_until_refused, 4)) < 3 * 0.5, "nobody waits for the waiting of others"
        spark.ask(wait_for_executors, 60)
        cluster.start_workers(2)
        found = spark.aggregate(local_lake, request)

    check_equal(found, engine.aggregate(local_lake, request))
    executed = [path.parent.parent.name for path in tmp_path.glob("work-*/app-*/[0-9]*")]
    assert len(executed) == 2, "both workers had a part"


def test_who_waits_too_long_for_others_is_told(spark_on_threads: Any, local_lake: Lake) -> None:
    with pytest.raises(Unavailable, match="Spark is busy with other analyses; try again shortly"):
        spark_on_threads.ask(open_two_at_once, 0.1)
    spark_on_threads.aggregate(local_lake, REQUEST)  # the next one has its turn


def test_a_cluster_that_is_not_there_is_unavailable_at_once(local_lake: Lake) -> None:
    engine = build_engine("spark://127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"no Spark master answers at 127\.0\.0\.1:1"):
        engine.aggregate(local_lake, REQUEST)
    engine.close()


def test_a_java_that_does_not_run_says_why(local_lake: Lake, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho this Java is broken >&2\nexit 1\n")
    java.chmod(0o700)
    with spark_engine("spark://local[2]") as spark:
        spark.ask(use_java, str(tmp_path))
        with pytest.raises(Unavailable, match="Java does not run: this Java is broken"):
            spark.aggregate(local_lake, REQUEST)


def test_a_request_without_metrics_starts_nothing(local_lake: Lake) -> None:
    engine = build_engine("spark://127.0.0.1:1")
    with pytest.raises(ValueError, match="at least one metric"):
        engine.aggregate(local_lake, replace(REQUEST, metrics=()))


def test_without_pyspark_the_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abplatform.warehouse.spark_engine.find_spec", lambda name: None)
    with pytest.raises(StartRefused, match=r"pip install -e '\.\[spark\]'"):
        build_engine("spark://local[2]")


def test_without_java_the_start_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StartRefused, match="Spark needs Java 17 or 21: there is no java in PATH"):
        build_engine("spark://local[2]")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StartRefused, match="has no bin/java"):
        build_engine("spark://local[2]")


def test_after_its_java_process_was_killed_spark_starts_again(local_lake: Lake, spark_on_threads: Any) -> None:
    fill(local_lake, [an_exposure_fact()])
    spark_on_threads.ask(kill_driver)
    with pytest.raises(Unavailable, match="Spark does not answer"):
        spark_on_threads.aggregate(local_lake, REQUEST)
    assert spark_on_threads.aggregate(local_lake, REQUEST).exposed == {"control": 1, "treatment": 0}
