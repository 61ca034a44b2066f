"""Looks keep what they were computed from: those that are there stay what they were, up, down and up again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from abplatform.database import open_database
from abplatform.storage import migrate
from abplatform.storage.looks import Look
from abplatform.storage.session import UnitOfWork
from tests.builders import NOW, a_decision, a_draft, a_scorecard
from tests.domain.aggregations import an_evidence

EVIDENCE = an_evidence()
FOUND = a_scorecard(cut_off=EVIDENCE.cut_off)
EXPERIMENT = a_draft(
    status="stopped", refresh_every=timedelta(hours=6), decision=a_decision("inconclusive", phase=1, look=1)
)


def test_looks_and_experiments_stay_and_forget_only_what_the_older_schema_has_no_place_for(metadata_url: str) -> None:
    engine = open_database(metadata_url)
    try:
        with UnitOfWork(engine).begin() as work:
            work.projects.ensure("default", now=NOW)
            work.experiments.add("default", EXPERIMENT)
            work.looks.append("default", "rate-display", 1, Look(FOUND, "the data", EVIDENCE))
        for _ in range(2):
            migrate.downgrade(metadata_url, "0003")
            migrate.upgrade(metadata_url)
            with UnitOfWork(engine).reading() as work:
                latest = work.looks.latest("default", "rate-display", 1)
                assert latest == (replace(FOUND, cut_off=None), "the data", None)
                assert work.looks.history("default", "rate-display", 1) == (replace(FOUND, cut_off=None),)
                assert work.experiments.get("default", "rate-display") == replace(EXPERIMENT, refresh_every=None)
    finally:
        engine.dispose()
