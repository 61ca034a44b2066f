"""Take events: check each, turn the good ones into facts, keep them durably, and name the others.

A request is answered only after its good events are on disk. A batch is taken at once where all of it is plainly right,
else event by event; both come to the same facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from abplatform.domain.events import BadEvent, Conversion, EventKind, Exposure
from abplatform.domain.suggestions import Suggestions
from abplatform.errors import InvalidInput
from abplatform.services.agree import Place
from abplatform.services.build_facts import Builder, Pseudonyms, group_places
from abplatform.services.check_events import (
    check_conversion,
    check_exposure,
    read_amount,
)
from abplatform.services.decode_events import (
    Envelope,
    RawEvent,
    Refused,
    read_conversion,
    read_envelope,
    read_exposure,
    sort_out,
)
from abplatform.services.gather_columns import gather_conversions, gather_exposures
from abplatform.services.recall import Memory, Rules, Unpublished
from abplatform.services.settle_times import Clock, as_times
from abplatform.services.take_at_once import Request, Taker
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.rejections import Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a request's events; the accepted ones are on disk.

    Attributes:
        accepted: how many.
        rejected: the others.
        refusal: what is said of the only event of a request that is no batch, where that is rejected.
    """

    accepted: int
    rejected: tuple[Rejection, ...]
    refusal: InvalidInput | None = None


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
        self._at_once = Taker(self._memory, inbox, self._pseudonyms, max_age=max_age)

    def take_exposures(self, project: str, body: bytes, *, received_at: datetime, at_once: bool = True) -> IngestReport:
        """Take one exposure, or a batch of them; a bad event of a batch does not keep the others out.

        Args:
            project: key of the project.
            body: strict JSON: an event, or ``{"events": [...], "sent_at"?}``.
            received_at: the platform's clock.
            at_once: whether `take_at_once` is to be tried first; it has been, if not.

        Raises:
            Unreadable: the body is not strict JSON. Nothing is stored then.
            InvalidInput: the body is neither. Nothing is stored then.
            TooLarge: the batch has too many events. Nothing is stored then.
            InboxFull: too many events wait to be sealed. Nothing is stored then.
            Unavailable: the database does not answer. Nothing is stored then.
        """
        return self._take(Request(project, "exposure", body, received_at), at_once=at_once)

    def take_conversions(
        self, project: str, body: bytes, *, received_at: datetime, at_once: bool = True
    ) -> IngestReport:
        """Take one conversion, or a batch of them; as `take_exposures`, with the same errors."""
        return self._take(Request(project, "conversion", body, received_at), at_once=at_once)

    def take_at_once(self, project: str, kind: EventKind, body: bytes, *, received_at: datetime) -> int | None:
        """Take a batch that is plainly right and give its size; for all others None, and nothing is kept.

        Raises:
            InboxFull, Unavailable: as `take_exposures`.
        """
        return self._at_once.take(Request(project, kind, body, received_at))

    def _take(self, request: Request, *, at_once: bool) -> IngestReport:
        accepted = self._at_once.take(request) if at_once else None
        if accepted is not None:
            return IngestReport(accepted=accepted, rejected=())
        build = self._exposures_one_by_one if request.kind == "exposure" else self._conversions_one_by_one
        facts, refused = build(request, read_envelope(request.body, received_at=request.received_at))
        rejected = refused.rejections
        self._inbox.add(request.project, request.kind, facts, rejected, received_at=request.received_at)
        accepted = 0 if facts is None else facts.num_rows
        return IngestReport(accepted=accepted, rejected=rejected, refusal=refused.alone)

    def _exposures_one_by_one(self, request: Request, envelope: Envelope) -> tuple[pa.Table | None, Refused]:
        project = request.project
        clock = Clock.of(request.received_at, envelope.skew, max_age=self._max_age)
        suggestions = Suggestions()
        rules, unpublished = self._memory.renew(project), Unpublished(self._uow, project, suggestions)
        builder = self._builder(rules)
        events: list[Exposure] = []
        places: list[Place] = []
        times: list[tuple[datetime, datetime]] = []

        def take(raw: RawEvent) -> None:
            event = read_exposure(raw, suggestions)
            check_exposure(event)
            place = _find_place(event, rules, unpublished, suggestions)
            builder.check_exposure(event, place)
            times.append(clock.settle(event.timestamp))
            events.append(event)
            places.append(place)

        refused = sort_out(envelope, take)
        if not events:
            return None, refused
        return builder.exposures(gather_exposures(events), group_places(places), as_times(times, clock)), refused

    def _conversions_one_by_one(self, request: Request, envelope: Envelope) -> tuple[pa.Table | None, Refused]:
        clock = Clock.of(request.received_at, envelope.skew, max_age=self._max_age)
        rules, suggestions = self._memory.renew(request.project), Suggestions()
        builder = self._builder(rules)
        events: list[Conversion] = []
        amounts: list[str | None] = []
        times: list[tuple[datetime, datetime]] = []

        def take(raw: RawEvent) -> None:
            event = read_conversion(raw, suggestions)
            check_conversion(event)
            builder.check_conversion(event)
            moments, amount = clock.settle(event.timestamp), read_amount(event.value)
            events.append(event)
            amounts.append(amount)
            times.append(moments)

        refused = sort_out(envelope, take)
        if not events:
            return None, refused
        columns = gather_conversions(events)
        return builder.conversions(columns, amounts, as_times(times, clock), rules.analysed), refused

    def _builder(self, rules: Rules) -> Builder:
        return Builder(pseudonyms=self._pseudonyms, unit_type=rules.unit_type)


def _find_place(event: Exposure, rules: Rules, unpublished: Unpublished, suggestions: Suggestions) -> Place:
    """What the unit was exposed to, which must have the variant."""
    place = rules.find(event.experiment, event.phase, event.holdout, unpublished)
    if event.holdout is not None and event.group not in place.variants:
        raise BadEvent("BAD_FIELD", "group", f"must be {' or '.join(place.variants)}")
    if event.holdout is None and event.variant not in place.variants:
        hint = suggestions.suggest(event.variant or "", place.variants)
        raise BadEvent("UNKNOWN_VARIANT", "variant", f"the experiment has no variant of that key in that phase{hint}")
    return place
