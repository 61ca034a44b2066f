"""The one place where settings become parts: database, inbox, lake, engine, services."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from abplatform.database import open_database
from abplatform.domain.access import DEFAULT_PROJECT
from abplatform.domain.aggregates import Aggregation
from abplatform.domain.experiment import Experiment
from abplatform.domain.metric import Metric
from abplatform.domain.scorecard import Scorecard
from abplatform.errors import SchemaOutdated, StartRefused
from abplatform.services import analyse
from abplatform.services.aggregate import aggregate
from abplatform.services.seal import SealReport, seal_project
from abplatform.settings import Settings
from abplatform.storage import migrate
from abplatform.storage.session import UnitOfWork, Work
from abplatform.warehouse.engines import DuckDBEngine
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """All parts of one process, put together.

    Use as a context manager, or call `close`: it gives back connections and files.
    """

    settings: Settings
    database: sa.Engine
    pseudonym_key: bytes = field(repr=False)
    uow: UnitOfWork
    inbox: Inbox
    lake: Lake
    engine: DuckDBEngine

    def now(self) -> datetime:
        """The platform's clock, in UTC."""
        return datetime.now(UTC)

    def seal(self, project: str) -> SealReport:
        """Move everything that waits in the inbox of a project into its lake."""
        return seal_project(self.database, self.lake, project, now=self.now())

    def results(
        self,
        project: str,
        key: str,
        *,
        method: str | None = None,
        metric: str | None = None,
        phase: int | None = None,
    ) -> Scorecard:
        """The scorecard of an experiment, as of now.

        Everything acknowledged before this call is in it, unless another worker holds some of it for over 30 seconds.
        """
        self.seal(project)
        now = self.now()
        with self.uow.reading() as work:
            owner = work.projects.get(project)

        def reduce(experiment: Experiment, metrics: Sequence[Metric]) -> Aggregation:
            return aggregate(self.engine, self.lake, owner, experiment, metrics=metrics, as_of=now)

        question = analyse.Question(method=method, metric=metric, phase=phase)
        return analyse.read_results(self.uow, reduce, project, key, question=question, now=now)

    def looks(self, project: str, key: str, *, phase: int | None = None) -> tuple[Scorecard, ...]:
        """All looks of a phase of an experiment, the current one by default, oldest first."""
        return analyse.read_looks(self.uow, project, key, phase=phase)

    def close(self) -> None:
        """Give back connections and files."""
        self.lake.close()
        self.database.dispose()

    def __enter__(self) -> Platform:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def build_platform(settings: Settings) -> Platform:
    """Put the parts together; nothing is created or migrated (see `prepare_database`)."""
    database = open_database(settings.metadata_url)
    return Platform(
        settings=settings,
        database=database,
        pseudonym_key=read_pseudonym_key(settings),
        uow=UnitOfWork(database),
        inbox=Inbox(database),
        lake=Lake(settings.warehouse_url, settings.metadata_url),
        engine=DuckDBEngine(memory_limit=settings.engine_memory),
    )


def prepare_database(settings: Settings) -> None:
    """Make the embedded database, or check that a shared one has this program's schema.

    Raises:
        SchemaOutdated: if the schema of a shared database is another one.
        StartRefused: if the pseudonym key is not the one that the database began with.
    """
    if settings.embedded:
        _make_home(settings.home)
        migrate.upgrade(settings.metadata_url)
    database = open_database(settings.metadata_url)
    try:
        if not migrate.is_current(database):
            raise SchemaOutdated(
                "the schema of the database is not the one of this version; run: abplatform db upgrade"
            )
        key = read_pseudonym_key(settings)
        with UnitOfWork(database).begin() as work:
            work.projects.ensure(DEFAULT_PROJECT, now=datetime.now(UTC))
            _check_pseudonym_key(work, key)
    finally:
        database.dispose()


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(f"{home.absolute()} cannot be made ({error.strerror}); set ABPLATFORM_HOME") from None


def _check_pseudonym_key(work: Work, key: bytes) -> None:
    """Refuse another key than the one that this database began with: new events would not join old ones."""
    trace = hmac.digest(key, b"abplatform: which pseudonym key is this?", hashlib.sha256).hex()
    if work.installation.settle("pseudonym_key_check", trace) != trace:
        raise StartRefused(
            "the pseudonym key is not the one that this database began with, so new events would not join old ones; "
            "restore the file pseudonym.key or the variable ABPLATFORM_PSEUDONYM_KEY"
        )


def read_pseudonym_key(settings: Settings) -> bytes:
    """The secret for unit pseudonyms: the setting, else the file in ``home``, made at the first start.

    Raises:
        StartRefused: if others than the owner may read the file, or it is cut short.
    """
    if settings.pseudonym_key:
        return settings.pseudonym_key.encode()
    path = settings.home.absolute() / "pseudonym.key"
    _make_key_file(path)
    if path.stat().st_mode & 0o077:
        raise StartRefused(f"{path} may be read by others than its owner; run: chmod 600 {path}")
    key = path.read_bytes().strip()
    if len(key) < 32:
        raise StartRefused(f"{path} holds no key of at least 32 characters; restore it from a backup")
    return key


def _make_key_file(path: Path) -> None:
    """Write a new key unless there is one; of two processes at once, one wins, and nobody reads half a key."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too, has to survive a power cut
    finally:
        os.close(folder)
