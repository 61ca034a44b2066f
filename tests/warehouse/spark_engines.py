"""The Spark engine in a process of its own: PySpark leaves its sockets to the collector, an error in these tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa

from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.domain.behaviour import PastNumbers, PastRequest
from abplatform.errors import Unavailable
from abplatform.warehouse import queries
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.manifests import LakeFile
from abplatform.warehouse.spark_engine import SparkEngine
from tests.warehouse.sql_engines import Ask, need

# Java's quick compiler alone: what runs here runs once.
JAVA = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
_BUILT: list[SparkEngine] = []
_PLAIN: list[Any] = []


class SparkProcess:
    """An engine that answers from another process.

    Args:
        url: see `engines.build_engine`.
    """

    def __init__(self, url: str) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_build, initargs=(url,))

    def ask(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function with the engine and further arguments there."""
        return self._pool.submit(_call, function, args).result(timeout=240)

    @property
    def version(self) -> str:
        """See `engines.Engine`."""
        version: str = self.ask(_version)
        return version

    def aggregate(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None = None) -> Aggregation:
        """See `engines.Engine`."""
        (answer,) = self.aggregate_at_once(lake, [request], kept)
        return answer

    def keep(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None, *, folder: str) -> KeptUnits:
        """See `engines.Engine`."""
        written: KeptUnits = self.ask(_keep, *_addresses(lake), request, kept, folder)
        return written

    def quantile_before(self, lake: Lake, request: AggregationRequest, *, quantile: float) -> Decimal | None:
        """See `engines.Engine`."""
        found: Decimal | None = self.ask(_quantile_before, *_addresses(lake), request, quantile)
        return found

    def past_numbers(self, lake: Lake, request: PastRequest) -> PastNumbers:
        """See `engines.Engine`."""
        found: PastNumbers = self.ask(_past_numbers, *_addresses(lake), request)
        return found

    def past_classes(self, lake: Lake, request: PastRequest) -> pa.Table:
        """See `engines.Engine`."""
        return self.ask(_past_classes, *_addresses(lake), request)

    def aggregate_at_once(
        self, lake: Lake, requests: Sequence[AggregationRequest], kept: KeptUnits | None = None
    ) -> list[Aggregation]:
        """Answer each request in a thread of its own."""
        answers: list[Aggregation] = self.ask(_aggregate, *_addresses(lake), requests, kept)
        return answers

    def read_conversions(self, files: Sequence[LakeFile]) -> list[dict[str, Any]]:
        """All conversions of the files, by event id."""
        rows: list[dict[str, Any]] = self.ask(_read, files)
        return sorted(rows, key=lambda row: str(row["event_id"]))

    def close(self) -> None:
        """End Spark and the process."""
        self.ask(SparkEngine.close)
        self._pool.shutdown()


@contextmanager
def ask_spark(units: Sequence[str | None], process: SparkProcess) -> Iterator[Ask]:
    """Spark as users have it, with a table ``units``; see `sql_engines`."""
    process.ask(_offer, units)
    yield lambda query: process.ask(_query, query.rstrip().removesuffix(";"))


@contextmanager
def spark_engine(url: str) -> Iterator[SparkProcess]:
    """A Spark engine; without PySpark or Java the test is skipped, or fails where ``CI=true``."""
    need(present=find_spec("pyspark") is not None, how="PySpark is missing; run: pip install 'pyspark>=4.0,<4.1'")
    need(present=bool(shutil.which("java") or os.environ.get("JAVA_HOME")), how="Spark needs Java 17 or later")
    process = SparkProcess(url)
    try:
        yield process
    finally:
        process.close()


@dataclass(frozen=True)
class SparkCluster:
    """A standalone cluster on loopback."""

    url: str
    folder: Path
    add: Callable[..., Path]
    master: Path

    def start_workers(self, number: int) -> None:
        """Start workers of one core and 1 GB each."""
        for worker in range(number):
            limits = ["--cores", "1", "--memory", "1g", "--work-dir", str(self.folder / f"work-{worker}"), self.url]
            self.add(f"worker-{worker}", "worker.Worker", *limits)
        _wait_for(self.master, r"Registering worker", number)


@contextmanager
def spark_cluster(folder: Path) -> Iterator[SparkCluster]:
    """A cluster without workers yet."""
    with ExitStack() as stack:

        def add(name: str, class_: str, *arguments: str) -> Path:
            return stack.enter_context(_daemon(folder, name, class_, *arguments))

        master = add("master", "master.Master")
        (url,) = _wait_for(master, r"spark://127\.0\.0\.1:\d+", 1)
        yield SparkCluster(url, folder, add, master)


