"""The inbox keeps what it acknowledged, and why it refused the rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
import zstandard

from abplatform.database import open_database
from abplatform.domain.events import scalars_as_json
from abplatform.errors import Unavailable
from abplatform.warehouse import rejections
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.payload import pack
from abplatform.warehouse.rejections import MOST_REJECTIONS_KEPT, Rejection
from abplatform.warehouse.tables import inbox_batch, rejected_event
from tests.builders import NOW, a_conversion_fact, an_exposure_fact
from tests.facts import keep, unpack_facts


def test_packed_facts_come_back_equal() -> None:
    attributes = scalars_as_json({"城市": "上海 🐉", "n": 1.5, "yes": True}, "attributes")
    exposures = [an_exposure_fact("é" * 64, attributes=attributes, cluster="c", expected_variant=None)]
    conversions = [
        a_conversion_fact(value=None, units={"device_id": "pseudonym-2"}),
        a_conversion_fact("x", timestamp=NOW + timedelta(microseconds=1)),
    ]

    assert unpack_facts("exposure", pack(facts_to_arrow("exposure", exposures))) == exposures
    assert unpack_facts("conversion", pack(facts_to_arrow("conversion", conversions))) == conversions


def test_conversions_that_an_older_release_packed_have_no_other_units() -> None:
    fact = a_conversion_fact()
    (row,) = msgspec.msgpack.decode(msgspec.msgpack.encode([fact]))
    assert row.pop() == {}, "units stand last"

    assert unpack_facts("conversion", zstandard.compress(msgspec.msgpack.encode([row]))) == [fact]


def test_pending_counts_events_by_project_and_kind(inbox: Inbox) -> None:
    keep(inbox, "default", "exposure", [an_exposure_fact("1"), an_exposure_fact("2")], received_at=NOW)
    keep(inbox, "default", "conversion", [a_conversion_fact("1")], received_at=NOW)
    keep(inbox, "another", "exposure", [an_exposure_fact("1")], received_at=NOW)
    first = inbox.last_batch("default", "exposure")
    keep(inbox, "default", "exposure", [an_exposure_fact("3")], received_at=NOW)

    assert inbox.pending("default") == 4
    assert inbox.pending("default", "exposure") == 3
    assert inbox.pending("default", "exposure", up_to=first) == 2
    assert inbox.pending("nowhere") == 0
    assert inbox.waiting_projects() == ("another", "default")
    assert inbox.last_batch("nowhere", "exposure") is None


def test_rejections_are_kept_up_to_a_cap_and_counted_in_full(inbox: Inbox, database: sa.Engine) -> None:
    refused = [Rejection(index, "BAD_FIELD", "x" * 5000) for index in range(MOST_REJECTIONS_KEPT + 50)]

    keep(inbox, "default", "exposure", [an_exposure_fact()], refused, received_at=NOW)
    keep(inbox, "default", "exposure", [], refused[:1], received_at=NOW)

    with database.connect() as connection:
        rows = connection.execute(sa.select(rejected_event).order_by(rejected_event.c.id)).all()
        batches = connection.execute(sa.select(sa.func.count()).select_from(inbox_batch)).scalar_one()
    assert len(rows) == MOST_REJECTIONS_KEPT + 1
    assert [row.position for row in rows[:3]] == [0, 1, 2]
    assert {len(row.detail) for row in rows} == {500}
    assert inbox.counters("default", "exposure") == {"rejected": 151, "duplicates": 0, "conflicts": 0}
    assert inbox.counters("default", "conversion") == {"rejected": 0, "duplicates": 0, "conflicts": 0}
    assert batches == 1


def test_rejections_with_unstorable_text_are_kept_readably(inbox: Inbox, database: sa.Engine) -> None:
    refused = [
        Rejection(0, "BAD", "a\0b\ud800c", "id\0"),
        Rejection(1, "BAD", "fine", "id-1"),
        Rejection(2, "B", "", ""),
    ]

    keep(inbox, "default", "conversion", [], refused, received_at=NOW)

    with database.connect() as connection:
        query = sa.select(rejected_event.c.detail, rejected_event.c.event_id).order_by(rejected_event.c.id)
        assert list(connection.execute(query)) == [("a\ufffdb\ufffdc", None), ("fine", "id-1"), ("", None)]


def test_old_rejections_make_room_for_new_ones(
    inbox: Inbox, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "MOST_REJECTED_ROWS", 3)
    inbox.trim_rejections()
    keep(inbox, "default", "exposure", [], [Rejection(n, "BAD", "no") for n in range(5)], received_at=NOW)

    inbox.trim_rejections()

    with database.connect() as connection:
        assert list(connection.execute(sa.select(rejected_event.c.position)).scalars()) == [2, 3, 4]


def test_nothing_is_kept_of_a_request_that_could_not_be_kept_whole(inbox: Inbox, database: sa.Engine) -> None:
    too_large = Rejection(2**80, "BAD", "a position that no database holds")

    with pytest.raises((OverflowError, sa.exc.DBAPIError)):
        keep(inbox, "default", "exposure", [an_exposure_fact()], [too_large], received_at=NOW)

    assert inbox.pending("default") == 0
    keep(inbox, "default", "exposure", [an_exposure_fact()], received_at=NOW)
    assert inbox.pending("default") == 1


def test_an_event_is_never_acknowledged_by_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}")  # A folder, not a file.
    with pytest.raises(Unavailable):
        keep(Inbox(engine), "default", "exposure", [an_exposure_fact()], received_at=NOW)
    engine.dispose()
