"""The one place where settings become parts: database, inbox, lake, engine, services."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from abplatform.database import open_database
from abplatform.domain.access import DEFAULT_PROJECT, Project
from abplatform.domain.evidence import Evidence
from abplatform.domain.experiment import Experiment, Pin
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Scorecard
from abplatform.errors import SchemaOutdated, StartRefused, Unavailable
from abplatform.explorer import Explorer
from abplatform.services import analyse
from abplatform.services.aggregate import aggregate
from abplatform.services.choose import Question
from abplatform.services.fix_caps import find_caps
from abplatform.services.guard_key import is_settled, read_pseudonym_key, settle_pseudonym_key
from abplatform.services.hold_states import HoldingEngine, holding_states
from abplatform.services.keep_units import KEEP_SECONDS, keep_due
from abplatform.services.pin_edges import Past
from abplatform.services.refresh import REFRESH_SECONDS, refresh_due
from abplatform.services.rerun import Rerun, rerun
from abplatform.services.resume import ResumingEngine
from abplatform.services.seal import SealReport, seal_project, seal_waiting
from abplatform.services.tend import TEND_SECONDS, tend
from abplatform.services.work import Job, work
from abplatform.settings import Settings
from abplatform.storage import migrate
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.durable_io import make_folder
from abplatform.warehouse.engines import Engine, build_engine
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.missing import files_are_there
from abplatform.warehouse.retention import first_kept_day


def read_clock() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """All parts of one process, put together.

    Use as a context manager, or call `close`: it gives back connections and files.

    Attributes:
        clock: tells the time, in UTC; a simulated past brings its own.
    """

    settings: Settings
    database: sa.Engine
    pseudonym_key: bytes = field(repr=False)
    uow: UnitOfWork
    inbox: Inbox
    lake: Lake
    engine: Engine
    clock: Callable[[], datetime] = read_clock

    def now(self) -> datetime:
        """The platform's clock, in UTC."""
        return self.clock()

    def oldest_kept(self) -> datetime:
        """The beginning of the first day whose events retention leaves in the lake."""
        return datetime.combine(first_kept_day(self.now(), self.settings.retention_days), time.min, UTC)

    def seal(self, project: str, *, progress: Callable[[int], None] = lambda _events: None) -> SealReport:
        """Move everything that waits in the inbox of a project into its lake.

        Args:
            project: key of the project.
            progress: told the number of events of each claim when it is done.
        """
        return seal_project(self.database, self.lake, project, now=self.now(), progress=progress)

    def work(self, *, stop: threading.Event, tending: bool = True) -> None:
        """Do the worker's jobs on schedule until ``stop`` is set; what is under way ends first.

        Args:
            stop: ends it.
            tending: whether to do more than seal: tend the lake, look at results, keep what looks know of units.
        """

        def going() -> bool:
            return not stop.is_set()

        seal = partial(seal_waiting, self.database, self.lake, clock=self.now)
        tend_all = partial(tend, self.database, self.lake, self.settings, clock=self.now, go_on=going)
        refresh = partial(refresh_due, self.database, self.uow, self.results, clock=self.now, go_on=going)
        keep = partial(keep_due, self, clock=self.now, go_on=going)
        jobs = [Job("seal", seal, self.settings.seal_interval)]
        if tending:
            jobs += [
                Job("tend", tend_all, TEND_SECONDS),
                Job("refresh", refresh, REFRESH_SECONDS),
                Job("keep_units", keep, KEEP_SECONDS),
            ]
        work(jobs, stop=stop)

    @files_are_there()
    def results(
        self,
        project: str,
        key: str,
        *,
        method: str | None = None,
        metric: str | None = None,
        phase: int | None = None,
        anew: bool = False,
    ) -> Scorecard:
        """The scorecard of an experiment, as of now.

        Everything acknowledged before this call is in it, unless another worker holds some of it for over 30 seconds.

        Args:
            project: key of the project.
            key: key of the experiment.
            method, metric, phase: see `choose.Question`.
            anew: compute, also where the latest look rests on the same.

        Raises:
            Unavailable: if the database, the lake or the engine does not answer, or the look cannot be recorded.
        """
        question = Question(method=method, metric=metric, phase=phase)
        with self.analysing(project) as (engine, owner, now):

            def reduce(experiment: Experiment, metrics: Sequence[Metric], known: Evidence | None) -> Evidence:
                known = None if anew else known
                return aggregate(engine, self.lake, owner, experiment, metrics=metrics, as_of=now, known=known)

            return analyse.read_results(self.uow, reduce, project, key, question=question, now=now)

    def results_or_last_look(
        self, project: str, key: str, *, method: str | None = None, metric: str | None = None, phase: int | None = None
    ) -> Scorecard:
        """What `results` gives, or while that cannot be had the latest look that was recorded, marked as ``stale``.

        Args:
            project, key, method, metric, phase: see `results`.

        Raises:
            Unavailable: if there is no such look, or the database cannot even be read.
        """
        try:
            return self.results(project, key, method=method, metric=metric, phase=phase)
        except Unavailable as error:
            question = Question(method=method, metric=metric, phase=phase)
            last = analyse.read_last_look(self.uow, project, key, question=question, reason=error.detail)
            if last is None:
                raise
            return last

    @property
    def explorer(self) -> Explorer:
        """Ways to look at experiments that record nothing."""
        return Explorer(self.uow, self.lake, self.analysing)

    @property
    def past(self) -> Past:
        """What it takes to ask what units did before a time."""
        return Past(self.uow, self.engine, self.lake, self.seal)

    @files_are_there()
    def find_caps(self, project: str, key: str) -> Mapping[str, Pin]:
        """What caps by quantile come to if an experiment starts now: see `services.fix_caps`."""
        return find_caps(self.uow, self.engine, self.lake, project, key, now=self.now(), seal=self.seal)

    @contextmanager
    def analysing(self, project: str) -> Iterator[tuple[HoldingEngine, Project, datetime]]:
        """What it takes to analyse all that has been acknowledged: an engine, the project, and the time.

        States of the lake that the engine answers from are held until the end of the block, when a look is recorded.
        """
        self.seal(project)
        now = self.now()
        with self.uow.reading() as work:
            owner = work.projects.get(project)
        with holding_states(ResumingEngine(self.engine, self.uow), self.database) as engine:
            yield engine, owner, now

    def looks(self, project: str, key: str, *, phase: int | None = None) -> tuple[Scorecard, ...]:
        """All looks of a phase of an experiment, the current one by default, oldest first."""
        return analyse.read_looks(self.uow, project, key, phase=phase)

    @files_are_there()
    def rerun(self, project: str, key: str, *, look: int, phase: int | None = None) -> Rerun:
        """Compute a look again with this platform's engine: see `services.rerun`."""
        with holding_states(self.engine, self.database) as engine:
            return rerun(self.uow, engine, self.lake, project, key, look=look, phase=phase)

    def close(self) -> None:
        """Give back connections and files, and end what the engine started."""
        self.engine.close()
        self.lake.close()
        self.database.dispose()

    def __enter__(self) -> Platform:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def build_platform(settings: Settings) -> Platform:
    """Put the parts together; nothing is created or migrated (see `prepare_database`).

    Raises:
        StartRefused: if the engine's packages are missing, or the pseudonym key cannot be used.
    """
    engine = build_engine(settings.engine_url, memory_limit=settings.engine_memory)
    database = open_database(settings.metadata_url)
    return Platform(
        settings=settings,
        database=database,
        pseudonym_key=read_pseudonym_key(settings),
        uow=UnitOfWork(database),
        inbox=Inbox(database, most_waiting=settings.inbox_limit),
        lake=Lake(settings.warehouse_url, settings.metadata_url, is_shared=not settings.keeps_own_lake),
        engine=engine,
    )


