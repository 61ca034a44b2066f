"""Exposures that the server logs itself: what is kept, how often, and what happens if nothing can be kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from abplatform.assignment import Evaluation, Snapshot, decode_snapshot, evaluate
from abplatform.database import open_database
from abplatform.domain.events import ExposureFact
from abplatform.services import expose, live, publish
from abplatform.services.expose import Call, ExposureLog, Logged
from abplatform.services.ingest import Intake
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.tables import inbox_batch
from tests.builders import NOW, an_experiment, later
from tests.facts import unpack_facts
from tests.services.lives import lead

AGE = later(days=30) - NOW


def a_call(unit_id: str | None = "u-1", units: dict[str, str] | None = None, **attributes: Any) -> Call:
    return Call(unit_id=unit_id, units=units or {}, attributes=attributes)


class Desk:
    """A running experiment ``rate-display``, and the log of what is evaluated of it."""

    def __init__(self, uow: UnitOfWork, database: sa.Engine, inbox: Inbox) -> None:
        self.uow = uow
        self._database = database
        self.log = ExposureLog(Intake(uow, inbox, pseudonym_key=b"key", max_age=AGE))

    @property
    def snapshot(self) -> Snapshot:
        with self.uow.reading() as work:
            return decode_snapshot(publish.read_snapshot(work, "default").document)

    def expose(self, *calls: Call, now: datetime = NOW, keys: Iterable[str] = ("rate-display",)) -> list[Logged]:
        """Evaluate each call and log its exposures."""
        return [self.log.log(self.snapshot, call, self.evaluated(call, keys), now=now) for call in calls]

    def evaluated(self, call: Call, keys: Iterable[str]) -> list[Evaluation]:
        return [evaluate(self.snapshot, key, call.unit_id, call.attributes, units=call.units) for key in keys]

    def kept(self) -> list[ExposureFact]:
        with self._database.connect() as connection:
            rows = connection.execute(sa.select(inbox_batch).order_by(inbox_batch.c.id))
            return [
                fact for row in rows for fact in unpack_facts(row.kind, row.payload) if isinstance(fact, ExposureFact)
            ]


def start(uow: UnitOfWork, key: str = "rate-display", **changes: Any) -> None:
    lead(uow, an_experiment(key, **changes), "start")


@pytest.fixture(name="desk")
def _desk(uow: UnitOfWork, database: sa.Engine) -> Desk:
    start(uow)
    return Desk(uow, database, Inbox(database))


def test_an_exposure_is_kept_as_if_the_product_had_sent_it(desk: Desk) -> None:
    (logged,) = desk.expose(a_call(channel="douyin", phone="13800000000"))
    assert logged == Logged(kept=1)
    (fact,) = desk.kept()
    (evaluation,) = desk.evaluated(a_call(), ["rate-display"])
    assert (fact.experiment, fact.phase, fact.variant) == ("rate-display", 1, evaluation.variant)
    assert fact.expected_variant == fact.variant
    assert fact.attributes == {"channel": '"douyin"'}
    assert (fact.timestamp, fact.sent_timestamp, fact.received_at) == (NOW, NOW, NOW)
    assert "u-1" not in str(fact)


def test_the_same_exposure_is_kept_once_an_hour(desk: Desk) -> None:
    call = a_call()
    assert desk.expose(call, call, a_call(channel="app")) == [Logged(kept=1), Logged(repeated=1), Logged(repeated=1)]
    assert desk.expose(a_call("u-2")) == [Logged(kept=1)]
    assert desk.expose(call, now=later(hours=1)) == [Logged(kept=1)]
    assert len({fact.event_id for fact in desk.kept()}) == 3


def test_the_memory_of_exposures_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expose, "MOST_REMEMBERED", 3)
    assert desk.expose(*(a_call(f"u-{number}") for number in range(4))) == [Logged(kept=1)] * 4
    assert desk.expose(a_call("u-3"), a_call("u-0")) == [Logged(repeated=1), Logged(kept=1)]


def test_who_is_not_in_the_experiment_is_not_exposed(desk: Desk) -> None:
    start(desk.uow, "targeted", targeting={"country": "CN"})
    assert desk.expose(a_call(), keys=["targeted", "unknown"]) == [Logged()]
    assert desk.expose(a_call(None)) == [Logged()]
    assert desk.kept() == []


@pytest.mark.parametrize("value", [None, [], {}, "x" * 1025, 2**63, 10**60])
def test_a_dimension_that_events_cannot_hold_does_not_cost_the_exposure(desk: Desk, value: Any) -> None:
    assert desk.expose(a_call(channel=value)) == [Logged(kept=1)]
    assert desk.kept()[0].attributes == {}


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (7, "7"), (1.5, "1.5"), ("", '""'), (2**63 - 1, str(2**63 - 1))]
)
def test_a_dimension_keeps_its_type(desk: Desk, value: Any, text: str) -> None:
    desk.expose(a_call(channel=value))
    assert desk.kept()[0].attributes == {"channel": text}


def test_many_experiments_take_one_write_and_more_than_a_batch_some(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        start(desk.uow, f"e-{number}")
    keys = [f"e-{number}" for number in range(4)]
    assert desk.expose(a_call(), keys=keys) == [Logged(kept=4)]
    monkeypatch.setattr(expose, "MOST_EVENTS", 3)
    assert desk.expose(a_call("u-2"), keys=keys) == [Logged(kept=4)]
    assert {fact.experiment for fact in desk.kept()} == set(keys)
    assert len(desk.kept()) == 8


def test_an_archived_experiment_takes_no_more_exposures(desk: Desk) -> None:
    snapshot, call = desk.snapshot, a_call()
    evaluations = desk.evaluated(call, ["rate-display"])
    with desk.uow.begin() as work:
        for step in ("stop", "archive"):
            live.take_step(work, "default", "rate-display", step, now=NOW)
    assert desk.log.log(snapshot, call, evaluations, now=NOW) == Logged(rejected=1)
    assert desk.kept() == []


def test_without_room_for_it_an_exposure_is_lost_and_counted_and_nothing_is_raised(
    desk: Desk, uow: UnitOfWork, database: sa.Engine, tmp_path: Path
) -> None:
    broken = open_database(f"sqlite:///{tmp_path}")  # a folder: it cannot be opened
    failing = Desk(uow, database, Inbox(broken))
    assert failing.expose(a_call(), a_call()) == [Logged(lost=1), Logged(lost=1)], "what was lost is tried again"
    assert desk.expose(a_call()) == [Logged(kept=1)]
    broken.dispose()


def test_an_exposure_needs_no_id_of_the_default_type_where_devices_are_counted(desk: Desk) -> None:
    start(desk.uow, "by-device", unit_type="device_id")
    anonymous, known = a_call(None, {"device_id": "d-1"}), a_call("u-1", {"device_id": "d-1", "household_id": "h-1"})
    assert desk.expose(anonymous, known, keys=["by-device"]) == [Logged(kept=1), Logged(kept=1)]
    facts = desk.kept()
    assert [fact.variant for fact in facts] == [fact.expected_variant for fact in facts]
    assert len({fact.unit for fact in facts}) == 1
