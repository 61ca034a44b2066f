"""Sealing: each event once, the first accepted one, in whatever way it was delivered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from abplatform.database import open_database, transaction
from abplatform.services.seal import seal_project
from abplatform.warehouse import dedupe, seal
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.dedupe import DEDUPE_HORIZON, find_sealed, sift
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake, LakeFile
from abplatform.warehouse.layout import Fact, arrow_schema, facts_to_arrow
from abplatform.warehouse.tables import inbox_batch, lease
from tests.builders import NOW, a_conversion_fact, an_exposure_fact, later
from tests.facts import arrow_to_facts, keep
from tests.warehouse.test_lake import rows_of


def test_events_move_from_the_inbox_to_the_lake(database: sa.Engine, inbox: Inbox, lake: Lake) -> None:
    exposures = [an_exposure_fact(str(n), timestamp=later(days=-n)) for n in range(5)]
    conversions = [a_conversion_fact(str(n), value=Decimal(n) / 8) for n in range(3)]
    keep(inbox, "default", "exposure", exposures[:2], received_at=NOW)
    keep(inbox, "default", "exposure", exposures[2:], received_at=NOW)
    keep(inbox, "default", "conversion", conversions, received_at=NOW)

    report = seal_project(database, lake, "default", now=NOW)

    assert report.sealed == {"exposure": 5, "conversion": 3}
    assert report.duplicates == report.conflicts == {"exposure": 0, "conversion": 0}
    assert inbox.pending("default") == 0
    assert rows_of(lake) == exposures
    assert rows_of(lake, "conversion") == conversions


def test_an_id_counts_once_for_ever(database: sa.Engine, inbox: Inbox, lake: Lake) -> None:
    first = an_exposure_fact("same", timestamp=later(days=-9), sent_timestamp=later(days=-9))
    # A clock correction that differs may put it into another day.
    corrected = replace(first, timestamp=later(days=-8))
    for again in (
        first,
        first,
        replace(first, received_at=later(hours=1)),
        replace(first, expected_variant=None),
        corrected,
    ):
        keep(inbox, "default", "exposure", [again, again], received_at=NOW)
        seal_project(database, lake, "default", now=NOW)

    assert rows_of(lake) == [first]
    assert inbox.counters("default", "exposure") == {"rejected": 0, "duplicates": 9, "conflicts": 0}


@pytest.mark.parametrize(
    "change",
    [{"variant": "treatment"}, {"unit": "other"}, {"sent_timestamp": later(days=-3), "timestamp": later(days=-3)}],
)
@pytest.mark.parametrize("together", [True, False])
def test_the_first_of_two_bodies_with_one_id_is_kept(
    database: sa.Engine, inbox: Inbox, lake: Lake, together: bool, change: dict[str, object]
) -> None:
    first = an_exposure_fact("same")
    keep(inbox, "default", "exposure", [first], received_at=NOW)
    if not together:
        seal_project(database, lake, "default", now=NOW)
    keep(inbox, "default", "exposure", [replace(first, **change)], received_at=NOW)

    report = seal_project(database, lake, "default", now=NOW)

    assert rows_of(lake) == [first]
    assert (report.duplicates["exposure"], report.conflicts["exposure"]) == (0, 1)
    assert inbox.counters("default", "exposure")["conflicts"] == 1


def test_one_id_may_name_an_exposure_and_a_conversion_and_something_in_another_project(
    database: sa.Engine, inbox: Inbox, lake: Lake
) -> None:
    keep(inbox, "default", "exposure", [an_exposure_fact("same")], received_at=NOW)
    keep(inbox, "default", "conversion", [a_conversion_fact("same")], received_at=NOW)
    keep(inbox, "another", "exposure", [an_exposure_fact("same", variant="treatment")], received_at=NOW)

    for project in ("default", "another"):
        seal_project(database, lake, project, now=NOW)

    assert len(rows_of(lake)) == len(rows_of(lake, "conversion")) == len(rows_of(lake, project="another")) == 1


def test_a_retry_whose_clock_correction_differs_is_a_duplicate() -> None:
    first = a_conversion_fact("same", timestamp=NOW)
    again = replace(first, timestamp=later(seconds=90), received_at=later(seconds=95))
    other = replace(first, value=Decimal("350.000001"))
    elsewhere = replace(first, units={"device_id": "pseudonym-2"})

    assert sifted([first, again, other, elsewhere], []) == ([first], 1, 2)
    assert sifted([again, other, elsewhere], [first]) == ([], 1, 2)


def sifted(facts: list[Fact], sealed: list[Fact]) -> tuple[list[Fact], int, int]:
    outcome = sift("conversion", facts_to_arrow("conversion", facts), facts_to_arrow("conversion", sealed))
    return arrow_to_facts("conversion", outcome.kept), outcome.duplicates, outcome.conflicts


@pytest.mark.parametrize("seed", range(3))
def test_sifting_is_what_going_through_the_events_one_by_one_would_be(seed: int) -> None:
    rng = random.Random(seed)
    events = [a_conversion_fact(f"{rng.randrange(30)}", value=Decimal(rng.randrange(2))) for _ in range(90)]
    sealed = [a_conversion_fact(str(number), value=Decimal(1)) for number in range(10)]
    known, kept, same = {fact.event_id: fact for fact in sealed}, [], 0
    for event in events:
        same += known.get(event.event_id) == event
        if event.event_id not in known:
            known[event.event_id] = event
            kept.append(event)

    assert sifted(events, sealed) == (kept, same, 90 - len(kept) - same)


def test_a_project_with_an_empty_inbox_needs_no_table(database: sa.Engine, lake: Lake) -> None:
    report = seal_project(database, lake, "default", now=NOW)

    assert report.sealed == {"exposure": 0, "conversion": 0}
    assert lake.find("default", "exposure") is None


def test_a_large_inbox_is_sealed_in_bounded_claims(
    database: sa.Engine, inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "MOST_BATCHES", 3)
    monkeypatch.setattr(seal, "MOST_EVENTS", 5)
    monkeypatch.setattr(seal, "MOST_BYTES", 50_000)
    large = {"note": "x" * 30_000}
    facts = [an_exposure_fact(f"{n:02}", attributes=large if n > 29 else {}) for n in range(33)]
    for size, start in ((7, 0), (1, 7), (4, 8), (1, 12), (1, 13), (16, 14), (1, 30), (2, 31)):
        keep(inbox, "default", "exposure", facts[start : start + size], received_at=NOW)

    report = seal_project(database, lake, "default", now=NOW)

    assert report.sealed["exposure"] == 33
    assert rows_of(lake) == facts
    # 7 (more than the bound, but a batch is never split) | 1 + 4 | 1 + 1 | 16 | 30 kB | 60 kB
    assert len({file.committed_at for file in lake.files("default", "exposure")}) == 6


def test_claims_of_large_events_take_little_memory(
    sqlite_url: str, local_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they compress to; a claim of all of them would take more than their 40 MB."""
    monkeypatch.setattr(seal, "MOST_BYTES", 4_000_000)
    database, inbox = _open(sqlite_url)
    for number in range(80):
        batch = [a_conversion_fact(f"{number}-{n}", properties={"note": "x" * 10_000}) for n in range(50)]
        keep(inbox, "default", "conversion", batch, received_at=NOW)
    # One that nobody else takes memory from.
    usual, pool = pa.default_memory_pool(), pa.system_memory_pool()
    assert usual.backend_name != pool.backend_name
    pa.set_memory_pool(pool)
    try:
        report = seal_project(database, local_lake, "default", now=NOW)
    finally:
        pa.set_memory_pool(usual)
        database.dispose()

    assert report.sealed["conversion"] == 4_000
    assert pool.max_memory() < 4 * seal.MOST_BYTES
    # 7 batches each, the last one 3.
    assert len({file.committed_at for file in local_lake.files("default", "conversion")}) == 12


