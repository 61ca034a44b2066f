"""The import of events: piece by piece through the inbox into the lake, as if they had come over HTTP.

A piece that was taken is on disk. An import that is interrupted leaves those before; run again, it takes the rest,
since sealing compares the ids with all history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pyarrow as pa

from abplatform.domain.audit import Actor
from abplatform.errors import Conflict, InboxFull, InvalidInput
from abplatform.services.load.conversions import check_conversions, write_conversions
from abplatform.services.load.event_ids import EventIds
from abplatform.services.load.exposures import check_experiment, find_places, write_exposures
from abplatform.services.load.request import EventRequest, check_request
from abplatform.services.load.rows import Identity, Rows, read_rows
from abplatform.services.load.times import OLDEST, Calendar
from abplatform.services.read_table.source import Batch, Progress, RowFault, read_batches
from abplatform.services.recall import Memory, Rules, Unpublished
from abplatform.services.record import Trail, describe_file, file_state, on_record
from abplatform.services.seal import SealReport
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.layout import arrow_schema
from abplatform.warehouse.rejections import Rejection
from abplatform.warehouse.seal import MOST_EVENTS, Sealed

PIECE_ROWS = 100_000
BAD_ROW = "BAD_ROW"

OnFault = Callable[[RowFault], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """Where events go.

    Attributes:
        secret: for pseudonyms.
        seal: seals what waits in the inbox of the project.
        oldest: earlier events are refused: retention would delete them.
    """

    uow: UnitOfWork
    inbox: Inbox
    project: str
    secret: bytes
    seal: Callable[[], SealReport]
    oldest: datetime = OLDEST


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What an import of events did.

    Attributes:
        taken: rows that are on disk now; of `check_events` those that would be.
        refused: how many were left out, by reason.
        sealed: what became of the events that this process sealed meanwhile; others may have sealed some of them, and
            some of these may have come another way.
    """

    taken: int
    refused: Mapping[str, int]
    sealed: Sealed

    @property
    def new(self) -> int | None:
        """How many of the rows nobody had sent before; None while that is not known, or where others sealed some."""
        sealed = self.sealed
        all_here = sealed.sealed + sealed.duplicates + sealed.conflicts == self.taken
        return sealed.sealed if all_here else None


def load_events(
    target: LoadTarget,
    request: EventRequest,
    *,
    actor: Actor,
    clock: Callable[[], datetime],
    on_fault: OnFault,
    progress: Progress = lambda _share: None,
) -> LoadReport:
    """Take the events of a table, by the rules of HTTP but for the age; all that were taken are sealed at the end.

    Args:
        target: where they go.
        request: which columns mean what.
        actor: who imports, for the audit trail.
        clock: the platform's; all rows have the time of the beginning as that of their receipt.
        on_fault: is told of each row that is left out.
        progress: is called with the share of the table that is done.

    Raises:
        InvalidInput: the request does not fit the table; nothing was taken. Or the table cannot be read to its end;
            the rows before were taken.
        Conflict: the file changed while it was read; what was taken stays.
        InboxFull: too many events wait, and sealing made no room; what was taken stays.
        Unavailable: the database or the lake does not answer; running the import again goes on from there.
    """
    check_request(request)
    state, now = file_state(request.path), clock()
    loader = _Loader(target, request, now=now, on_fault=on_fault)
    unit_type = loader.check()
    trail = Trail(uow=target.uow, project=target.project, actor=actor, clock=clock)
    details = {**request.describe(), "unit_type": unit_type, **describe_file(request.path)}
    with on_record(trail, "import-events", details) as outcome, EventIds(request.kind) as ids:
        try:
            for piece in _pieces(request, progress):
                loader.take(piece, ids)
            report = loader.finish()
        finally:
            outcome.update(loader.counts())
        if file_state(request.path) != state:
            raise Conflict(f"{request.path} changed while it was read; import it again")
    return report


def check_events(
    target: LoadTarget,
    request: EventRequest,
    *,
    clock: Callable[[], datetime],
    on_fault: OnFault,
    progress: Progress = lambda _share: None,
) -> LoadReport:
    """Read the whole table as `load_events` does, and say what it would take; nothing is taken, nor put on record.

    Args:
        target, request, clock, on_fault, progress: as of `load_events`.

    Raises:
        InvalidInput, Unavailable: as `load_events`.
    """
    check_request(request)
    loader = _Loader(target, request, now=clock(), on_fault=on_fault)
    loader.check()
    good = 0
    with EventIds(request.kind) as ids:
        for piece in _pieces(request, progress):
            table, _ = loader.read(piece, ids)
            good += 0 if table is None else table.num_rows
    return LoadReport(taken=good, refused=loader.refused, sealed=Sealed())


