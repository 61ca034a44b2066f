"""Turn the quantiles of a behaviour into numbers, once for each version, from what units did until then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from abplatform.domain.behaviour import Behaviour, PastNumbers, PastRequest, pin_edges, units_needed
from abplatform.errors import InvalidInput
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.missing import files_are_there

if TYPE_CHECKING:
    import pyarrow as pa


class Historian(Protocol):
    """The part of an engine that knows what units did before a time."""

    def past_numbers(self, lake: Lake, request: PastRequest) -> PastNumbers:
        """See `engines.Engine`."""

    def past_classes(self, lake: Lake, request: PastRequest) -> pa.Table:
        """See `engines.Engine`."""


@dataclass(frozen=True, slots=True)
class Past:
    """All that it takes to ask what units did.

    Attributes:
        uow: where definitions are kept.
        engine: reads the lake.
        lake: holds the events.
        seal: brings what waits of a project into the lake.
    """

    uow: UnitOfWork
    engine: Historian
    lake: Lake
    seal: Callable[[str], object]


@files_are_there()
def find_edges(past: Past, project: str, behaviour: Behaviour, *, now: datetime) -> Behaviour:
    """A behaviour with numbers where its author wrote quantiles.

    Args:
        past: where the events are.
        project: key of the project.
        behaviour: a sound one, see `behaviour_check.check_behaviour`.
        now: events at or after it do not count.

    Raises:
        InvalidInput: naming what is cut where too few units had an activity in the look-back.
        Unavailable: if the lake or the engine does not answer.
    """
    if not behaviour.quantiles:
        return behaviour
    past.seal(project)
    request = PastRequest(project=project, behaviour=behaviour, time=now, state=past.lake.state(project).conversions)
    found = past.engine.past_numbers(past.lake, request)
    if not found.edges:
        raise InvalidInput({f"{name}.quantiles": [_too_few(behaviour, found)] for name in behaviour.quantiles})
    return pin_edges(behaviour, found.edges)


def _too_few(behaviour: Behaviour, found: PastNumbers) -> str:
    return (
        f"are of units with an activity in the look-back, of which there are {found.units:,}, and need at least "
        f"{units_needed(behaviour):,}: import history (abplatform import-events), or give edges"
    )