def wait_for_executors(engine: SparkEngine, seconds: float) -> None:
    """Set how long an analysis waits for a cluster to give it an executor."""
    from abplatform.warehouse import spark_session

    spark_session.EXECUTOR_WAIT = seconds


def seconds_until_refused(engine: SparkEngine, requests: int) -> list[float]:
    """How long each of several analyses at once waits for an executor that does not come."""

    def wait(_: int) -> float:
        began = time.monotonic()
        with suppress(Unavailable), engine._open():
            raise AssertionError("there was one")
        return time.monotonic() - began

    with ThreadPoolExecutor(requests) as pool:
        return list(pool.map(wait, range(requests)))


def open_two_at_once(engine: SparkEngine, seconds: float) -> None:
    """Begin an analysis beside another one that does not end for so long."""
    from abplatform.warehouse import spark_session

    patience, spark_session.TURN_WAIT = spark_session.TURN_WAIT, seconds
    try:
        with engine._open(), engine._open():
            pass
    finally:
        spark_session.TURN_WAIT = patience


def use_java(engine: SparkEngine, home: str) -> None:
    """Use another Java from now on."""
    os.environ["JAVA_HOME"] = home


def left_behind(engine: SparkEngine) -> tuple[int, int]:
    """How many views and kept tables a running engine still has."""
    session = engine._start()._session
    return len(session.catalog.listTables()), session.sparkContext._jsc.getPersistentRDDs().size()


def kill_driver(engine: SparkEngine) -> None:
    """End the Java process as if the machine had run out of memory."""
    driver = engine._start()._gateway.proc
    driver.kill()
    driver.wait()


@contextmanager
def _daemon(folder: Path, name: str, class_: str, *arguments: str) -> Iterator[Path]:
    """A part of a cluster, on free ports; gives its log."""
    import pyspark

    home = Path(pyspark.__file__).parent
    fixed = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{class_}", *fixed, *arguments]
    environment = os.environ | JAVA | {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home)}
    log = folder / f"{name}.log"
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            yield log
        finally:
            process.terminate()


def _wait_for(log: Path, pattern: str, times: int) -> list[str]:
    deadline = time.monotonic() + 60
    while len(found := re.findall(pattern, log.read_text())) < times:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return found[:times]


def _build(url: str) -> None:
    os.environ.update(JAVA)
    _BUILT.append(SparkEngine(url, "512MB"))


def _call(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    return function(_BUILT[0], *args)


def _offer(engine: SparkEngine, units: Sequence[str | None]) -> None:
    session = engine._start()._session.newSession()
    session.conf.set("spark.sql.variable.substitute", "true")  # as it is where nobody says otherwise
    session.createDataFrame([(unit,) for unit in units], "unit_id string").createOrReplaceTempView("units")
    _PLAIN[:] = [session]


def _query(engine: SparkEngine, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in _PLAIN[0].sql(query).collect()]


def _version(engine: SparkEngine) -> str:
    return engine.version


def _addresses(lake: Lake) -> tuple[str, str]:
    return lake.root, str(lake._catalog.engine.url)


def _aggregate(
    engine: SparkEngine, root: str, catalog: str, requests: Sequence[AggregationRequest], kept: KeptUnits | None
) -> list[Aggregation]:
    with closing(Lake(root, catalog)) as lake, ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(lambda request: engine.aggregate(lake, request, kept), requests))


def _keep(
    engine: SparkEngine, root: str, catalog: str, request: AggregationRequest, kept: KeptUnits | None, folder: str
) -> KeptUnits:
    with closing(Lake(root, catalog)) as lake:
        return engine.keep(lake, request, kept, folder=folder)


def _quantile_before(
    engine: SparkEngine, warehouse: str, catalog: str, request: AggregationRequest, quantile: float
) -> Decimal | None:
    with closing(Lake(warehouse, catalog)) as lake:
        return engine.quantile_before(lake, request, quantile=quantile)


def _past_numbers(engine: SparkEngine, warehouse: str, catalog: str, request: PastRequest) -> PastNumbers:
    with closing(Lake(warehouse, catalog)) as lake:
        return engine.past_numbers(lake, request)


def _past_classes(engine: SparkEngine, warehouse: str, catalog: str, request: PastRequest) -> pa.Table:
    with closing(Lake(warehouse, catalog)) as lake:
        return engine.past_classes(lake, request)


def _read(engine: SparkEngine, files: Sequence[LakeFile]) -> list[dict[str, Any]]:
    with engine._open() as workspace:
        return [
            dict(row)
            for row in workspace.rows(workspace.read([file.path for file in files], queries.COLUMNS_OF_CONVERSIONS))
        ]
