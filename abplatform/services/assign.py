"""Evaluate on the server, for products without an SDK: which variants a unit gets from what is published now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from abplatform.assignment import Evaluation, Snapshot, decode_snapshot, evaluate
from abplatform.domain.checks import Faults
from abplatform.domain.events import LONGEST_ID
from abplatform.services import publish
from abplatform.services.expose import Call, ExposureLog, Logged
from abplatform.services.ingest import Intake
from abplatform.storage.session import UnitOfWork
from abplatform.storage.snapshots import PublishedSnapshot

TARGETING_KEY = "targetingKey"
UNITS = "units"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is published of a project, ready to evaluate.

    Attributes:
        version: of the snapshot; as long as it stays, so does all of this.
        etag: of the snapshot.
        other_types: the unit types beside the default one that experiments are drawn by.
    """

    version: int
    etag: str
    snapshot: Snapshot
    other_types: frozenset[str]

    def evaluate(self, call: Call, keys: Iterable[str] | None = None) -> dict[str, Evaluation]:
        """What the unit gets from experiments, by key.

        Args:
            call: whom it is about.
            keys: of experiments; those that are not published are answered for, too. None for all published ones.
        """
        wanted = self.snapshot.experiments if keys is None else keys
        return {key: evaluate(self.snapshot, key, call.unit_id, call.attributes, units=call.units) for key in wanted}


class Assigner:
    """Evaluates; one per process, since it remembers the snapshot of each project by published version.

    Args:
        uow: where snapshots are published.
        intake: where exposures go.
    """

    def __init__(self, uow: UnitOfWork, intake: Intake) -> None:
        self._uow = uow
        self._exposures = ExposureLog(intake)
        self._published: dict[str, Published] = {}

    def read(self, project: str) -> Published:
        """What is published now, at the cost of one small query while it stays the same.

        Raises:
            NotFound: there is no such project.
            Unavailable: the database does not answer.
        """
        with self._uow.reading() as work:
            known = self._published.get(project)
            if known is not None and known.version == publish.current_version(work, project):
                return known
            published = publish.read_snapshot(work, project)
        # Decoding megabytes takes long, so no connection waits for it. If another thread has put a newer version here
        # by then, this one stays for no longer than until the next call compares it.
        ready = self._published[project] = _ready(published)
        return ready

    def expose(self, published: Published, call: Call, evaluations: Iterable[Evaluation], *, now: datetime) -> Logged:
        """Log the exposures of evaluations; see `ExposureLog.log`. Never raises for a database that does not answer."""
        return self._exposures.log(published.snapshot, call, evaluations, now=now)


def read_context(context: Mapping[str, Any], published: Published) -> Call:
    """The ids and attributes in an OpenFeature evaluation context.

    ``targetingKey`` is the id of the default unit type. Ids of other types stand in ``units`` by type, or in an
    attribute that has the name of a unit type that experiments are drawn by. All fields but these two are attributes.

    Raises:
        InvalidInput: naming ``context.targetingKey``, ``context.units`` or one of the ids in it.
    """
    faults = Faults()
    unit_id, units = context.get(TARGETING_KEY), context.get(UNITS)
    if unit_id is not None and unit_id != "":
        _check_id(unit_id, f"context.{TARGETING_KEY}", faults)
    if units is None:
        units = {}
    if faults.check(isinstance(units, Mapping), f"context.{UNITS}", "must be an object of ids by unit type"):
        for name, value in units.items():
            _check_id(value, f"context.{UNITS}.{name}", faults)
    faults.raise_any()
    attributes = {name: value for name, value in context.items() if name not in (TARGETING_KEY, UNITS)}
    named = {name: value for name, value in attributes.items() if name in published.other_types and _is_id(value)}
    return Call(unit_id=unit_id or None, units=named | dict(units), attributes=attributes)


def _check_id(value: object, path: str, faults: Faults) -> None:
    faults.check(_is_id(value), path, f"must be a string of 1 to {LONGEST_ID} characters")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID


def _ready(published: PublishedSnapshot) -> Published:
    snapshot = decode_snapshot(published.document)
    types = {rule.unit_type for rule in snapshot.experiments.values()}
    return Published(
        version=published.version,
        etag=published.etag,
        snapshot=snapshot,
        other_types=frozenset(types - {snapshot.unit_type}),
    )
