"""Log the exposures of units that were evaluated here, on behalf of a product that does not send them itself.

They take the way of all exposures, through `abplatform.services.ingest`, and are on disk when `ExposureLog.log`
returns. If they cannot be kept, the product still gets its variants: they are counted as lost and logged.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from abplatform.assignment import Evaluation, ExperimentRule, Snapshot, UnsupportedRule
from abplatform.domain.events import BadEvent, scalars_as_json
from abplatform.errors import AbplatformError
from abplatform.services.decode_events import MOST_EVENTS
from abplatform.services.ingest import Intake

MOST_REMEMBERED = 100_000
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Whom an evaluation is about.

    Attributes:
        unit_id: of the project's default unit type; None where the caller has none.
        units: ids of other unit types.
        attributes: what targeting may read.
    """

    unit_id: str | None
    units: Mapping[str, str]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What became of the exposures of a call.

    Attributes:
        kept: they are on disk.
        repeated: this process has kept the same ones in this hour already.
        rejected: the intake refused them, such as those of an experiment that was archived this very moment.
        lost: the database did not take them.
    """

    kept: int = 0
    repeated: int = 0
    rejected: int = 0
    lost: int = 0


class ExposureLog:
    """Logs exposures; one per process, since it remembers what it has logged in this hour.

    Args:
        intake: where exposures go.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._remembered = _ThisHour()

    def log(self, snapshot: Snapshot, call: Call, evaluations: Iterable[Evaluation], *, now: datetime) -> Logged:
        """Keep the exposures of evaluations, those of holdouts included, once per unit, phase and hour.

        Args:
            snapshot: what was evaluated; it names the project.
            call: whom it was about.
            evaluations: of that call; those that expose nobody are passed over.
            now: the time of the exposures.
        """
        due = dict(_exposures(snapshot, call, evaluations))
        fresh = {key: event for key, event in due.items() if not self._remembered.has(key, now)}
        repeated = len(due) - len(fresh)
        if not fresh:
            return Logged(repeated=repeated)
        kept = rejected = 0
        try:
            for batch in _batches(fresh, now):
                report = self._intake.take_exposures(snapshot.project, batch, received_at=now)
                kept, rejected = kept + report.accepted, rejected + len(report.rejected)
        except AbplatformError as error:
            lost = len(fresh) - kept - rejected
            _log.warning("exposures were lost", project=snapshot.project, count=lost, why=error.code)
            return Logged(kept=kept, repeated=repeated, rejected=rejected, lost=lost)
        self._remembered.add(fresh, now)
        return Logged(kept=kept, repeated=repeated, rejected=rejected)


def _exposures(
    snapshot: Snapshot, call: Call, evaluations: Iterable[Evaluation]
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """What is to be logged, each under a digest: no unit ids are remembered, and of equal ones the last stays."""
    for evaluation in evaluations:
        rule = snapshot.experiments.get(evaluation.experiment)
        exposes = evaluation.in_experiment or evaluation.holdouts
        if not exposes or rule is None or isinstance(rule, UnsupportedRule):
            continue
        whom = _whom(snapshot, rule, call)
        for holdout, group in evaluation.holdouts:
            what: dict[str, Any] = {"holdout": holdout, "group": group}
            yield _digest(snapshot, what, whom), what | whom
        if evaluation.in_experiment:
            what = {"experiment": rule.key, "phase": rule.phase, "variant": evaluation.variant}
            yield _digest(snapshot, what, whom), what | whom | {"attributes": _dimensions(rule, call)}


def _whom(snapshot: Snapshot, rule: ExperimentRule, call: Call) -> dict[str, Any]:
    """The ids of an exposure: the default one, and the one that was drawn by where that is another."""
    default = {} if call.unit_id is None else {"unit_id": call.unit_id}
    if rule.unit_type == snapshot.unit_type:
        return default
    return default | {"units": {rule.unit_type: call.units[rule.unit_type]}}


def _dimensions(rule: ExperimentRule, call: Call) -> dict[str, Any]:
    """The attributes that the experiment is broken down by, where events can hold them; no others are kept."""
    found = {name: call.attributes.get(name) for name in rule.dimensions}
    return {name: value for name, value in found.items() if _fits(name, value)}


def _fits(name: str, value: object) -> bool:
    if not isinstance(value, (str, int, float)):
        return False
    if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        return False
    try:
        return bool(scalars_as_json({name: value}, "attributes"))
    except BadEvent:
        return False


def _digest(snapshot: Snapshot, what: Mapping[str, Any], whom: Mapping[str, Any]) -> bytes:
    text = json.dumps([snapshot.project, what, whom])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _batches(events: Mapping[bytes, Mapping[str, Any]], now: datetime) -> Iterator[bytes]:
    stamped = [{"event_id": uuid.uuid4().hex, "timestamp": now.isoformat(), **event} for event in events.values()]
    for start in range(0, len(stamped), MOST_EVENTS):
        yield json.dumps({"events": stamped[start : start + MOST_EVENTS]}).encode()


class _ThisHour:
    """A bounded memory that is emptied when the hour changes, or when it is full.

    What it forgets is logged once more, and counted as the same unit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hour: datetime | None = None
        self._keys: set[bytes] = set()

    def has(self, key: bytes, now: datetime) -> bool:
        """Whether the key was added in the hour of ``now``."""
        with self._lock:
            return self._hour == _hour(now) and key in self._keys

    def add(self, keys: Iterable[bytes], now: datetime) -> None:
        """Remember keys for the rest of the hour."""
        with self._lock:
            if self._hour != _hour(now) or len(self._keys) >= MOST_REMEMBERED:
                self._hour, self._keys = _hour(now), set()
            self._keys.update(keys)


def _hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0)
