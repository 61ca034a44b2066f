"""Take events: check each, turn the good ones into facts, keep them durably, and name the others.

A request is answered only after its good events are on disk. Raw unit ids are used here, to draw the expected
variant and the pseudonym, and go no further.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from abplatform.assignment import ExperimentRule, UnsupportedRule, decode_snapshot, draw_variant
from abplatform.domain.checks import KEY
from abplatform.domain.events import (
    LONGEST_EVENT_ID,
    LONGEST_ID,
    LONGEST_NAME,
    BadEvent,
    Conversion,
    ConversionFact,
    Exposure,
    ExposureFact,
    check_event_text,
    read_timestamp,
    read_value,
    scalars_as_json,
    settle_timestamp,
)
from abplatform.domain.experiment import Experiment
from abplatform.domain.pseudonym import pseudonymise
from abplatform.services import publish
from abplatform.services.decode_events import (
    RawEvent,
    read_conversion,
    read_envelope,
    read_exposure,
    sort_out,
)
from abplatform.storage.session import UnitOfWork, Work
from abplatform.warehouse.inbox import Inbox, Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a request's events; the accepted ones are on disk."""

    accepted: int
    rejected: tuple[Rejection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the exposures of a project are checked against.

    Attributes:
        version: of the snapshot; as long as it stays, so do these.
        unit_type: what ``unit_id`` identifies.
        started: all experiments that have started, by key.
        served: the evaluator's rules of those that are served here.
    """

    version: int
    unit_type: str
    started: Mapping[str, Experiment]
    served: Mapping[str, ExperimentRule | UnsupportedRule]


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
        self._rules: dict[str, Rules] = {}

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
        with self._uow.reading() as work:
            rules = self._read_rules(work, project)

            def build(raw: RawEvent) -> ExposureFact:
                event = read_exposure(raw)
                _check_ids(event)
                experiment = rules.started.get(event.experiment) or _look_up(work, project, event.experiment)
                return self._exposure_fact(event, experiment, rules, clock)

            facts, rejected = sort_out(envelope, build)
        self._inbox.add(project, "exposure", facts, rejected, received_at=received_at)
        return IngestReport(accepted=len(facts), rejected=tuple(rejected))

    def take_conversions(self, project: str, body: bytes, *, received_at: datetime) -> IngestReport:
        """Take one conversion, or a batch of them; as `take_exposures`, with the same errors."""
        envelope = read_envelope(body, received_at=received_at)
        clock = self._clock(received_at, envelope.skew)
        with self._uow.reading() as work:
            unit_type = self._read_rules(work, project).unit_type

        def build(raw: RawEvent) -> ConversionFact:
            event = read_conversion(raw)
            _check_ids(event)
            return self._conversion_fact(event, unit_type, clock)

        facts, rejected = sort_out(envelope, build)
        self._inbox.add(project, "conversion", facts, rejected, received_at=received_at)
        return IngestReport(accepted=len(facts), rejected=tuple(rejected))

    def _clock(self, received_at: datetime, skew: timedelta) -> Clock:
        return Clock(received_at=received_at, skew=skew, oldest=received_at - self._max_age)

    def _read_rules(self, work: Work, project: str) -> Rules:
        # The version first, the snapshot last: what is read in between is at least as new as the version says, and
        # whoever acts on a snapshot has read it after it was published.
        version = publish.current_version(work, project)
        known = self._rules.get(project)
        if known is None or known.version != version:
            known = Rules(
                version=version,
                unit_type=work.projects.get(project).unit_type,
                started={one.key: one for one in work.experiments.all(project) if one.status != "draft"},
                served=decode_snapshot(publish.read_snapshot(work, project).document).experiments,
            )
            self._rules[project] = known
        return known

    def _exposure_fact(self, event: Exposure, experiment: Experiment, rules: Rules, clock: Clock) -> ExposureFact:
        _check_place(event, experiment)
        timestamp, sent = clock.settle(event.timestamp)
        cluster_id = _cluster_id(event, experiment)
        unit_type = experiment.definition.unit_type
        return ExposureFact(
            event_id=event.event_id,
            experiment=event.experiment,
            phase=event.phase,
            variant=event.variant,
            expected_variant=_expected_variant(event, experiment, rules),
            unit=pseudonymise(self._pseudonym_key, rules.unit_type, event.unit_id),
            cluster=None if cluster_id is None else pseudonymise(self._pseudonym_key, unit_type, cluster_id),
            timestamp=timestamp,
            sent_timestamp=sent,
            received_at=clock.received_at,
            attributes=_declared(scalars_as_json(event.attributes, "attributes"), experiment),
        )

    def _conversion_fact(self, event: Conversion, unit_type: str, clock: Clock) -> ConversionFact:
        check_event_text(event.event, "event", most=LONGEST_NAME)
        if event.units:
            raise BadEvent("NOT_SUPPORTED", "units", "other unit types are not supported yet; must be empty")
        timestamp, sent = clock.settle(event.timestamp)
        return ConversionFact(
            event_id=event.event_id,
            event=event.event,
            unit=pseudonymise(self._pseudonym_key, unit_type, event.unit_id),
            value=read_value(event.value),
            timestamp=timestamp,
            sent_timestamp=sent,
            received_at=clock.received_at,
            properties=scalars_as_json(event.properties, "properties"),
        )


def _check_ids(event: Exposure | Conversion) -> None:
    check_event_text(event.event_id, "event_id", most=LONGEST_EVENT_ID)
    check_event_text(event.unit_id, "unit_id", most=LONGEST_ID)


def _look_up(work: Work, project: str, key: str) -> Experiment:
    """An experiment that the rules do not know: not there, a draft, or started this very moment."""
    found = work.experiments.find(project, key) if KEY.fullmatch(key) is not None else None
    if found is None:
        raise BadEvent("UNKNOWN_EXPERIMENT", "experiment", "there is no experiment of that key")
    if found.status == "draft":
        raise BadEvent("NOT_STARTED", "experiment", "has not started")
    return found


def _check_place(event: Exposure, experiment: Experiment) -> None:
    if experiment.status == "archived":
        raise BadEvent("EXPERIMENT_ARCHIVED", "experiment", "is archived; nothing more is counted")
    if not any(event.variant == variant.key for variant in experiment.definition.variants):
        raise BadEvent("UNKNOWN_VARIANT", "variant", "the experiment has no variant of that key")
    if not 1 <= event.phase <= experiment.phase:
        raise BadEvent("BAD_PHASE", "phase", f"the experiment is in phase {experiment.phase}")


def _cluster_id(event: Exposure, experiment: Experiment) -> str | None:
    """The id of the randomised cluster, where clusters were randomised."""
    unit_type = experiment.definition.unit_type
    wanted = {unit_type} if experiment.definition.clustered else set()
    if event.units.keys() - wanted:
        detail = f"only {unit_type} is read" if wanted else "other unit types are not supported yet; must be empty"
        raise BadEvent("NOT_SUPPORTED", "units", detail)
    if not wanted:
        return None
    if unit_type not in event.units:
        raise BadEvent("MISSING_FIELD", f"units.{unit_type}", "is required: whole clusters were randomised")
    check_event_text(event.units[unit_type], f"units.{unit_type}", most=LONGEST_ID)
    return event.units[unit_type]


def _expected_variant(event: Exposure, experiment: Experiment, rules: Rules) -> str | None:
    """What this platform draws for the unit in that phase; none where it did not draw."""
    rule = rules.served.get(event.experiment)
    if experiment.definition.assignment == "external" or not isinstance(rule, ExperimentRule):
        return None
    return draw_variant(rule, event.unit_id) if rule.phase == event.phase else None


def _declared(attributes: dict[str, str], experiment: Experiment) -> dict[str, str]:
    """Only what the experiment analyses by is kept: nothing personal is stored by accident."""
    definition = experiment.definition
    return {name: attributes[name] for name in (*definition.dimensions, *definition.covariates) if name in attributes}
