"""Take events: check each, turn the good ones into facts, keep them durably, and name the others.

A request is answered only after its good events are on disk. Raw unit ids are used here, to draw the expected
variant and the pseudonyms, and go no further.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from abplatform.domain.events import (
    LONGEST_EVENT_ID,
    LONGEST_ID,
    LONGEST_NAME,
    BadEvent,
    Conversion,
    ConversionFact,
    Exposure,
    ExposureFact,
    HoldoutExposure,
    check_event_text,
    check_units,
    read_timestamp,
    read_value,
    scalars_as_json,
    settle_timestamp,
)
from abplatform.domain.pseudonym import pseudonymise
from abplatform.domain.suggestions import Suggestions
from abplatform.services.agree import Place
from abplatform.services.decode_events import (
    RawEvent,
    read_conversion,
    read_envelope,
    read_exposure,
    sort_out,
)
from abplatform.services.recall import Memory, Rules
from abplatform.storage.session import UnitOfWork, Work
from abplatform.warehouse.inbox import Inbox, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a request's events; the accepted ones are on disk."""

    accepted: int
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The times that the events of one request are settled by."""

    received_at: datetime
    skew: timedelta
    oldest: datetime

    def settle(self, text: str) -> tuple[datetime, datetime]:
        """An event's time as it counts, and as it was sent."""
        sent = read_timestamp(text)
        return settle_timestamp(sent, skew=self.skew, received_at=self.received_at, oldest=self.oldest), sent


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
        self._pseudonym_key = pseudonym_key
        self._max_age = max_age
        self._memory = Memory()

    def take_exposures(self, project: str, body: bytes, *, received_at: datetime) -> IngestReport:
        """Take one exposure, or a batch of them; a bad event of a batch does not keep the others out.

        Args:
            project: key of the project.
            body: strict JSON: an event, or ``{"events": [...], "sent_at"?}``.
            received_at: the platform's clock.

        Raises:
            InvalidInput: the body is neither, or a single event is wrong. Nothing is stored then.
            TooLarge: the batch has too many events. Nothing is stored then.
            Unavailable: the database does not answer. Nothing is stored then.
        """
        envelope = read_envelope(body, received_at=received_at)
        clock = self._clock(received_at, envelope.skew)
        suggestions = Suggestions()
        with self._uow.reading() as work:
            rules = self._memory.read(work, project)

            def build(raw: RawEvent) -> ExposureFact:
                event = read_exposure(raw)
                _check_ids(event)
                return self._exposure_fact(event, _find_place(event, rules, work, suggestions), rules, clock)

            facts, rejected = sort_out(envelope, build)
        self._inbox.add(project, "exposure", facts, rejected, received_at=received_at)
        return IngestReport(accepted=len(facts), rejected=tuple(rejected))

    def take_conversions(self, project: str, body: bytes, *, received_at: datetime) -> IngestReport:
        """Take one conversion, or a batch of them; as `take_exposures`, with the same errors."""
        envelope = read_envelope(body, received_at=received_at)
        clock = self._clock(received_at, envelope.skew)
        with self._uow.reading() as work:
            rules = self._memory.read(work, project)

        def build(raw: RawEvent) -> ConversionFact:
            event = read_conversion(raw)
            _check_ids(event)
            return self._conversion_fact(event, rules, clock)

        facts, rejected = sort_out(envelope, build)
        self._inbox.add(project, "conversion", facts, rejected, received_at=received_at)
        return IngestReport(accepted=len(facts), rejected=tuple(rejected))

    def _clock(self, received_at: datetime, skew: timedelta) -> Clock:
        return Clock(received_at=received_at, skew=skew, oldest=received_at - self._max_age)

    def _exposure_fact(
        self, event: Exposure | HoldoutExposure, place: Place, rules: Rules, clock: Clock
    ) -> ExposureFact:
        timestamp, sent = clock.settle(event.timestamp)
        randomised = _id_of(event, place.unit_type, rules.unit_type)
        drawn = pseudonymise(self._pseudonym_key, place.unit_type, randomised)
        inside = self._member(event, rules.unit_type) if place.clustered else None
        return ExposureFact(
            event_id=event.event_id,
            experiment=place.experiment,
            phase=place.phase,
            variant=event.variant,
            expected_variant=place.expect(randomised),
            unit=drawn if inside is None else inside,
            cluster=None if inside is None else drawn,
            timestamp=timestamp,
            sent_timestamp=sent,
            received_at=clock.received_at,
            attributes=_declared(scalars_as_json(event.attributes, "attributes"), place),
        )

    def _conversion_fact(self, event: Conversion, rules: Rules, clock: Clock) -> ConversionFact:
        check_event_text(event.event, "event", most=LONGEST_NAME)
        timestamp, sent = clock.settle(event.timestamp)
        return ConversionFact(
            event_id=event.event_id,
            event=event.event,
            unit=self._whoever(event, rules.unit_type),
            value=read_value(event.value),
            timestamp=timestamp,
            sent_timestamp=sent,
            received_at=clock.received_at,
            properties=scalars_as_json(event.properties, "properties"),
            units=self._analysed_units(event.units, rules) if event.units else {},
        )

    def _member(self, event: Exposure | HoldoutExposure, default_type: str) -> str:
        return pseudonymise(self._pseudonym_key, default_type, _id_of(event, default_type, default_type))

    def _whoever(self, event: Conversion, default_type: str) -> str:
        """The pseudonym that a conversion lies under: of its default id, else of the first of its others."""
        unit_type, unit_id = (
            min(event.units.items()) if event.unit_id is None and event.units else (default_type, event.unit_id)
        )
        if unit_id is None:
            raise BadEvent("MISSING_FIELD", "unit_id", "is required, unless units names a unit of another type")
        return pseudonymise(self._pseudonym_key, unit_type, unit_id)

    def _analysed_units(self, units: Mapping[str, str], rules: Rules) -> dict[str, str]:
        """Only the unit types that are counted by are kept: nothing personal is stored by accident."""
        return {
            unit_type: pseudonymise(self._pseudonym_key, unit_type, unit_id)
            for unit_type, unit_id in units.items()
            if unit_type in rules.analysed
        }