def test_files_that_the_lake_got_before_the_horizon_are_not_searched(
    database: sa.Engine, inbox: Inbox, lake: Lake
) -> None:
    keep(inbox, "default", "exposure", [an_exposure_fact("same", timestamp=later(days=-300))], received_at=NOW)
    seal_project(database, lake, "default", now=NOW)
    (file,) = lake.files("default", "exposure")
    assert file.committed_at is not None

    inside = find([file], ["same"], oldest=file.committed_at)
    outside = find([file], ["same"], oldest=file.committed_at + timedelta(microseconds=1))
    whole_history = find([file], ["same"], oldest=None)

    assert (inside, outside, whole_history) == (["same"], [], ["same"])


def test_only_imports_are_compared_with_all_history(database: sa.Engine, inbox: Inbox, lake: Lake) -> None:
    fact = an_exposure_fact("same", timestamp=later(days=-300))
    after_the_horizon = datetime.now(UTC) + DEDUPE_HORIZON + timedelta(hours=1)
    sealed = []
    for whole_history in (False, True, False):
        rows = facts_to_arrow("exposure", [fact])
        inbox.add("default", "exposure", rows, received_at=NOW, whole_history=whole_history)
        sealed.append(seal_project(database, lake, "default", now=after_the_horizon).sealed["exposure"])

    assert sealed == [1, 0, 1]


def find(files: Sequence[LakeFile], ids: list[str], *, oldest: datetime | None) -> list[str]:
    """Ids of the exposures that were found."""
    found = find_sealed("exposure", files, pa.chunked_array([ids], pa.string()), oldest=oldest)
    assert found.schema == arrow_schema("exposure")
    return sorted(found["event_id"].to_pylist())


