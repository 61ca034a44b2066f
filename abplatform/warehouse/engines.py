"""What reads the lake: DuckDB on this machine, or Spark on many, with equal answers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.domain.behaviour import PastNumbers, PastRequest
from abplatform.warehouse.duckdb_engine import DuckDBEngine
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.spark_engine import SparkEngine

if TYPE_CHECKING:
    import pyarrow as pa


class Engine(Protocol):
    """Reduces events to sufficient statistics; may be asked by several threads at once."""

    @property
    def version(self) -> str:
        """Name and version, such as ``duckdb 1.5.5``."""

    def aggregate(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None = None) -> Aggregation:
        """Reduce an experiment's events to sufficient statistics, from one state of each table of the lake.

        Args:
            lake: holds the events.
            request: what is asked for.
            kept: what to go on from, of a request that differed in nothing but its time and the state of the lake;
                by an engine of the same kind. Nothing to read all events.

        Raises:
            ValueError: if ``request`` names no metric.
            CannotResume: if the answer cannot go on from what was kept.
            SnapshotExpired: if the state that it names is no longer kept.
            Unavailable: if the catalog of the lake, or the engine, does not answer.
        """

    def keep(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None, *, folder: str) -> KeptUnits:
        """Write down what the answer to a request knows of each unit, for later ones to go on from.

        Args:
            lake, request, kept: see `aggregate`.
            folder: location of a folder for the files, which does not exist yet.

        Raises:
            ValueError, CannotResume, SnapshotExpired, Unavailable: see `aggregate`.
        """

    def quantile_before(self, lake: Lake, request: AggregationRequest, *, quantile: float) -> Decimal | None:
        """A quantile of what units were worth before a time, see `history.quantile_before`."""

    def past_numbers(self, lake: Lake, request: PastRequest) -> PastNumbers:
        """The edges of a behaviour by what units did before a time, see `past_units.past_numbers`."""

    def past_classes(self, lake: Lake, request: PastRequest) -> pa.Table:
        """The class of every unit by what it did before a time, see `past_units.past_classes`."""

    def close(self) -> None:
        """Give back what is open."""


def build_engine(url: str, *, memory_limit: str = "2GB") -> Engine:
    """Build the engine of an address; nothing is started before it is first asked.

    Args:
        url: ``duckdb://``, ``spark://local[2]``, ``spark://local[*]`` or ``spark://host:port``.
        memory_limit: what DuckDB may use for one analysis, or one Spark process, before it spills to disk.

    Raises:
        StartRefused: if the engine's packages, or Java, are missing.
    """
    if url.startswith("spark://"):
        return SparkEngine(url, memory_limit)
    return DuckDBEngine(memory_limit)
