"""What a client counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

SnapshotSource = Literal["server", "disk", "given"]


class Account(NamedTuple):
    """What became of events; the fields are the first ones of `Stats`."""

    produced: int
    delivered: int
    rejected: int
    dropped: int
    pending: int
    reasons: Counter[str]


class Stats(NamedTuple):
    """Counts of one client in this process since it was made (or since the fork).

    At every moment ``produced == delivered + rejected + dropped + pending``.

    Attributes:
        produced: events that the product handed over, exposures that were already logged not counted.
        delivered: events that the server accepted.
        rejected: events that the server refused.
        dropped: events that never got an answer.
        pending: events that wait for the server.
        reasons: why events were rejected or dropped, as counts by reason.
        evaluation_errors: decisions with the reason ``ERROR``.
        snapshot_version: version of the snapshot that answers now; None before the first.
        snapshot_source: where it came from; ``given``: by `Client.from_snapshot`.
        snapshot_age: seconds since the server last confirmed the snapshot; None if it never did.
        poll_failures: looks for a snapshot that failed.
        cache_failures: times that the disk copy could not be read or written.
        listener_errors: times that a listener of the product raised.
    """

    produced: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    pending: int = 0
    reasons: Mapping[str, int] = MappingProxyType({})
    evaluation_errors: int = 0
    snapshot_version: int | None = None
    snapshot_source: SnapshotSource | None = None
    snapshot_age: float | None = None
    poll_failures: int = 0
    cache_failures: int = 0
    listener_errors: int = 0


class FlushResult(NamedTuple):
    """What became of events during a flush, as in `Stats`; ``pending`` still wait at its end."""

    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    pending: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing waits any more."""
        return self.pending == 0
