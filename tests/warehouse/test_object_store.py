"""A lake in object storage: all that a lake on disk does, against a server that speaks S3."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector, FileType, S3FileSystem

from abplatform.database import open_database
from abplatform.domain.aggregates import AggregationRequest
from abplatform.errors import Unavailable
from abplatform.services.hold_lake import LakeHeldElsewhere, adopt_lake, hold_lake
from abplatform.services.seal import seal_project
from abplatform.storage import schema
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse import object_store
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.duck import open_duckdb
from abplatform.warehouse.engines import DuckDBEngine
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.object_store import open_object_store, read_path
from abplatform.warehouse.recount import Recount, recount
from abplatform.warehouse.removal import expire, find_orphans, sweep
from tests.builders import NOW, a_conversion_fact, a_metric, an_exposure_fact, later
from tests.warehouse.copies import copy_database
from tests.warehouse.lakes import KEEP, fill, hence, nobody


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Address of an S3 server with the bucket ``growth``."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket, with the variables by which every tool of AWS finds it."""
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(name, value)
    object_store._open.cache_clear()
    owner = S3FileSystem(**object_store._options(os.environ), allow_bucket_creation=True, allow_bucket_deletion=True)
    owner.create_dir("growth")
    yield "growth"
    owner.delete_dir("growth")
    object_store._open.cache_clear()


@pytest.fixture
def remote(bucket: str, sqlite_url: str) -> Iterator[Lake]:
    """An empty lake in the bucket."""
    lake = Lake(f"s3://{bucket}/team/lake", sqlite_url)
    yield lake
    lake.close()


def test_a_copy_that_lags_is_told_by_the_marker_in_the_bucket(bucket: str, sqlite_url: str, tmp_path: Path) -> None:
    first = open_database(sqlite_url)
    schema.installation.create(first)
    lake = Lake(f"s3://{bucket}/team/lake", sqlite_url, is_shared=True)
    hold_lake(UnitOfWork(first), lake, now=NOW)
    assert stored(bucket) == [f"{bucket}/team/lake/owner.json"]
    copied = open_database(copy_database(first, tmp_path / "copy.db"))
    hold_lake(UnitOfWork(first), lake, now=later(minutes=1))

    with pytest.raises(LakeHeldElsewhere):
        hold_lake(UnitOfWork(copied), lake, now=later(minutes=2))

    adopt_lake(UnitOfWork(copied), lake, now=later(minutes=3))
    hold_lake(UnitOfWork(copied), lake, now=later(minutes=4))
    with pytest.raises(LakeHeldElsewhere):
        hold_lake(UnitOfWork(first), lake, now=later(minutes=5))
    lake.close()
    first.dispose()
    copied.dispose()


def test_a_lake_on_disk_may_be_moved_into_a_bucket(
    bucket: str, local_lake: Lake, sqlite_url: str, tmp_path: Path
) -> None:
    fill(local_lake)
    files = {path.relative_to(tmp_path / "lake"): path for path in (tmp_path / "lake").rglob("*") if path.is_file()}
    for name, path in files.items():
        with open_object_store().open_output_stream(f"{bucket}/moved/{name}") as stream:
            stream.write(path.read_bytes())
    shutil.rmtree(tmp_path / "lake")

    with closing(Lake(f"s3://{bucket}/moved", sqlite_url)) as lake:
        fill(lake, commits=1)
        compact(lake, "default", "exposure", now=hence())
        expire(lake, "default", "exposure", now=hence(hours=26), keep=KEEP, claimed=nobody)
        assert len(ids_in(lake)) == 8
        assert recount(lake, "default", "exposure", now=hence()).findings == ()
        assert find_orphans(lake, "default", "exposure")[1] == ()
    assert not (tmp_path / "lake").exists()


def stored(bucket: str) -> list[str]:
    """Keys of all objects of a bucket."""
    infos = open_object_store().get_file_info(FileSelector(bucket, recursive=True))
    return sorted(info.path for info in infos if info.type == FileType.File)


def ids_in(lake: Lake) -> list[str]:
    """All ids of the exposures, read by DuckDB."""
    paths = [file.path for file in lake.files("default", "exposure")]
    with open_duckdb() as connection:
        files = connection.read_parquet(paths, hive_partitioning=False, union_by_name=True)  # noqa: F841  (in the query)
        return [row[0] for row in connection.sql("SELECT event_id FROM files ORDER BY 1").fetchall()]