def _check_ids(event: Exposure | HoldoutExposure | Conversion) -> None:
    check_event_text(event.event_id, "event_id", most=LONGEST_EVENT_ID)
    if event.unit_id is not None:
        check_event_text(event.unit_id, "unit_id", most=LONGEST_ID)
    if event.units:
        check_units(event.units)


def _find_place(event: Exposure | HoldoutExposure, rules: Rules, work: Work, suggestions: Suggestions) -> Place:
    """What the unit was exposed to, which must have the variant."""
    if isinstance(event, HoldoutExposure):
        place = rules.find_holdout(work, event.holdout)
        if event.variant not in place.variants:
            raise BadEvent("BAD_FIELD", "group", f"must be {' or '.join(place.variants)}")
        return place
    place = rules.find_phase(work, event.experiment, event.phase)
    if event.variant not in place.variants:
        hint = suggestions.suggest(event.variant, place.variants)
        raise BadEvent("UNKNOWN_VARIANT", "variant", f"the experiment has no variant of that key in that phase{hint}")
    return place


def _id_of(event: Exposure | HoldoutExposure, unit_type: str, default_type: str) -> str:
    """The id of that type, which the exposure must have."""
    found = event.unit_id if unit_type == default_type else event.units.get(unit_type)
    if found is None:
        field = "unit_id" if unit_type == default_type else f"units.{unit_type}"
        raise BadEvent("MISSING_FIELD", field, "is required: such units are randomised or counted")
    return found


def _declared(attributes: dict[str, str], place: Place) -> dict[str, str]:
    """Only what the experiment analyses by is kept: nothing personal is stored by accident."""
    return {name: attributes[name] for name in place.attributes if name in attributes}
