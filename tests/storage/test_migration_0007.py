"""Behaviours come with a migration, and go with it; all else stays as it was."""

from __future__ import annotations

from dataclasses import replace

from abplatform.database import open_database
from abplatform.storage import migrate
from abplatform.storage.behaviours import StoredBehaviour
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_behaviour, a_draft, later

FIRST = StoredBehaviour(behaviour=a_behaviour(), as_of=NOW, created_at=NOW)
SECOND = replace(FIRST, behaviour=a_behaviour(name="Second"), as_of=later(days=1), revision=2, version=2)


def test_behaviours_come_and_go_and_what_names_them_stays(metadata_url: str) -> None:
    engine = open_database(metadata_url)
    uow, draft = UnitOfWork(engine), a_draft()
    with uow.begin() as work:
        work.projects.ensure("default", now=NOW)
        work.experiments.add("default", draft)
    for _ in range(2):
        with uow.begin() as work:
            work.behaviours.add("default", FIRST)
            work.behaviours.add_version("default", SECOND, before=FIRST)
        with uow.reading() as work:
            assert work.behaviours.versions("default", "rfm") == (SECOND, FIRST)
        migrate.downgrade(metadata_url, "0006")
        migrate.upgrade(metadata_url)
        with uow.reading() as work:
            assert work.behaviours.all("default") == ()
            assert work.experiments.get("default", draft.key) == draft
    engine.dispose()
