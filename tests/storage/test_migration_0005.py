"""What is kept of units is forgotten on the way down, and nothing else is; claims of sealing go both ways."""

from __future__ import annotations

from datetime import UTC, date, datetime

import sqlalchemy as sa

from abplatform.database import open_database, transaction
from abplatform.domain.aggregates import Covered, KeptUnits
from abplatform.storage import migrate
from abplatform.storage.kept_units import KeptEntry
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.tables import NOBODY, inbox_batch
from tests.builders import NOW, a_draft

KEPT = KeptUnits(
    folder="file:///lake/default/units/1",
    parts={"units": ("units.parquet",), "waiting": ("waiting/part-0.parquet", "waiting/part-1.parquet")},
    exposures=Covered(sequence_number=7, rows=2**40),
    conversions=Covered(sequence_number=0, rows=0),
    settled_before=datetime(2026, 11, 1, 12, tzinfo=UTC),
    first_day=date(2026, 10, 1),
    unknown_variants={"ghost": 3},
)
ENTRY = KeptEntry(
    project="default", experiment="rate-display", phase=1, question="what was asked", rows=2**40, units=KEPT
)

CLAIM = "9b2a6a0e-5f0e-4c1e-9a53-0a7f4c1de001"


def add_rows(engine: sa.Engine) -> None:
    """One row that is claimed, and one that is not, as a process of the earlier release writes it."""
    row = {"project": "default", "kind": "exposure", "received_at": NOW, "count": 1, "payload": b"events"}
    with transaction(engine) as connection:
        connection.execute(inbox_batch.insert(), [row | {"claim": CLAIM}])
        connection.execute(inbox_batch.insert(), [row])


def test_entries_come_back_as_they_were_and_are_forgotten_on_the_way_down(metadata_url: str) -> None:
    engine = open_database(metadata_url)
    try:
        with UnitOfWork(engine).begin() as work:
            work.projects.ensure("default", now=NOW)
            work.experiments.add("default", a_draft())
            work.kept_units.put(ENTRY)
        add_rows(engine)
        with UnitOfWork(engine).reading() as work:
            assert work.kept_units.of_project("default") == (ENTRY,)
        migrate.downgrade(metadata_url, "0004")
        with engine.connect() as connection:
            seals = connection.scalars(sa.text("SELECT coalesce(seal_id, 'free') FROM inbox_batch"))
            assert sorted(seals) == [CLAIM, "free"]
        migrate.upgrade(metadata_url)
        with engine.connect() as connection:
            assert sorted(connection.scalars(sa.select(inbox_batch.c.claim))) == [NOBODY, CLAIM]
        with UnitOfWork(engine).reading() as work:
            assert work.kept_units.find("default", "rate-display", 1) is None
            assert work.experiments.get("default", "rate-display") == a_draft()
    finally:
        engine.dispose()
