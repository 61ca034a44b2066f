"""Tables with many small files, and what is in them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from abplatform.database import open_database
from abplatform.domain.events import ConversionFact, EventKind, ExposureFact
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import compact
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.removal import expire
from abplatform.warehouse.tables import metadata
from tests.builders import a_conversion_fact, an_exposure_fact, later
from tests.facts import arrow_to_facts

KEEP = timedelta(hours=24)


class Crash(BaseException):
    """The process ends here."""


def crash_at(step: str) -> Callable[[str], None]:
    """A hook that ends the process at a step."""

    def reached(here: str) -> None:
        if here == step:
            raise Crash

    return reached


def hence(**delta: float) -> datetime:
    """A time by the clock that dates commits and files, so far from now: two hours, when files are settled."""
    return datetime.now(UTC) + (timedelta(**delta) if delta else timedelta(hours=2))


def nobody() -> frozenset[str]:
    """No claim is unfinished."""
    return frozenset()


def fill(lake: Lake, kind: EventKind = "exposure", *, commits: int = 3, days: int = 2) -> list[str]:
    """As many commits, each with one event of each of some days; gives all ids in order."""
    make = an_exposure_fact if kind == "exposure" else a_conversion_fact
    for number in range(commits):
        facts = [
            make(f"{number:02}-{day}", unit=f"unit-{number * 7 % 5}", timestamp=later(days=-day)) for day in range(days)
        ]
        append_facts(lake, "default", kind, facts_to_arrow(kind, facts))
    return sorted(f"{number:02}-{day}" for number in range(commits) for day in range(days))


def facts_of(lake: Lake, kind: EventKind = "exposure") -> list[ExposureFact | ConversionFact]:
    """All facts of a table, by event id, read with nothing but pyarrow."""
    tables = [pq.ParquetFile(file.path).read() for file in lake.files("default", kind)]
    facts = [fact for table in tables for fact in arrow_to_facts(kind, table)]
    return sorted(facts, key=lambda fact: fact.event_id)


def ids_of(lake: Lake, kind: EventKind = "exposure") -> list[str]:
    """All event ids of a table, in order."""
    return [fact.event_id for fact in facts_of(lake, kind)]


def stored_files(folder: Path) -> set[str]:
    """Paths of all files below a folder."""
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def tidy(lake: Lake, reached: Callable[[str], None]) -> None:
    """Compact and expire."""
    compact(lake, "default", "exposure", now=hence(), reached=reached)
    expire(lake, "default", "exposure", now=hence(hours=26), keep=KEEP, claimed=nobody, reached=reached)


def tidy_and_die(root: str, url: str, step: str) -> None:
    """The same in a process that is killed when it reaches a step."""

    def reached(here: str) -> None:
        if here == step:
            os.kill(os.getpid(), signal.SIGKILL)

    tidy(Lake(root, url), reached)


@contextmanager
def an_empty_lake(folder: Path) -> Iterator[Lake]:
    """A lake in a folder, for tests that need one per example."""
    with closing(Lake((folder / "lake").as_uri(), a_database_in(folder))) as lake:
        yield lake


def a_database_in(folder: Path) -> str:
    """Address of an SQLite database with the tables of the event path."""
    url = f"sqlite:///{folder / 'platform.db'}"
    engine = open_database(url)
    metadata.create_all(engine)
    engine.dispose()
    return url
