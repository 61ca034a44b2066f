"""DuckDB on this machine: in memory, one database per analysis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from abplatform.domain.aggregates import Aggregation, AggregationRequest, KeptUnits
from abplatform.domain.behaviour import PastNumbers, PastRequest
from abplatform.warehouse.catalog import lake_answers
from abplatform.warehouse.duck import open_spilling_duckdb
from abplatform.warehouse.lake import Lake

if TYPE_CHECKING:
    import pyarrow as pa

    from abplatform.warehouse.duckdb_workspace import DuckDBWorkspace


class DuckDBEngine:
    """Aggregates on this machine; the first call in a process takes half a second longer.

    Args:
        memory_limit: what one analysis may use before it spills to disk, such as ``2GB``.
        temp_directory: where it spills to; by default the system's folder for temporary files.
    """

    def __init__(self, memory_limit: str = "2GB", temp_directory: Path | None = None) -> None:
        self._memory_limit = memory_limit
        self._temp_directory = temp_directory

    @property
    def version(self) -> str:
        """See `engines.Engine`."""
        return f"duckdb {version('duckdb')}"

    def aggregate(self, lake: Lake, request: AggregationRequest, kept: KeptUnits | None = None) -> Aggregation:
        """See `engines.Engine`."""
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
        """Nothing is open between two analyses."""

    @contextmanager
    def _open(self) -> Iterator[DuckDBWorkspace]:
        from abplatform.warehouse.duckdb_workspace import DuckDBWorkspace

        # Never a shared file: DuckDB locks it to one process, and a forked child's writes are lost without an error.
        with lake_answers(), open_spilling_duckdb(self._memory_limit, self._temp_directory) as connection:
            yield DuckDBWorkspace(connection)
