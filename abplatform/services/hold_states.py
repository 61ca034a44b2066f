"""Hold the states of the lake that a look is computed from until it is recorded, and so has a name there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from abplatform.domain.aggregates import Aggregation, AggregationRequest
from abplatform.errors import Unavailable
from abplatform.services.aggregate import Answering
from abplatform.warehouse.holds import new_hold
from abplatform.warehouse.inbox import Database
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.lease import Lease


class HoldingEngine:
    """An engine that holds the state of each request that it answers, and goes on holding it.

    Args:
        engine: answers.
        database: where it is written what is held.
    """

    def __init__(self, engine: Answering, database: Database) -> None:
        self._engine = engine
        self._database = database
        self._holds: list[Lease] = []

    @property
    def version(self) -> str:
        """See `engines.Engine`."""
        return self._engine.version

    def aggregate(self, lake: Lake, request: AggregationRequest) -> Aggregation:
        """See `engines.Engine`."""
        if request.state is not None:
            hold = new_hold(self._database, request.project, request.state)
            # Numbers that nobody writes down need no hold: a database that takes none will take no look either.
            with suppress(Unavailable):
                hold.acquire()
                self._holds.append(hold)
        return self._engine.aggregate(lake, request)

    def release(self) -> None:
        """End all holds; what the database does not take now ends by itself."""
        with suppress(Unavailable):
            while self._holds:
                self._holds.pop().release()


@contextmanager
def holding_states(engine: Answering, database: Database) -> Iterator[HoldingEngine]:
    """An engine that holds every state that it is asked about until the end of the block."""
    holding = HoldingEngine(engine, database)
    try:
        yield holding
    finally:
        holding.release()