class _Loader:
    """Takes pieces of a table, and counts what becomes of them."""

    def __init__(self, target: LoadTarget, request: EventRequest, *, now: datetime, on_fault: OnFault) -> None:
        self._target = target
        self._request = request
        self._calendar = Calendar(zone=request.timezone, now=now, oldest=target.oldest)
        self._now = now
        self._on_fault = on_fault
        self._memory = Memory(target.uow)
        self._taken = 0
        self._refused: Counter[str] = Counter()
        self._sealed = Sealed()

    def check(self) -> str:
        """The type of the units in ``--unit``; refuses a request that does not fit the definitions."""
        rules = self._memory.renew(self._target.project)
        unit_type = self._unit_type(rules)
        if unit_type in self._request.other_units:
            raise InvalidInput({"--other-unit": [f"{unit_type!r} is the type of --unit already"]})
        if self._request.kind == "exposure":
            check_experiment(rules, self._request, Unpublished(self._target.uow, self._target.project))
        return unit_type

    def take(self, piece: Batch, ids: EventIds) -> None:
        """Take the good rows of a piece; when this returns, they are on disk."""
        table, faults = self.read(piece, ids)
        rejections = [Rejection(fault.row, fault.code, _sentence(fault)) for fault in faults]
        target, kind = self._target, self._request.kind
        add = partial(
            target.inbox.add, target.project, kind, table, rejections, received_at=self._now, whole_history=True
        )
        try:
            add()
        except InboxFull:
            self._seal()
            add()
        self._taken += 0 if table is None else table.num_rows
        # As many at once as sealing takes: each commit writes a file per day of events.
        if target.inbox.pending(target.project, kind) >= MOST_EVENTS:
            self._seal()

    def read(self, piece: Batch, ids: EventIds) -> tuple[pa.Table | None, list[RowFault]]:
        """Facts of the good rows of a piece, if there are any, and what is wrong with the others, which are told of."""
        table, faults = self._read(piece, self._memory.renew(self._target.project), ids)
        for fault in faults:
            self._on_fault(fault)
        self._refused.update(fault.code for fault in faults)
        return table, faults

    @property
    def refused(self) -> dict[str, int]:
        """How many rows were left out so far, by reason."""
        return dict(self._refused)

    def counts(self) -> dict[str, object]:
        """What has become of the rows so far, as JSON values for the audit trail."""
        report = self._report()
        return {"taken": report.taken, "refused": report.refused, "new": report.new}

    def finish(self) -> LoadReport:
        """Seal what is left."""
        target, kind = self._target, self._request.kind
        last = target.inbox.last_batch(target.project, kind)
        while last is not None and target.inbox.pending(target.project, kind, up_to=last):
            self._seal()
        return self._report()

    def _report(self) -> LoadReport:
        return LoadReport(taken=self._taken, refused=self.refused, sealed=self._sealed)

    def _seal(self) -> None:
        report, kind = self._target.seal(), self._request.kind
        self._target.inbox.look_again()
        self._sealed += Sealed(report.sealed[kind], report.duplicates[kind], report.conflicts[kind])

    def _read(self, piece: Batch, rules: Rules, ids: EventIds) -> tuple[pa.Table | None, list[RowFault]]:
        """Facts of the good rows, if there are any, and what is wrong with the others."""
        request, places = self._request, None
        rows, refusals = read_rows(piece, request, self._calendar, unit_type=self._unit_type(rules))
        if request.kind == "conversion":
            check_conversions(rows, refusals, request)
        else:
            unpublished = Unpublished(self._target.uow, self._target.project)
            places = find_places(rows, refusals, request, rules, unpublished).keep(refusals.good)
        unsplit = (RowFault(fault.row, fault.column, fault.detail, BAD_ROW) for fault in piece.faults)
        faults = sorted((*unsplit, *refusals.faults), key=lambda fault: fault.row)
        if not refusals.good.any():
            return None, faults
        kept, identity = rows.keep(refusals.good), Identity(secret=self._target.secret, ids=ids)
        columns = (
            write_conversions(kept, rules, identity)
            if places is None
            else write_exposures(kept, places, rules, identity)
        )
        return self._table(kept, columns), faults

    def _table(self, rows: Rows, columns: dict[str, pa.Array]) -> pa.Table:
        schema = arrow_schema(self._request.kind)
        received = pa.repeat(pa.scalar(self._now, schema.field("received_at").type), len(rows.numbers))
        columns |= {"timestamp": rows.times, "sent_timestamp": rows.times, "received_at": received}
        return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _unit_type(self, rules: Rules) -> str:
        return rules.unit_type if self._request.unit_type is None else self._request.unit_type


def _pieces(request: EventRequest, progress: Progress) -> Iterator[Batch]:
    """The table in pieces of at most `PIECE_ROWS`; what cannot be split in a batch goes with its first piece."""
    for batch in read_batches(request.path, request.columns, nested=request.columns, progress=progress):
        for start in range(0, max(len(batch.numbers), 1), PIECE_ROWS):
            chosen = slice(start, start + PIECE_ROWS)
            columns = {name: values[chosen] for name, values in batch.columns.items()}
            yield Batch(batch.numbers[chosen], columns, batch.faults if start == 0 else ())


def _sentence(fault: RowFault) -> str:
    return fault.detail if fault.column is None else f"{fault.column}: {fault.detail}"
