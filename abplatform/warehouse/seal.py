"""Sealing: from the inbox into the lake, each event once, whatever happens in between.

A claim is a fixed set of inbox batches that share a ``seal_id``. The lake's commit names the ``seal_id``, so that
after a crash it shows whether the claim is done: then its batches are deleted, else the claim is sealed again under
the same id. Commits are optimistic and never retried blindly: when another one came first, the lake is read anew.
Both together make sealing right even if two sealers hold the lease for a moment.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa
from pyiceberg.exceptions import CommitFailedException

from abplatform.database import reading, transaction
from abplatform.domain.events import EventKind
from abplatform.errors import Unavailable
from abplatform.warehouse.dedupe import DEDUPE_HORIZON, find_sealed, sift
from abplatform.warehouse.inbox import count
from abplatform.warehouse.lake import MOST_COMMIT_TRIES, Lake, LakeTable
from abplatform.warehouse.payload import HEAD_BYTES, unpack, unpacked_size
from abplatform.warehouse.removal import remove_attempts
from abplatform.warehouse.tables import inbox_batch, is_claimed, is_free

MOST_BATCHES = 4_000
MOST_EVENTS = 300_000
MOST_BYTES = 100_000_000
"""Of the events of a claim, unpacked; ordinary ones have 200 to 300 each. Sealing takes some four times as much."""

log = logging.getLogger(__name__)

_PROPERTIES = {
    "sealed": "abplatform.sealed",
    "duplicates": "abplatform.duplicates",
    "conflicts": "abplatform.conflicts",
}


@dataclass(frozen=True, slots=True)
class Sealed:
    """What became of some events.

    Attributes:
        sealed: how many went into the lake.
        duplicates: how many had been there, or came twice.
        conflicts: how many used the id of another event.
    """

    sealed: int = 0
    duplicates: int = 0
    conflicts: int = 0

    def __add__(self, other: Sealed) -> Sealed:
        """Both together."""
        return Sealed(self.sealed + other.sealed, self.duplicates + other.duplicates, self.conflicts + other.conflicts)


@dataclass(frozen=True, slots=True)
class _Claim:
    seal_id: str
    facts: pa.Table
    whole_history: bool


class Sealer:
    """Seals one kind of events of one project.

    Args:
        database: holds the inbox.
        lake: gets the events.
        project: key of the project.
        kind: exposures or conversions.
        reached: told the name of each step when it is done; for tests of crashes at every point.
    """

    def __init__(
        self,
        database: sa.Engine,
        lake: Lake,
        project: str,
        kind: EventKind,
        *,
        reached: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._database = database
        self._lake = lake
        self._project = project
        self._kind = kind
        self._reached = reached

    def seal_next(self, *, up_to: int, now: datetime) -> Sealed:
        """Seal one claim: an unfinished one if there is any, else the oldest batches.

        Args:
            up_to: id of the last batch to take.
            now: from which `DEDUPE_HORIZON` counts.

        Raises:
            Unavailable: if a part does not answer; calling again goes on from there.
        """
        unfinished = self._unfinished()
        claim = unfinished or self._claim(up_to)
        if claim is None:
            return Sealed()
        self._reached("claimed")
        outcome = self._commit(claim, now)
        self._reached("committed")
        outcome = self._finish(claim, outcome)
        self._reached("finished")
        if unfinished is not None:
            self._remove_attempts(unfinished)
        return outcome

    def _unfinished(self) -> _Claim | None:
        query = sa.select(inbox_batch.c.claim).where(*self._mine(), is_claimed).order_by(inbox_batch.c.id).limit(1)
        with reading(self._database) as connection:
            seal_id = connection.execute(query).scalar_one_or_none()
        return None if seal_id is None else self._read(seal_id)

    def _claim(self, up_to: int) -> _Claim | None:
        seal_id = str(uuid.uuid4())
        free = (*self._mine(), is_free, inbox_batch.c.id <= up_to)
        head = sa.func.substr(inbox_batch.c.payload, 1, HEAD_BYTES)
        oldest = sa.select(inbox_batch.c.id, inbox_batch.c.count, head).where(*free).order_by(inbox_batch.c.id)
        # Not in the transaction: meanwhile others may write.
        with reading(self._database) as connection:
            last = _last_that_fits(connection.execute(oldest.limit(MOST_BATCHES)))
        if last is None:
            return None
        with transaction(self._database) as connection:
            connection.execute(inbox_batch.update().where(*free, inbox_batch.c.id <= last).values(claim=seal_id))
            self._reached("claiming")
        return self._read(seal_id)

    def _read(self, seal_id: str) -> _Claim | None:
        mine = (*self._mine(), inbox_batch.c.claim == seal_id)
        query = sa.select(inbox_batch.c.payload, inbox_batch.c.whole_history).where(*mine).order_by(inbox_batch.c.id)
        batches, whole_history = [], False
        with reading(self._database) as connection:
            for row in connection.execute(query):
                batches.append(unpack(self._kind, row.payload))
                whole_history |= row.whole_history
        if not batches:
            return None
        # As one piece: whatever comes next takes several times longer on thousands of small ones.
        return _Claim(seal_id, pa.concat_tables(batches).combine_chunks(), whole_history)

    def _commit(self, claim: _Claim, now: datetime) -> Sealed:
        for _ in range(MOST_COMMIT_TRIES):
            table = self._lake.open(self._project, self._kind)
            done = table.find_seal(claim.seal_id)
            if done is not None:
                return _read_outcome(done)
            try:
                return self._append(table, claim, now)
            except CommitFailedException:
                continue  # Another commit came first, perhaps with the same ids: look again.
        raise Unavailable("the lake keeps changing; sealing goes on shortly")

    def _append(self, table: LakeTable, claim: _Claim, now: datetime) -> Sealed:
        oldest = None if claim.whole_history else now - DEDUPE_HORIZON
        sealed = find_sealed(self._kind, table.files(), claim.facts["event_id"], oldest=oldest)
        sifted = sift(self._kind, claim.facts, sealed)
        self._reached("deduplicated")
        outcome = Sealed(sifted.kept.num_rows, sifted.duplicates, sifted.conflicts)
        if sifted.kept.num_rows:
            table.append(sifted.kept, claim.seal_id, _as_properties(outcome))
        return outcome

    def _finish(self, claim: _Claim, outcome: Sealed) -> Sealed:
        with transaction(self._database) as connection:
            mine = (*self._mine(), inbox_batch.c.claim == claim.seal_id)
            if not connection.execute(inbox_batch.delete().where(*mine)).rowcount:
                return Sealed()  # Another sealer finished this claim, and counted it.
            amounts = {"duplicates": outcome.duplicates, "conflicts": outcome.conflicts}
            count(connection, self._project, self._kind, amounts)
            self._reached("deleting")
        return outcome

    def _remove_attempts(self, claim: _Claim) -> None:
        try:
            remove_attempts(self._lake, self._project, self._kind, claim.seal_id)
        except (Unavailable, FileNotFoundError):
            # The claim is done. What is left of those who failed goes with the next sweep.
            log.warning("could not look for files of earlier attempts at a claim", exc_info=True)

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return inbox_batch.c.project == self._project, inbox_batch.c.kind == self._kind


def _last_that_fits(batches: Iterable[sa.Row[tuple[int, int, bytes]]]) -> int | None:
    """Id of the last of the oldest batches that make a claim together; at least one does."""
    last, events, size = None, 0, 0
    for id_, number, head in batches:
        events += number
        size += unpacked_size(head)
        if last is not None and (events > MOST_EVENTS or size > MOST_BYTES):
            break
        last = id_
    return last


def _as_properties(outcome: Sealed) -> dict[str, str]:
    return {name: str(getattr(outcome, field)) for field, name in _PROPERTIES.items()}


def _read_outcome(properties: Mapping[str, str]) -> Sealed:
    return Sealed(**{field: int(properties.get(name, 0)) for field, name in _PROPERTIES.items()})
