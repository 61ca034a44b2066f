"""Take batches that are plainly right: those that come at the same time as if they were one, by whole columns.

What cannot be proven to be right here is looked at event by event in `abplatform.services.ingest`; both come to the
same facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent, EventKind
from abplatform.services.build_facts import Builder, Groups, Pseudonyms, group_places
from abplatform.services.check_events import conversions_are_fine, exposures_are_fine, read_amounts
from abplatform.services.decode_events import Batch, are_strict, read_conversions, read_exposures
from abplatform.services.gather_columns import ExposureColumns, gather_conversions, gather_exposures, only_value
from abplatform.services.recall import Memory, Rules
from abplatform.services.settle_times import Clock, Times, settle_all
from abplatform.warehouse.inbox import Arrival, Inbox
from abplatform.warehouse.together import Together

MOST_BYTES = 1_000_000
"""Of several bodies that are taken together."""
MUCH_BYTES = 60_000
"""So much is built while others are being stored. Less waits for that: it would cost much by itself."""

_Prepared = tuple[Sequence[Arrival], Sequence[int | None]]

_READERS: Mapping[EventKind, Callable[..., Batch[Any] | None]] = {
    "exposure": read_exposures,
    "conversion": read_conversions,
}


@dataclass(frozen=True, slots=True)
class Request:
    """A body of a project's events, and when it came by the platform's clock."""

    project: str
    kind: EventKind
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request that was read, and its place among those that are taken together."""

    place: int
    request: Request
    batch: Batch[Any]


class Taker:
    """Takes batches; one per process.

    What comes while others are at work is read, checked, built and stored as a whole, in one transaction. A request
    alone waits for nobody, and what is wrong with one is nothing to its neighbours.

    Args:
        memory: of the rules.
        inbox: where facts go.
        pseudonyms: of the installation.
        max_age: older events are refused.
    """

    def __init__(self, memory: Memory, inbox: Inbox, pseudonyms: Pseudonyms, *, max_age: timedelta) -> None:
        self._memory = memory
        self._inbox = inbox
        self._pseudonyms = pseudonyms
        self._max_age = max_age
        self._together = Together(
            self._prepare, self._keep, weigh=lambda request: len(request.body), most=MOST_BYTES, much=MUCH_BYTES
        )

    def take(self, request: Request) -> int | None:
        """Take a batch that is plainly right and give its size; for all others None, and nothing is kept.

        Raises:
            InboxFull, Unavailable: as `Intake.take_exposures`.
        """
        # Before it queues: what is refused must cost less than what is taken.
        self._inbox.check_room()
        return self._together.do(request)

    def _prepare(self, requests: Sequence[Request]) -> _Prepared:
        taken: list[int | None] = [None] * len(requests)
        arrivals: list[Arrival] = []
        for sent in _read(requests):
            for facts, members in self._build(sent):
                first = members[0].request
                received_at = min(member.request.received_at for member in members)
                arrivals.append(Arrival(first.project, first.kind, facts, received_at))
                for member in members:
                    taken[member.place] = len(member.batch.events)
        return arrivals, taken

    def _keep(self, prepared: _Prepared) -> Sequence[int | None]:
        arrivals, taken = prepared
        self._inbox.add_all(arrivals)
        return taken

    def _build(self, sent: Sequence[_Sent]) -> Sequence[tuple[pa.Table, Sequence[_Sent]]]:
        """Facts of requests of one project and kind, each time with the requests that they are of."""
        build = self._exposures if sent[0].request.kind == "exposure" else self._conversions
        facts = build(sent)
        if facts is not None:
            return [(facts, sent)]
        # One of them has to be looked at: which one it is shows when each is alone.
        return [part for each in sent for part in self._build([each])] if len(sent) > 1 else []

    def _exposures(self, sent: Sequence[_Sent]) -> pa.Table | None:
        batches, project = [each.batch for each in sent], sent[0].request.project
        events = [event for batch in batches for event in batch.events]
        columns = gather_exposures(events)
        if not are_strict(batches, columns) or not exposures_are_fine(events, columns):
            return None
        times = settle_all(columns.timestamps, self._clocks(sent))
        if times is None:
            return None
        # The only phase of a moment ago may be the first of two by now.
        rules = self._rules(project, certain=None in columns.phases)
        facts = self._build_exposures(rules, columns, times)
        if facts is None or not _agree(facts):
            newer = self._memory.renew(project)
            if newer is not rules:
                facts = self._build_exposures(newer, columns, times)
        return facts

    def _build_exposures(self, rules: Rules, columns: ExposureColumns, times: Times) -> pa.Table | None:
        with suppress(BadEvent):
            groups = _find_places(rules, columns)
            if _are_variants_of(groups, columns.named_variants):
                return self._builder(rules).exposures(columns, groups, times)
        return None

    def _conversions(self, sent: Sequence[_Sent]) -> pa.Table | None:
        batches = [each.batch for each in sent]
        columns = gather_conversions([event for batch in batches for event in batch.events])
        if not are_strict(batches, columns) or not conversions_are_fine(columns):
            return None
        amounts = read_amounts(columns.values)
        times = settle_all(columns.timestamps, self._clocks(sent))
        if amounts is None or times is None:
            return None
        # Ids of a type that nothing counts are forgotten: that must not rest on rules of a moment ago.
        rules = self._rules(sent[0].request.project, certain=any(columns.units))
        with suppress(BadEvent):
            return self._builder(rules).conversions(columns, amounts, times, rules.analysed)
        return None

    def _rules(self, project: str, *, certain: bool) -> Rules:
        return self._memory.renew(project) if certain else self._memory.recall(project)

    def _builder(self, rules: Rules) -> Builder:
        return Builder(pseudonyms=self._pseudonyms, unit_type=rules.unit_type)

    def _clocks(self, sent: Sequence[_Sent]) -> Sequence[tuple[Clock, int]]:
        return [
            (Clock.of(each.request.received_at, each.batch.skew, max_age=self._max_age), len(each.batch.events))
            for each in sent
        ]


def _read(requests: Sequence[Request]) -> Iterable[Sequence[_Sent]]:
    """The requests that can be read, by project and kind."""
    sorted_out: dict[tuple[str, EventKind], list[_Sent]] = {}
    for place, request in enumerate(requests):
        batch = _READERS[request.kind](request.body, received_at=request.received_at)
        if batch is not None:
            sorted_out.setdefault((request.project, request.kind), []).append(_Sent(place, request, batch))
    return sorted_out.values()


def _find_places(rules: Rules, columns: ExposureColumns) -> Groups:
    """What exposures are to, as far as the rules know it.

    Raises:
        BadEvent: of one they do not.
    """
    experiments, phases, holdouts = columns.experiments, columns.phases, columns.holdouts
    if only_value(experiments) and only_value(phases) and only_value(holdouts):
        return [(rules.find(experiments[0], phases[0], holdouts[0]), range(len(experiments)))]
    wanted = list(zip(experiments, phases, holdouts, strict=True))
    found = {key: rules.find(*key) for key in set(wanted)}
    return group_places([found[key] for key in wanted])


def _are_variants_of(groups: Groups, variants: Sequence[str | None]) -> bool:
    if len(groups) == 1:
        return set(variants).issubset(groups[0][0].variants)
    return all({variants[position] for position in positions}.issubset(place.variants) for place, positions in groups)


def _agree(facts: pa.Table) -> bool:
    """Whether the units met the variants that this platform draws, as far as it draws."""
    return pc.all(pc.equal(facts["variant"], facts["expected_variant"])).as_py() is not False
