"""The import of a finished experiment: survey, draft, facts, stop.

Nothing of a failed import stays. A killed one leaves a draft that says so; the next import of the same key cleans
it away. Its units never count, since the salt of the draft is part of their pseudonyms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from abplatform.domain.audit import Actor
from abplatform.domain.experiment import Experiment, ExperimentDefinition, Variant
from abplatform.domain.plan import AnalysisPlan
from abplatform.errors import AlreadyExists, Conflict
from abplatform.services.adopt.facts import FactWriter
from abplatform.services.adopt.metrics import AdoptedMetric, adopt_metrics, drop_metrics, metric_uses
from abplatform.services.adopt.request import ImportRequest, check_request
from abplatform.services.adopt.rows import Rows, read_rows
from abplatform.services.adopt.survey import OnFault, Survey, survey_table
from abplatform.services.define import create_experiment, delete_experiment, edit_experiment
from abplatform.services.live import take_step
from abplatform.services.read_table.source import Progress, read_batches
from abplatform.services.record import Trail, describe_file, on_record
from abplatform.storage.session import UnitOfWork, Work
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.inbox import Database
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.lease import Lease

UNFINISHED = "An import that has not finished; run the same import again."
_APPEND_ROWS = 262_144
_SURVEY_SHARE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an import goes.

    Attributes:
        database: the metadata database, for the lease that keeps two imports of one key apart.
        secret: for pseudonyms.
    """

    database: Database
    uow: UnitOfWork
    lake: Lake
    project: str
    secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        units: imported rows by variant, the control first.
        refused: how many rows were left out.
        refused_units: the same by variant, the control first; rows whose variant is not known are in no count.
        likely_sums: conversion columns whose faulty values were all numbers.
        metrics: in the order of the outcomes.
    """

    experiment: Experiment
    units: Mapping[str, int]
    refused: int
    refused_units: Mapping[str, int]
    likely_sums: tuple[str, ...]
    metrics: tuple[AdoptedMetric, ...]


def adopt_table(
    target: Target,
    request: ImportRequest,
    *,
    actor: Actor,
    clock: Callable[[], datetime],
    on_fault: OnFault,
    progress: Progress = lambda _share: None,
) -> ImportReport:
    """Make a stopped external experiment, with exposures and conversions, from a table with one row per unit.

    Args:
        target: where it goes.
        request: which columns mean what.
        actor: who imports, for the audit trail.
        clock: the platform's; all facts carry the time of the beginning.
        on_fault: is told of each row that is left out.
        progress: is called with the share of the work that is done.

    Raises:
        InvalidInput: the table or the request does not fit; nothing is left behind.
        AlreadyExists: the project has an experiment of that key.
        Conflict: another import of that key is under way, or the file changed while it was read.
    """
    check_request(request)
    now = clock()
    with target.uow.reading() as work:
        _check_key_is_free(work, target.project, request.key)
    survey = survey_table(request, on_fault=on_fault, progress=lambda share: progress(_SURVEY_SHARE * share))
    trail = Trail(uow=target.uow, project=target.project, actor=actor, clock=clock)
    details = {**request.describe(), **describe_file(request.path)}
    with _alone(target, request.key) as lease, on_record(trail, "import", details) as outcome:
        draft, metrics = _open_draft(target, request, survey, now=now)
        try:
            _load(target, request, survey, draft, lease=lease, now=now, progress=progress)
            experiment = _finish(target, draft, now=now)
        except BaseException:
            _undo(target, draft, metrics)
            raise
        outcome.update(taken=survey.rows, refused=survey.refused)
    return ImportReport(
        experiment=experiment,
        units=survey.units,
        refused=survey.refused,
        refused_units=survey.refused_units,
        likely_sums=survey.amounts,
        metrics=metrics,
    )


@contextmanager
def _alone(target: Target, key: str) -> Iterator[Lease]:
    lease = Lease(target.database, f"import:{target.project}:{key}")
    if not lease.acquire():
        raise Conflict(f"an import of {key} is under way, or was killed some seconds ago; try again shortly")
    try:
        yield lease
    finally:
        lease.release()


def _check_key_is_free(work: Work, project: str, key: str) -> Experiment | None:
    """The remains of a killed import of that key, if there are any."""
    found = work.experiments.find(project, key)
    if found is not None and not (found.status == "draft" and found.definition.hypothesis == UNFINISHED):
        raise AlreadyExists(f"there is an experiment {key!r} already; choose another key (--key)")
    return found


def _open_draft(
    target: Target, request: ImportRequest, survey: Survey, *, now: datetime
) -> tuple[Experiment, tuple[AdoptedMetric, ...]]:
    project = target.project
    with target.uow.begin() as work:
        remains = _check_key_is_free(work, project, request.key)
        if remains is not None:
            delete_experiment(work, project, request.key, revision=remains.revision)
        metrics = adopt_metrics(work, project, request, now=now)
        draft = create_experiment(work, project, _define(request, survey, metrics), now=now)
    if remains is not None:
        target.lake.delete_experiment(project, request.key)
    return draft, metrics


def _define(request: ImportRequest, survey: Survey, metrics: tuple[AdoptedMetric, ...]) -> ExperimentDefinition:
    return ExperimentDefinition(
        key=request.key,
        name=request.name or request.key,
        hypothesis=UNFINISHED,
        variants=tuple(Variant(key=key, weight=request.weights.get(key, 1)) for key in survey.units),
        control=request.control,
        metrics=metric_uses(request, metrics),
        plan=AnalysisPlan(method="fixed", planned_units=survey.rows),
        unit_type=request.unit_name if request.cluster is None else request.cluster,
        analysis_unit=None if request.cluster is None else request.unit_name,
        assignment="external",
        dimensions=request.dimensions,
        covariates=request.covariates,
    )


def _load(
    target: Target,
    request: ImportRequest,
    survey: Survey,
    draft: Experiment,
    *,
    lease: Lease,
    now: datetime,
    progress: Progress,
) -> None:
    writer = FactWriter(request=request, secret=target.secret, scope=f"{request.key}/{draft.salt}", at=now)
    loaded = 0
    for tables in _fact_tables(writer, request, survey, progress):
        if not lease.acquire():
            raise Conflict(f"another import of {request.key} has taken over")
        loaded += tables[0].num_rows
        append_facts(target.lake, target.project, "exposure", tables[0])
        append_facts(target.lake, target.project, "conversion", tables[1])
    if loaded != survey.rows:
        raise Conflict(f"{request.path} changed while it was read; import it again")


def _fact_tables(
    writer: FactWriter, request: ImportRequest, survey: Survey, progress: Progress
) -> Iterator[tuple[pa.Table, pa.Table]]:
    waiting: list[tuple[pa.Table, pa.Table]] = []
    for batch in read_batches(
        request.path,
        request.columns,
        numeric=request.numeric_columns,
        progress=lambda share: progress(_SURVEY_SHARE + (1 - _SURVEY_SHARE) * share),
    ):
        rows, _ = read_rows(batch, request)
        waiting.append(writer.write(_without(rows, survey)))
        if sum(exposures.num_rows for exposures, _ in waiting) >= _APPEND_ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _without(rows: Rows, survey: Survey) -> Rows:
    if len(survey.repeated) == 0:
        return rows
    return rows.keep(~np.isin(rows.numbers, survey.repeated, assume_unique=True))


def _joined(tables: list[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
    exposures, conversions = zip(*tables, strict=True)
    return pa.concat_tables(exposures), pa.concat_tables(conversions)


def _finish(target: Target, draft: Experiment, *, now: datetime) -> Experiment:
    with target.uow.begin() as work:
        edited = edit_experiment(work, target.project, draft.key, {"hypothesis": ""}, revision=draft.revision)
        started = take_step(work, target.project, draft.key, "start", now=now, revision=edited.revision)
        return take_step(work, target.project, draft.key, "stop", now=now, revision=started.revision)


def _undo(target: Target, draft: Experiment, metrics: tuple[AdoptedMetric, ...]) -> None:
    with target.uow.begin() as work:
        found = work.experiments.find(target.project, draft.key)
        if found is None or found.salt != draft.salt or found.status != "draft":
            return
        delete_experiment(work, target.project, draft.key, revision=found.revision)
        drop_metrics(work, target.project, metrics)
    target.lake.delete_experiment(target.project, draft.key)