def test_statistics_spare_files_and_never_decide(
    database: sa.Engine, inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 40
    ids = [f"{long}-b", f"{long}-d", f"{long}-\U0010ffff"]
    keep(inbox, "default", "exposure", [an_exposure_fact(id_) for id_ in ids], received_at=NOW)
    seal_project(database, lake, "default", now=NOW)
    files = lake.files("default", "exposure")

    assert find(files, [*ids, f"{long}-c"], oldest=None) == sorted(ids)

    monkeypatch.setattr(dedupe, "open_duckdb", _refuse)
    assert find(files, ["a", f"{long}-a"], oldest=None) == []
    assert find(files, [f"{long}-\U0010ffff\U0010ffff"], oldest=None) == []
    with pytest.raises(AssertionError):
        find(files, [f"{long}-c"], oldest=None)


@pytest.mark.parametrize("few", [8, 3])
def test_any_id_is_found_in_whichever_file_it_is(local_lake: Lake, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(dedupe, "_FEW_FILES", few)
    # Five files with even numbers: some bounds overlap, and between others there is room.
    numbers = [range(0, 10, 2), range(4, 14, 2), range(20, 30, 2), range(40, 44, 2), range(40, 60, 8)]
    for file in numbers:
        append_facts(
            local_lake, "default", "exposure", facts_to_arrow("exposure", [an_exposure_fact(f"{n:02}") for n in file])
        )
    files = local_lake.files("default", "exposure")

    asked = [{n} for n in range(62)] + [set(range(first, 62, 7)) for first in range(7)] + [set(range(62))]
    for wanted in asked:
        there = sorted(f"{n:02}" for file in numbers for n in file if n in wanted)
        assert find(files, [f"{n:02}" for n in wanted], oldest=None) == there


def _refuse() -> None:
    raise AssertionError("a file was read")


@pytest.mark.parametrize("seed", range(4))
def test_the_way_of_delivery_does_not_matter(tmp_path: Path, sqlite_url: str, seed: int) -> None:
    rng = random.Random(seed)
    facts = [
        an_exposure_fact(f"{rng.randrange(16**8):08x}", unit=f"u{n % 9}", timestamp=later(hours=-rng.randrange(90)))
        for n in range(60)
    ]
    database, inbox = _open(sqlite_url)
    lake = Lake((tmp_path / "lake").as_uri(), sqlite_url)
    for batch in _deliveries(rng, facts):
        keep(inbox, "default", "exposure", batch, received_at=NOW)
        if rng.random() < 0.2:
            seal_project(database, lake, "default", now=NOW)
    seal_project(database, lake, "default", now=NOW)

    assert rows_of(lake) == sorted(facts, key=lambda fact: fact.event_id)
    lake.close()
    database.dispose()


def _deliveries(rng: random.Random, facts: Sequence[Fact]) -> list[list[Fact]]:
    parcels = [*facts, *facts, *rng.choices(facts, k=len(facts))]
    rng.shuffle(parcels)
    batches = []
    while parcels:
        size = rng.choice([1, 1, 2, 5, 40])
        batches.append(parcels[:size])
        parcels = parcels[size:]
    return batches


def test_another_sealer_is_waited_for_and_then_replaced(sqlite_url: str, tmp_path: Path) -> None:
    database, inbox = _open(sqlite_url)
    lake = Lake((tmp_path / "lake").as_uri(), sqlite_url)
    keep(inbox, "default", "exposure", [an_exposure_fact("1")], received_at=NOW)
    with transaction(database) as connection:
        row = {
            "name": "seal:default:exposure",
            "holder": "dead",
            "expires_at": datetime.now(UTC) + timedelta(seconds=0.5),
        }
        connection.execute(lease.insert(), row)

    assert seal_project(database, lake, "default", now=NOW, patience=0).sealed["exposure"] == 0
    assert seal_project(database, lake, "default", now=NOW).sealed["exposure"] == 1
    with database.connect() as connection:
        assert connection.execute(sa.select(lease)).all() == []
    lake.close()
    database.dispose()


def test_batches_that_arrive_meanwhile_do_not_hold_the_caller(
    database: sa.Engine, inbox: Inbox, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "MOST_BATCHES", 1)
    find = dedupe.find_sealed

    def one_more_arrives(*args: object, **named: object) -> dict[str, Fact]:
        with database.connect() as connection:
            number = connection.execute(sa.select(sa.func.max(inbox_batch.c.id))).scalar_one()
        keep(inbox, "default", "exposure", [an_exposure_fact(f"late-{number}")], received_at=NOW)
        return find(*args, **named)

    monkeypatch.setattr(seal, "find_sealed", one_more_arrives)
    for name in ("a", "b"):
        keep(inbox, "default", "exposure", [an_exposure_fact(name)], received_at=NOW)

    assert seal_project(database, lake, "default", now=NOW).sealed["exposure"] == 2
    assert inbox.pending("default") == 2


def _open(url: str) -> tuple[sa.Engine, Inbox]:
    database = open_database(url)
    return database, Inbox(database)
