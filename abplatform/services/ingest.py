"""Take events: check each, turn the good ones into facts, keep them durably, and name the others.

A request is answered only after its good events are on disk. A batch is taken at once where all of it is plainly right,
else event by event; both come to the same facts.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from abplatform.domain.events import BadEvent, Conversion, EventKind, Exposure
from abplatform.domain.suggestions import Suggestions
from abplatform.services.agree import Place
from abplatform.services.build_facts import Builder, Pseudonyms
from abplatform.services.check_events import (
    check_conversion,
    check_exposure,
    conversions_are_fine,
    exposures_are_fine,
    read_amount,
    read_amounts,
)
from abplatform.services.decode_events import (
    RawEvent,
    read_conversion,
    read_conversions,
    read_envelope,
    read_exposure,
    read_exposures,
    sort_out,
)
from abplatform.services.recall import Memory, Rules, Unpublished
from abplatform.services.settle_times import Clock, Times, as_times
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Inbox, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a request's events; the accepted ones are on disk."""

    accepted: int
    rejected: tuple[Rejection, ...]


class Intake:
    """Takes events; one per process, since it remembers the rules of each project by published version.

    Args:
        uow: where definitions are kept.
        inbox: where facts go.
        pseudonym_key: secret for unit pseudonyms.
        max_age: older events are refused.
    """

    def __init__(self, uow: UnitOfWork, inbox: Inbox, *, pseudonym_key: bytes, max_age: timedelta) -> None:
        self._uow = uow
        self._inbox = inbox
        self._pseudonyms = Pseudonyms(pseudonym_key)
        self._max_age = max_age
        self._memory = Memory(uow)
        # Threads that take turns at every release of the interpreter's lock only slow each other down. It is never held
        # while the database is asked.
        self._turn = threading.Lock()

    def take_exposures(self, project: str, body: bytes, *, received_at: datetime) -> IngestReport:
        """Take one exposure, or a batch of them; a bad event of a batch does not keep the others out.

        Args:
            project: key of the project.
            body: strict JSON: an event, or ``{"events": [...], "sent_at"?}``.
            received_at: the platform's clock.

        Raises:
            Unreadable: the body is not strict JSON. Nothing is stored then.
            InvalidInput: the body is neither, or a single event is wrong. Nothing is stored then.
            TooLarge: the batch has too many events. Nothing is stored then.
            InboxFull: too many events wait to be sealed. Nothing is stored then.
            Unavailable: the database does not answer. Nothing is stored then.
        """
        return self._take(project, "exposure", body, received_at)

    def take_conversions(self, project: str, body: bytes, *, received_at: datetime) -> IngestReport:
        """Take one conversion, or a batch of them; as `take_exposures`, with the same errors."""
        return self._take(project, "conversion", body, received_at)

    def take_at_once(self, project: str, kind: EventKind, body: bytes, *, received_at: datetime) -> int | None:
        """Take a batch that is plainly right and give its size; for all others None, and nothing is kept.

        Raises:
            InboxFull, Unavailable: as `take_exposures`.
        """
        build = self._exposures_at_once if kind == "exposure" else self._conversions_at_once
        facts = build(project, body, received_at)
        return None if facts is None else self._keep(project, kind, facts, [], received_at).accepted

    def _take(self, project: str, kind: EventKind, body: bytes, received_at: datetime) -> IngestReport:
        accepted = self.take_at_once(project, kind, body, received_at=received_at)
        if accepted is not None:
            return IngestReport(accepted=accepted, rejected=())
        build = self._exposures_one_by_one if kind == "exposure" else self._conversions_one_by_one
        return self._keep(project, kind, *build(project, body, received_at), received_at)

    def _exposures_at_once(self, project: str, body: bytes, received_at: datetime) -> pa.Table | None:
        with self._turn:
            batch = read_exposures(body, received_at=received_at)
            if batch is None or not exposures_are_fine(batch.events):
                return None
            times = self._clock(received_at, batch.skew).settle_all([event.timestamp for event in batch.events])
            if times is None:
                return None
        # The only phase of a moment ago may be the first of two by now; a holdout may be gone.
        rules = self._rules(project, certain=any(event.phase is None for event in batch.events))
        facts = self._build_exposures(rules, batch.events, times, received_at)
        if facts is None or not _agree(facts):
            newer = self._memory.renew(project)
            if newer is not rules:
                facts = self._build_exposures(newer, batch.events, times, received_at)
        return facts

    def _build_exposures(
        self, rules: Rules, events: Sequence[Exposure], times: Times, received_at: datetime
    ) -> pa.Table | None:
        wanted = [(event.experiment, event.phase, event.holdout) for event in events]
        with self._turn, suppress(BadEvent):
            found = {key: _find(rules, *key, None) for key in set(wanted)}
            places = [found[key] for key in wanted]
            variants = [event.group if event.variant is None else event.variant for event in events]
            if any(variant not in place.variants for place, variant in set(zip(places, variants, strict=True))):
                return None
            return self._builder(rules, received_at).exposures(events, places, times)
        return None

    def _exposures_one_by_one(
        self, project: str, body: bytes, received_at: datetime
    ) -> tuple[pa.Table | None, list[Rejection]]:
        envelope = read_envelope(body, received_at=received_at)
        clock = self._clock(received_at, envelope.skew)
        rules, unpublished, suggestions = self._memory.renew(project), Unpublished(self._uow, project), Suggestions()
        builder = self._builder(rules, received_at)
        events: list[Exposure] = []
        places: list[Place] = []
        times: list[tuple[datetime, datetime]] = []

        def take(raw: RawEvent) -> None:
            event = read_exposure(raw)
            check_exposure(event)
            place = _find_place(event, rules, unpublished, suggestions)
            builder.check_exposure(event, place)
            times.append(clock.settle(event.timestamp))
            events.append(event)
            places.append(place)

        rejected = sort_out(envelope, take)
        return builder.exposures(events, places, as_times(times)) if events else None, rejected

    def _conversions_at_once(self, project: str, body: bytes, received_at: datetime) -> pa.Table | None:
        with self._turn:
            batch = read_conversions(body, received_at=received_at)
            if batch is None or not conversions_are_fine(batch.events):
                return None
            amounts = read_amounts(batch.events)
            times = self._clock(received_at, batch.skew).settle_all([event.timestamp for event in batch.events])
            if amounts is None or times is None:
                return None
        # Ids of a type that nothing counts are forgotten: that must not rest on rules of a moment ago.
        rules = self._rules(project, certain=any(event.units for event in batch.events))
        with self._turn, suppress(BadEvent):
            return self._builder(rules, received_at).conversions(batch.events, amounts, times, rules.analysed)
        return None

    def _conversions_one_by_one(
        self, project: str, body: bytes, received_at: datetime
    ) -> tuple[pa.Table | None, list[Rejection]]:
        envelope = read_envelope(body, received_at=received_at)
        clock = self._clock(received_at, envelope.skew)
        rules = self._memory.renew(project)
        builder = self._builder(rules, received_at)
        events: list[Conversion] = []
        amounts: list[str | None] = []
        times: list[tuple[datetime, datetime]] = []

        def take(raw: RawEvent) -> None:
            event = read_conversion(raw)
            check_conversion(event)
            builder.check_conversion(event)
            moments, amount = clock.settle(event.timestamp), read_amount(event.value)
            events.append(event)
            amounts.append(amount)
            times.append(moments)

        rejected = sort_out(envelope, take)
        facts = builder.conversions(events, amounts, as_times(times), rules.analysed) if events else None
        return facts, rejected

    def _keep(
        self, project: str, kind: EventKind, facts: pa.Table | None, rejected: list[Rejection], received_at: datetime
    ) -> IngestReport:
        self._inbox.add(project, kind, facts, rejected, received_at=received_at)
        return IngestReport(accepted=0 if facts is None else facts.num_rows, rejected=tuple(rejected))

    def _rules(self, project: str, *, certain: bool) -> Rules:
        return self._memory.renew(project) if certain else self._memory.recall(project)

    def _builder(self, rules: Rules, received_at: datetime) -> Builder:
        return Builder(pseudonyms=self._pseudonyms, unit_type=rules.unit_type, received_at=received_at)

    def _clock(self, received_at: datetime, skew: timedelta) -> Clock:
        return Clock(received_at=received_at, skew=skew, oldest=received_at - self._max_age)


def _agree(facts: pa.Table) -> bool:
    """Whether the units met the variants that this platform draws, as far as it draws."""
    return pc.all(pc.equal(facts["variant"], facts["expected_variant"])).as_py() is not False


def _find(
    rules: Rules, experiment: str | None, phase: int | None, holdout: str | None, unpublished: Unpublished | None
) -> Place:
    if holdout is not None:
        return rules.find_holdout(holdout, unpublished)
    return rules.find_phase(experiment or "", phase, unpublished)


def _find_place(event: Exposure, rules: Rules, unpublished: Unpublished, suggestions: Suggestions) -> Place:
    """What the unit was exposed to, which must have the variant."""
    place = _find(rules, event.experiment, event.phase, event.holdout, unpublished)
    if event.holdout is not None and event.group not in place.variants:
        raise BadEvent("BAD_FIELD", "group", f"must be {' or '.join(place.variants)}")
    if event.holdout is None and event.variant not in place.variants:
        hint = suggestions.suggest(event.variant or "", place.variants)
        raise BadEvent("UNKNOWN_VARIANT", "variant", f"the experiment has no variant of that key in that phase{hint}")
    return place