def test_events_are_sealed_and_counted_once(remote: Lake, bucket: str, sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    inbox = Inbox(database)
    for _ in range(2):
        rows = facts_to_arrow("exposure", [an_exposure_fact(str(number)) for number in range(3)])
        inbox.add("default", "exposure", rows, received_at=NOW)
        seal_project(database, remote, "default", now=NOW)

    assert inbox.counters("default", "exposure")["duplicates"] == 3
    assert ids_in(remote) == ["0", "1", "2"]
    (file,) = remote.files("default", "exposure")
    assert file.location.startswith("s3://growth/team/lake/default/exposures/data/timestamp_day=2026-11-23/")
    assert file.path == read_path(file.location) == file.location.replace("s3://", "s3a://")
    assert file.location.removeprefix("s3://") in stored(bucket)
    database.dispose()


def test_results_are_counted_from_object_storage(remote: Lake) -> None:
    exposures = [an_exposure_fact(str(number), unit=f"u{number}") for number in range(4)]
    conversions = [
        a_conversion_fact(str(n), unit=f"u{n}", value=Decimal("0.1"), timestamp=later(hours=1)) for n in range(3)
    ]
    append_facts(remote, "default", "exposure", facts_to_arrow("exposure", exposures))
    append_facts(remote, "default", "conversion", facts_to_arrow("conversion", conversions))
    request = AggregationRequest(
        project="default",
        experiment="rate-display",
        phase=1,
        variants=("control",),
        metrics=(a_metric("revenue", kind="sum", event="purchase", window=None),),
        as_of=later(days=1),
    )

    found = DuckDBEngine(memory_limit="256MB").aggregate(remote, request)

    assert (found.exposed["control"], found.cells[0].total) == (4, Decimal("0.3"))


def test_it_is_tidied_up_like_a_lake_on_disk(remote: Lake, bucket: str) -> None:
    ids = fill(remote)
    before = {file.location.removeprefix("s3://") for file in remote.files("default", "exposure")}
    append_facts(remote, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact("gone", experiment="x")]))
    remote.delete_experiment("default", "x")

    assert compact(remote, "default", "exposure", now=hence()).merged == 2
    assert ids_in(remote) == ids
    assert before <= set(stored(bucket))
    assert recount(remote, "default", "exposure", now=hence(seconds=1)) == Recount(files=9, rows=6)

    assert expire(remote, "default", "exposure", now=hence(hours=25), keep=KEEP, claimed=nobody).snapshots == 5
    assert not before & set(stored(bucket))
    assert ids_in(remote) == ids


def test_files_that_nothing_names_are_found_and_swept(remote: Lake, bucket: str) -> None:
    fill(remote, commits=1)
    with open_object_store().open_output_stream(f"{bucket}/team/lake/default/exposures/data/stray.parquet") as stream:
        stream.write(b"half a file")

    assert sweep(remote, "default", "exposure", now=hence(hours=23)) == 0
    _, orphans = find_orphans(remote, "default", "exposure")
    assert [file.location for file in orphans] == ["s3://growth/team/lake/default/exposures/data/stray.parquet"]
    found = recount(remote, "default", "exposure", now=hence(hours=25))
    assert (found.findings, [file.size for file in found.orphans]) == ((), [11])
    assert sweep(remote, "default", "exposure", now=hence(hours=25)) == 1
    assert find_orphans(remote, "default", "exposure")[1] == ()


def test_an_object_that_is_missing_is_named(remote: Lake) -> None:
    fill(remote, commits=2, days=1)
    (first, _) = remote.files("default", "exposure")
    open_object_store().delete_file(first.location.removeprefix("s3://"))

    (finding,) = recount(remote, "default", "exposure", now=hence()).findings

    assert (finding.location, finding.problem) == (first.location, "is missing")


def test_storage_that_does_not_answer_is_said_so(
    remote: Lake, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    opened = remote.open("default", "exposure")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port}")
    object_store._open.cache_clear()

    with pytest.raises(Unavailable, match="storage of the lake does not answer"):
        opened.append(facts_to_arrow("exposure", [an_exposure_fact("1")]), "seal-1")


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_endpoint_and_region_come_from_the_variables_of_aws() -> None:
    read = object_store._options
    one_request = {"allow_delayed_open": True}
    assert read({}) == one_request
    assert read({"AWS_REGION": "cn-north-1", "AWS_DEFAULT_REGION": "x"}) == one_request | {"region": "cn-north-1"}
    given = {"AWS_ENDPOINT_URL": "http://minio:9000", "AWS_ENDPOINT_URL_S3": "http://s3:9000"}
    assert read(given) == one_request | {"endpoint_override": "http://s3:9000", "region": "us-east-1"}
