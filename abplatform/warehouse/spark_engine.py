"""Spark: threads of this machine or a standalone cluster; started when a result is first asked for."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.domain.behaviour import PastNumbers, PastRequest
from abplatform.errors import StartRefused
from abplatform.warehouse.lake import Lake

if TYPE_CHECKING:
    import pyarrow as pa

    from abplatform.warehouse.spark_session import RunningSpark
    from abplatform.warehouse.workspace import Workspace


class SparkEngine:
    """Aggregates in Spark; its driver is a Java process beside this one. One per process, as Spark has it.

    Args:
        url: ``spark://local[2]``, ``spark://local[*]`` or ``spark://host:port``.
        memory_limit: memory of the driver, and of each executor, such as ``2GB``; beyond it they spill to disk.

    Raises:
        StartRefused: if PySpark or Java is missing.
    """

    def __init__(self, url: str, memory_limit: str = "2GB") -> None:
        _check_installation()
        self._url = url
        self._memory_limit = memory_limit
        self._lock = threading.Lock()
        self._running: RunningSpark | None = None

    @property
    def version(self) -> str:
        """See `engines.Engine`."""
        return f"spark {version('pyspark')}"

    def aggregate(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None = None) -> Aggregation:
        """See `engines.Engine`; the first call takes up to half a minute longer."""
        from abplatform.warehouse.reduction import reduce_events

        return reduce_events(lake, request, self._open, kept)

    def keep(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None, *, folder: str) -> KeptUnits:
        """See `engines.Engine`."""
        from abplatform.warehouse.reduction import keep_units

        return keep_units(lake, request, self._open, kept=kept, folder=folder)

    def quantile_before(self, lake: Lake, request: AggregationRequest, *, quantile: float) -> Decimal | None:
        """See `engines.Engine`."""
        from abplatform.warehouse.history import quantile_before

        return quantile_before(lake, request, self._open, quantile=quantile)

    def past_numbers(self, lake: Lake, request: PastRequest) -> PastNumbers:
        """See `engines.Engine`."""
        from abplatform.warehouse.past_units import past_numbers

        return past_numbers(lake, request, self._open)

    def past_classes(self, lake: Lake, request: PastRequest) -> pa.Table:
        """See `engines.Engine`."""
        from abplatform.warehouse.past_units import past_classes

        return past_classes(lake, request, self._open)

    def close(self) -> None:
        """End the session and its Java process."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.stop()

    @contextmanager
    def _open(self) -> Iterator[Workspace]:
        running = self._start()
        try:
            with running.open_workspace() as workspace:
                yield workspace
        finally:
            if not running.alive:
                self._forget(running)

    def _start(self) -> RunningSpark:
        from abplatform.warehouse.spark_session import start_spark

        with self._lock:
            if self._running is None:
                self._running = start_spark(self._url, self._memory_limit)
            return self._running

    def _forget(self, running: RunningSpark) -> None:
        """Drop a session that has ended, so that the next request starts another one."""
        with self._lock:
            if self._running is running:
                self._running = None
                running.stop()


def _check_installation() -> None:
    if find_spec("pyspark") is None:
        raise StartRefused(
            "Spark needs PySpark; run in the checkout: .venv/bin/pip install -e '.[spark]' "
            "(elsewhere: install abplatform with its extra spark)"
        )
    home = os.environ.get("JAVA_HOME")
    java = Path(home) / "bin" / "java" if home else shutil.which("java")
    if java is None or not Path(java).is_file():
        where = f"JAVA_HOME={home} has no bin/java" if home else "there is no java in PATH, and JAVA_HOME is not set"
        raise StartRefused(f"Spark needs Java 17 or 21: {where}")
