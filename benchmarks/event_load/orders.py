"""What the generator of load is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from abplatform.domain.events import EventKind


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where events go, and of which form they are.

    Attributes:
        key: a secret of a key that may send events.
        salt: of the experiment, so that exposures have the variants that the platform draws.
        batch: events per request.
        kinds: what the connections send, in turns.
        units: number of units that the events are about.
    """

    host: str
    port: int
    key: str
    salt: str
    batch: int
    kinds: Sequence[EventKind]
    units: int
    connections: int = 8


@dataclass(frozen=True, kw_only=True)
class Order:
    """A stretch of load.

    Attributes:
        seconds: its length; requests under way at its end are waited for and count.
        rate: requests per second, sent when they are due however slow the answers are; without it each connection
            sends its next request when the last is answered.
    """

    seconds: float
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of a stretch.

    Attributes:
        answered: events in requests that were answered.
        acknowledged: those that the server said it has accepted.
        fingerprint: of their ids, where all events of the request were accepted.
        unanswered: requests whose connection ended before the answer.
        statuses: number of answers by HTTP status.
        elapsed: seconds from the first request to the last answer.
        cpu: seconds of the processor that the generator took.
        latencies: seconds from when a request was due to its answer, as quantiles by name.
    """

    answered: int
    acknowledged: int
    fingerprint: int
    unanswered: int
    statuses: Mapping[str, int]
    elapsed: float
    cpu: float
    latencies: Mapping[str, float]