def prepare_database(settings: Settings) -> None:
    """Make the embedded database, or check that a shared one has this program's schema.

    Raises:
        SchemaOutdated: if the schema of a shared database is another one.
        StartRefused: if the pseudonym key is not the one that the database began with.
    """
    if settings.embedded:
        _make_home(settings.home)
    database = open_database(settings.metadata_url)
    try:
        if settings.embedded and not migrate.is_current(database):
            migrate.upgrade(settings.metadata_url)
        revision, head = migrate.current_revision(database), migrate.head_revision()
        if revision != head:
            found = f"the schema of the database is at {revision or 'no revision'}, this version needs {head}"
            raise SchemaOutdated(found, is_older=migrate.is_known(revision))
        _settle(UnitOfWork(database), read_pseudonym_key(settings))
    finally:
        database.dispose()


def _make_home(home: Path) -> None:
    try:
        make_folder(home)
    except OSError as error:
        raise StartRefused(f"{home.absolute()} cannot be made ({error.strerror}); set ABPLATFORM_HOME") from None


def _settle(uow: UnitOfWork, key: bytes) -> None:
    """Make the first project, and refuse another key than the one that this database began with.

    Where both are as they should be nothing is written, so that a database that can only be read will do.
    """
    with uow.reading() as work:
        known = any(project.key == DEFAULT_PROJECT for project in work.projects.all())
        if known and is_settled(work, key):
            return
    with uow.begin() as work:
        work.projects.ensure(DEFAULT_PROJECT, now=read_clock())
        settle_pseudonym_key(work, key)
