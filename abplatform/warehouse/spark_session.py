"""A running Spark: its Java process, its session, and the views of one analysis.

Imported when a result is first asked for: PySpark is an extra, and heavy.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.pyspark import Backend
from ibis.backends.pyspark.datatypes import PySparkSchema
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import AnalysisException, PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sf

from abplatform.errors import Unavailable
from abplatform.warehouse.cells import Row
from abplatform.warehouse.scratch import ScratchFolder

EXECUTOR_WAIT = 60.0
TURN_WAIT = 120.0
_LOOPBACK = ("local[", "spark://127.", "spark://localhost:")


class RunningSpark:
    """A session and the Java process that drives it.

    Args:
        gateway: PySpark's connection to the process.
        session: the one session of this process.
        folder: for what Spark writes; it goes when Spark stops.
    """

    def __init__(self, gateway: Any, session: SparkSession, folder: ScratchFolder) -> None:
        self._gateway = gateway
        self._session = session
        self._folder = folder
        self._turn = threading.Lock()
        self._backend = ibis.pyspark.from_connection(session)

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        with suppress(Py4JError, OSError):
            return not self._session.sparkContext._jsc.sc().isStopped()  # noqa: SLF001 - PySpark does not tell
        return False

    def stop(self) -> None:
        """End session and process, also where the process has ended by itself."""
        _end(self._gateway, self._session)
        self._folder.cleanup()

    @contextmanager
    def open_workspace(self) -> Iterator[SparkWorkspace]:
        """Views of one analysis.

        Raises:
            Unavailable: if Spark fails to answer, has no worker within `EXECUTOR_WAIT` seconds, or is busy with other
                analyses for `TURN_WAIT`.
        """
        workspace = SparkWorkspace(self._session, self._backend)
        with spark_answers():
            # Before the turn: all find out at the same time that there is nobody to work for them.
            self._wait_for_executors()
            with self._take_turn():
                try:
                    yield workspace
                finally:
                    workspace.forget()

    @contextmanager
    def _take_turn(self) -> Iterator[None]:
        # One after the other: each uses all cores, and Spark mixes up what is kept for several at once, so that some
        # of it stays for ever.
        if not self._turn.acquire(timeout=TURN_WAIT):
            raise Unavailable("Spark is busy with other analyses; try again shortly")
        try:
            yield
        finally:
            self._turn.release()

    def _wait_for_executors(self) -> None:
        # Without one, jobs would wait for ever. Executors that come and go with the load come with a job.
        conf = self._session.sparkContext.getConf()
        if conf.get("spark.master", "").startswith("local") or conf.get("spark.dynamicAllocation.enabled") == "true":
            return
        patience = time.monotonic() + EXECUTOR_WAIT
        while self._session.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < 2:  # noqa: SLF001 - the driver is one
            if time.monotonic() > patience:
                memory = conf.get("spark.executor.memory")
                raise Unavailable(f"the Spark cluster has no worker with a free core and {memory} of memory")
            time.sleep(0.1)


class SparkWorkspace:
    """Views of one analysis, under names of their own: sessions are shared by all threads.

    Args:
        session: runs the queries.
        backend: writes them.
    """

    number_type = "string"

    def __init__(self, session: SparkSession, backend: Backend) -> None:
        self._session = session
        self._backend = backend
        self._views: list[str] = []
        self._kept: list[DataFrame] = []

    def read(self, paths: Sequence[str], columns: Mapping[str, str]) -> ir.Table:
        """See `workspace.Workspace`."""
        schema = ibis.schema(columns)
        types = PySparkSchema.from_ibis(schema)
        if paths:
            # The columns are given, so that nobody looks for them, and files from before one have it as null.
            frame = self._session.read.schema(types).options(**_PLAIN_LIST).parquet(*map(_location, paths))
        else:
            nulls = [sf.lit(None).cast(field.dataType).alias(field.name) for field in types.fields]
            frame = self._session.range(0).select(*nulls)
        return self._name("files", frame, schema)

    def keep(self, name: str, table: ir.Table) -> ir.Table:
        """See `workspace.Workspace`."""
        frame = self._query(table).persist()
        self._kept.append(frame)
        return self._name(name, frame, table.schema())

    def number(self, units: ir.Table) -> ir.Table:
        """See `workspace.Workspace`: whole numbers would bring all units to one executor."""
        return units.mutate(number=units.unit)

    def rows(self, table: ir.Table) -> list[Row]:
        """See `workspace.Workspace`."""
        return [row.asDict() for row in self._query(table).collect()]

    def arrow(self, table: ir.Table) -> pa.Table:
        """See `workspace.Workspace`."""
        return self._query(table).toArrow()

    def write(self, table: ir.Table, folder: str, name: str) -> tuple[str, ...]:
        """See `workspace.Workspace`."""
        place = f"{folder.replace('s3://', 's3a://', 1)}/{name}"
        self._query(table).write.parquet(place)
        files = self._session.read.parquet(place).inputFiles()
        return tuple(f"{name}/{file.rpartition('/')[2]}" for file in files)

    def forget(self) -> None:
        """Drop all views and what was kept for them; nothing to do if Spark has ended."""
        with suppress(Py4JError, OSError):
            for view in self._views:
                self._session.catalog.dropTempView(view)
            # The latest first: to drop one on which another rests would compute that one again.
            for frame in reversed(self._kept):
                frame.unpersist(blocking=True)

    def _query(self, table: ir.Table) -> DataFrame:
        return self._session.sql(self._backend.compile(table))

    def _name(self, name: str, frame: DataFrame, schema: ibis.Schema) -> ir.Table:
        view = ibis.util.gen_name(name)
        frame.createTempView(view)
        self._views.append(view)
        return ibis.table(schema, name=view)


# Nothing is a pattern, and names of folders say nothing about columns: these are the files, all of them.
_PLAIN_LIST = {"__globPaths__": "false", "recursiveFileLookup": "true"}


def _location(path: str) -> str:
    # A path alone would be one of whatever file system the cluster has as its default.
    return f"file://{path}" if path.startswith("/") else path


def start_spark(url: str, memory_limit: str) -> RunningSpark:
    """Start the Java process and its session; see `spark_engine.SparkEngine` for the arguments.

    Raises:
        Unavailable: if Java does not run, or the cluster does not answer.
    """
    if not url.startswith("spark://local["):
        _knock(url)
    folder = ScratchFolder("spark")
    rest = url.removeprefix("spark://")
    conf = SparkConf(loadDefaults=False).setMaster(rest if rest.startswith("local[") else url)
    conf.setAll(list(_properties(conf.get("spark.master") or "", memory_limit, Path(folder.name)).items()))
    gateway = None
    try:
        with spark_answers():
            gateway = _launch(conf, Path(folder.name) / "spark.log")
            session = SparkSession(SparkContext(gateway=gateway, conf=conf))
    except BaseException:
        if gateway is not None:
            _end(gateway, None)
        folder.cleanup()
        raise
    return RunningSpark(gateway, session, folder)


def _launch(conf: SparkConf, log: Path) -> Any:
    try:
        with log.open("wb") as output:
            # Spark greets and warns before it reads its own log level: not on our stdout and stderr.
            return launch_gateway(conf, {"stdout": output, "stderr": output})
    except PySparkException as error:
        said = " ".join(log.read_text(errors="replace").split())[:300]
        raise Unavailable(f"Java does not run: {said or error}") from error


def _knock(url: str) -> None:
    # Spark itself would try for a minute.
    host, _, port = url.removeprefix("spark://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise Unavailable(f"no Spark master answers at {host}:{port}") from error


def _properties(master: str, memory_limit: str, folder: Path) -> dict[str, str]:
    memory = memory_limit.lower().removesuffix("b")
    properties = {
        "spark.app.name": "abplatform",
        "spark.driver.memory": memory,
        "spark.executor.memory": memory,
        "spark.local.dir": str(folder),
        "spark.log.level": "ERROR",
        "spark.sql.ansi.enabled": "true",
        # What is kept may have as few parts as its size asks for: of small experiments each would have 200.
        "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "true",
        "spark.sql.session.timeZone": "UTC",
        # What people write in definitions is no template.
        "spark.sql.variable.substitute": "false",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if master.startswith(_LOOPBACK):
        properties |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    if master.startswith("local["):
        # The default is made for clusters: 200.
        threads = master.removeprefix("local[").removesuffix("]")
        properties["spark.sql.shuffle.partitions"] = str(4 * int((os.cpu_count() or 1) if threads == "*" else threads))
    return properties


@contextmanager
def spark_answers() -> Iterator[None]:
    """Where Spark is asked: what it fails at is `Unavailable`, but for a wrong query and a file that is missing.

    Raises:
        FileNotFoundError: if a file is missing.
        Unavailable: see above.
    """
    try:
        yield
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            raise FileNotFoundError(_first_line(error)) from error
        raise
    except (Py4JError, PySparkException, ConnectionError) as error:
        raise Unavailable(f"Spark does not answer: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    cause = getattr(error, "java_exception", None)
    text = str(error)
    with suppress(Py4JError, OSError):
        text = cause.toString() if cause is not None else text
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]


def _end(gateway: Any, session: SparkSession | None) -> None:
    with suppress(Py4JError, OSError):
        if session is not None:
            session.stop()
    with suppress(Py4JError, OSError):
        gateway.shutdown()
    gateway.proc.stdin.close()  # Spark's driver ends when this does
    try:
        gateway.proc.wait(timeout=30)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
    # PySpark would ask the process that has ended for the next session.
    if SparkContext._gateway is gateway:  # noqa: SLF001
        SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None  # noqa: SLF001
        SparkSession._instantiatedSession = SparkSession._activeSession = None  # noqa: SLF001
