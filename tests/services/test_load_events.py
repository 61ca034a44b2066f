"""Events of a table count as those that come over HTTP, once, whatever came before."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import parquet

from abplatform.domain.audit import Actor, AuditEntry
from abplatform.domain.experiment import Variant
from abplatform.domain.pseudonym import pseudonymise
from abplatform.errors import InvalidInput
from abplatform.services import define, hold_out, live
from abplatform.services.ingest import Intake
from abplatform.services.load import EventRequest, LoadReport, LoadTarget, Origin, load, load_events
from abplatform.services.read_table.source import RowFault
from abplatform.services.seal import SealReport, seal_project
from abplatform.storage.session import UnitOfWork
from abplatform.warehouse.inbox import Inbox
from abplatform.warehouse.lake import Lake
from abplatform.warehouse.layout import arrow_schema
from tests.builders import NOW, a_holdout, a_plan, an_experiment, an_external_experiment, later
from tests.cli.tables import write_csv

SECRET = b"a pseudonym key for tests, 32+ characters"
ACTOR = Actor(os_user="tester", name="Li Na", reason="history")
BY_BRANCH = an_experiment("by-branch", unit_type="branch", analysis_unit="user_id", plan=a_plan(method="fixed"))
UNITS = [f"unit {number} \u5f20\u4e09" for number in range(60)]


class Desk:
    """A platform that takes events both ways."""

    def __init__(self, uow: UnitOfWork, database: sa.Engine, lake: Lake) -> None:
        self.uow, self.lake, self.inbox = uow, lake, Inbox(database)
        self.intake = Intake(uow, self.inbox, pseudonym_key=SECRET, max_age=timedelta(days=400))
        self.sealed_at = datetime.now(UTC)
        self.oldest = datetime(1970, 1, 1, tzinfo=UTC)
        self._database = database

    def start(self, definition: Any) -> None:
        with self.uow.begin() as work:
            define.create_experiment(work, "default", definition, now=NOW)
            live.take_step(work, "default", definition.key, "start", now=NOW)

    def send(self, kind: str, *events: dict[str, Any]) -> None:
        take = self.intake.take_conversions if kind == "conversion" else self.intake.take_exposures
        report = take("default", json.dumps({"events": events}).encode(), received_at=NOW)
        assert report.rejected == ()

    def seal(self) -> SealReport:
        return seal_project(self._database, self.lake, "default", now=self.sealed_at)

    def load(self, request: EventRequest, on_fault: Callable[[RowFault], None] = lambda _: None) -> LoadReport:
        target = LoadTarget(
            uow=self.uow, inbox=self.inbox, project="default", secret=SECRET, seal=self.seal, oldest=self.oldest
        )
        return load_events(target, request, actor=ACTOR, clock=lambda: NOW, on_fault=on_fault)

    def faults(self, request: EventRequest) -> list[tuple[int, str, str | None]]:
        found: list[RowFault] = []
        report = self.load(request, found.append)
        codes = [(fault.row, fault.code, fault.column) for fault in found]
        assert report.refused == Counter(code for _, code, _ in codes)
        return codes

    def facts(self, kind: Any) -> dict[str, dict[str, Any]]:
        """What is in the lake, by event id."""
        self.seal()
        files = self.lake.files("default", kind)
        parts = [parquet.read_table(file.path.removeprefix("file://"), schema=arrow_schema(kind)) for file in files]
        rows = [row for part in parts for row in part.to_pylist()]
        assert len({row["event_id"] for row in rows}) == len(rows)
        return {row["event_id"]: row for row in rows}


@pytest.fixture
def desk(uow: UnitOfWork, database: sa.Engine, metadata_url: str, tmp_path: Path) -> Iterator[Desk]:
    lake = Lake((tmp_path / "lake").as_uri(), metadata_url)
    yield Desk(uow, database, lake)
    lake.close()


def conversions(path: Path, **changes: Any) -> EventRequest:
    defaults: dict[str, Any] = {
        "path": path,
        "kind": "conversion",
        "unit": "who",
        "timestamp": "at",
        "event": Origin(constant="purchase"),
    }
    return EventRequest(**defaults | changes)


def exposures(path: Path, **changes: Any) -> EventRequest:
    defaults: dict[str, Any] = {
        "path": path,
        "kind": "exposure",
        "unit": "who",
        "timestamp": "at",
        "experiment": Origin(constant="rate-display"),
        "variant": "arm",
    }
    return EventRequest(**defaults | changes)


def alike(desk: Desk, kind: Any, sent: str, loaded: str, *, uncounted: Collection[str] = ()) -> None:
    """The events whose ids begin so, sent and loaded, lie in the lake as the same rows.

    But for the ids of types that nothing counts by: HTTP forgets them, and an import keeps them.
    """
    facts = desk.facts(kind)
    for fact in (fact for name, fact in facts.items() if name[0] == loaded and uncounted):
        assert {type_ for type_, _ in fact["units"]} & set(uncounted)
        fact["units"] = [each for each in fact["units"] if each[0] not in uncounted] or None
    rows = {
        start: [
            fact | {"event_id": name.removeprefix(start)} for name, fact in sorted(facts.items()) if name[0] == start
        ]
        for start in (sent, loaded)
    }
    assert len(rows[sent]) > 0
    assert rows[sent] == rows[loaded]


# The rows of the lake: what HTTP makes of the same events is the source of what is expected.


def test_conversions_of_a_table_lie_in_the_lake_as_those_of_http(desk: Desk, tmp_path: Path) -> None:
    desk.start(an_experiment("by-device", unit_type="device_id"))
    amounts = ["12.5", "-0.000001", "99999999999999.999999", "1e3", "0", None]
    events: list[dict[str, Any]] = [
        {
            "event": f"\u8d2d\u4e70 {number % 2}",
            "unit_id": UNITS[number],
            "timestamp": f"2026-0{1 + number}-03T10:00:0{number}+08:00",
            "properties": {"product": f'a "{number}"', "days": number * 30, "vip": number > 2},
            "units": {"device_id": f"d{number}", "cookie": f"c{number}"},
        }
        for number in range(len(amounts))
    ]
    sent = [event | {"event_id": f"h{n}", "value": amounts[n]} for n, event in enumerate(events)]
    desk.send("conversion", *({key: value for key, value in event.items() if value is not None} for event in sent))
    header = ("id", "what", "who", "at", "amount", "product", "days", "vip", "device", "cookie")
    rows = [
        (
            f"i{n}",
            event["event"],
            event["unit_id"],
            event["timestamp"],
            amounts[n],
            *event["properties"].values(),
            *event["units"].values(),
        )
        for n, event in enumerate(events)
    ]
    request = conversions(
        write_csv(tmp_path / "e.csv", header, *rows),
        event_id="id",
        event=Origin(column="what"),
        value="amount",
        properties={"product": "product", "days": "days", "vip": "vip"},
        types={"days": "number", "vip": "boolean"},
        other_units={"device_id": "device", "cookie": "cookie"},
    )
    assert desk.load(request).taken == len(amounts)
    alike(desk, "conversion", "h", "i", uncounted=["cookie"])
    kept = desk.facts("conversion")["i0"]
    assert kept["units"] == [
        (type_, pseudonymise(SECRET, type_, id_)) for type_, id_ in (("device_id", "d0"), ("cookie", "c0"))
    ]


def test_a_conversion_without_the_usual_id_lies_under_the_first_of_the_others(desk: Desk, tmp_path: Path) -> None:
    time = "2026-03-03T10:00:00Z"
    shared = {"event": "purchase", "timestamp": time}
    desk.send("conversion", shared | {"event_id": "h0", "units": {"b": "2", "a": "1"}})
    desk.send("conversion", shared | {"event_id": "h1", "units": {"b": "2"}})
    rows = [("i0", "", time, "2", "1"), ("i1", "", time, "2", ""), ("i2", "", time, "", "")]
    table = write_csv(tmp_path / "e.csv", ("id", "who", "at", "b", "a"), *rows)
    request = conversions(table, event_id="id", other_units={"b": "b", "a": "a"})
    assert desk.faults(request) == [(3, "MISSING_FIELD", "who")]
    alike(desk, "conversion", "h", "i", uncounted=["b", "a"])
    assert [name for name, _ in desk.facts("conversion")["i0"]["units"]] == ["b", "a"]


def test_exposures_of_a_table_are_compared_with_the_draws_as_those_of_http(desk: Desk, tmp_path: Path) -> None:
    with desk.uow.begin() as work:
        hold_out.create_holdout(work, "default", a_holdout(share=0.3), now=NOW)
    desk.start(an_experiment(coverage=0.5))
    desk.start(an_external_experiment(covariates=("balance",)))
    desk.start(BY_BRANCH)
    with desk.uow.begin() as work:
        again = live.PhaseRequest(changes={"variants": (Variant(key="control"), Variant(key="new"))}, reason="again")
        live.open_phase(work, "default", "rate-display", again, now=later(hours=1))
    events: list[dict[str, Any]] = [
        {
            "experiment": ("rate-display", "imported", "by-branch")[number % 3],
            "phase": 1 + (number % 2 if number % 3 == 0 else 0),
            "variant": "control",
            "unit_id": unit,
            "timestamp": NOW.isoformat(),
            "units": {"branch": f"b{number % 5}"},
            "attributes": {"channel": "douyin", "balance": number / 2, "secret": "not declared"},
        }
        for number, unit in enumerate(UNITS)
    ]
    desk.send("exposure", *(event | {"event_id": f"h{number}"} for number, event in enumerate(events)))
    header = ("id", "key", "phase", "arm", "who", "at", "branch", "channel", "balance", "secret")
    rows = [
        (
            f"i{number}",
            *(event[name] for name in ("experiment", "phase", "variant", "unit_id", "timestamp")),
            event["units"]["branch"],
            *event["attributes"].values(),
        )
        for number, event in enumerate(events)
    ]
    request = exposures(
        write_csv(tmp_path / "e.csv", header, *rows),
        event_id="id",
        experiment=Origin(column="key"),
        phase="phase",
        other_units={"branch": "branch"},
        properties={"channel": "channel", "balance": "balance", "secret": "secret"},
        types={"balance": "number"},
    )
    assert desk.load(request).taken == len(UNITS)
    alike(desk, "exposure", "h", "i")
    expected = Counter(fact["expected_variant"] for fact in desk.facts("exposure").values())
    assert set(expected) == {None, "", "control", "treatment", "new"}, expected


def test_wrong_exposures_are_named_by_the_codes_of_http(desk: Desk, tmp_path: Path) -> None:
    desk.start(an_experiment())
    desk.start(BY_BRANCH)
    with desk.uow.begin() as work:
        define.create_experiment(work, "default", an_experiment("draft"), now=NOW)
    at = NOW.isoformat()
    rows = [
        ("rate-display", "", "control", "u", at),
        ("nothing", "", "control", "u", at),
        ("draft", "", "control", "u", at),
        ("rate-display", "2", "control", "u", at),
        ("rate-display", "x", "control", "u", at),
        ("rate-display", "1", "blue", "u", at),
        ("by-branch", "1", "control", "u", at),
        ("rate-display", "1", "", "u", at),
        ("rate-display", "1", "control", "", at),
        ("", "1", "control", "u", at),
    ]
    table = write_csv(tmp_path / "e.csv", ("key", "phase", "arm", "who", "at"), *rows)
    assert desk.faults(exposures(table, experiment=Origin(column="key"), phase="phase")) == [
        (2, "UNKNOWN_EXPERIMENT", "key"),
        (3, "NOT_STARTED", "key"),
        (4, "BAD_PHASE", "phase"),
        (5, "BAD_FIELD", "phase"),
        (6, "UNKNOWN_VARIANT", "arm"),
        (7, "MISSING_FIELD", None),
        (8, "MISSING_FIELD", "arm"),
        (9, "MISSING_FIELD", "who"),
        (10, "MISSING_FIELD", "key"),
    ]
    assert desk.inbox.counters("default", "exposure")["rejected"] == 9
    with pytest.raises(InvalidInput, match="--experiment-key: 'draft': is a draft"):
        desk.load(exposures(table, experiment=Origin(constant="draft")))


@pytest.mark.parametrize("option", ["experiment", "phase"])
def test_a_column_that_names_far_too_much_is_refused_with_little_memory(
    desk: Desk, tmp_path: Path, option: str
) -> None:
    """Each row has its own text: a mask for each would be 2.5 GB, of which numpy tells `tracemalloc`."""
    desk.start(an_experiment())
    rows = [("control", f"u{number}", NOW.isoformat(), number) for number in range(50_000)]
    table = write_csv(tmp_path / "e.csv", ("arm", "who", "at", "n"), *rows)
    mapping = {"experiment": Origin(column="n")} if option == "experiment" else {"phase": "n"}
    tracemalloc.start()
    with pytest.raises(InvalidInput, match=f"--{option}: 'n' has 50,000 different values .* such as 'rate-display'"):
        desk.load(exposures(table, **mapping))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100_000_000
    assert desk.facts("exposure") == {}


def test_many_names_that_are_not_there_are_left_out_row_by_row(desk: Desk, tmp_path: Path) -> None:
    desk.start(an_experiment())
    rows = [
        ("rate-display" if n % 2 else f"old-{n}", str(n % 3), "control", f"u{n}", NOW.isoformat()) for n in range(999)
    ]
    table = write_csv(tmp_path / "e.csv", ("key", "phase", "arm", "who", "at"), *rows)
    report = desk.load(exposures(table, experiment=Origin(column="key"), phase="phase"))
    known = Counter("BAD_PHASE" if n % 3 != 1 else "" for n in range(1, 999, 2))
    assert (report.taken, report.refused) == (
        known[""],
        {"UNKNOWN_EXPERIMENT": 500, "BAD_PHASE": known["BAD_PHASE"]},
    )


# Once, whatever came before.


def two_purchases(tmp_path: Path) -> EventRequest:
    rows = [("e1", "u1", "2026-03-03T10:00:00Z", "5"), ("e2", "u2", "2026-03-04T10:00:00Z", "6")]
    return conversions(
        write_csv(tmp_path / "e.csv", ("id", "who", "at", "amount"), *rows), event_id="id", value="amount"
    )


SENT = [
    {"event_id": "e1", "event": "purchase", "unit_id": "u1", "timestamp": "2026-03-03T10:00:00Z", "value": 5},
    {"event_id": "e2", "event": "purchase", "unit_id": "u2", "timestamp": "2026-03-04T10:00:00Z", "value": 7},
]


def test_what_came_over_http_long_ago_is_not_taken_again(desk: Desk, tmp_path: Path) -> None:
    """The second one says another amount: a conflict, and the first stays."""
    desk.send("conversion", *SENT)
    before = desk.facts("conversion")
    desk.sealed_at += timedelta(days=400)
    report = desk.load(two_purchases(tmp_path))
    assert (report.taken, report.new, report.sealed.duplicates, report.sealed.conflicts) == (2, 0, 1, 1)
    assert desk.facts("conversion") == before


def test_what_was_loaded_counts_once_when_it_comes_over_http(desk: Desk, tmp_path: Path) -> None:
    desk.load(two_purchases(tmp_path))
    before = desk.facts("conversion")
    desk.send("conversion", *SENT)
    assert desk.facts("conversion") == before
    assert desk.inbox.counters("default", "conversion") == {"rejected": 0, "duplicates": 1, "conflicts": 1}


def test_a_table_counts_once_though_its_rows_have_no_ids(desk: Desk, tmp_path: Path) -> None:
    """Two equal rows are two events; the order of rows and of properties is no matter."""
    rows = [("u1", "2026-03-03T10:00:00Z", "5", "a", "b")] * 2 + [("u1", "2026-03-03T10:00:00.000001Z", "5", "a", "")]
    header = ("who", "at", "amount", "p", "q")
    first = write_csv(tmp_path / "1.csv", header, *rows)
    second = write_csv(tmp_path / "2.csv", header, *reversed(rows))
    desk.load(conversions(first, value="amount", properties={"p": "p", "q": "q"}))
    before = desk.facts("conversion")
    assert len(before) == 3
    desk.sealed_at += timedelta(days=400)
    desk.load(conversions(second, value="amount", properties={"q": "q", "p": "p"}))
    assert desk.facts("conversion") == before


def test_an_interrupted_import_goes_on_where_it_ended(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PIECE_ROWS", 2)
    rows = [("u1" if number != 4 else "", "2026-03-03T10:00:00Z", number % 3) for number in range(9)]
    request = conversions(write_csv(tmp_path / "e.csv", ("who", "at", "amount"), *rows), value="amount")

    def interrupt(_: RowFault) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.load(request, interrupt)
    assert len(desk.facts("conversion")) == 4
    began, ended = trail(desk)
    assert (ended.action, ended.details["entry"]) == ("import-events-failed", began.id)
    assert (ended.details["error"], ended.details["taken"]) == ("KeyboardInterrupt", 4)
    assert desk.load(request).taken == 8
    there = desk.facts("conversion")
    assert sorted(fact["value"] for fact in there.values()) == [0, 0, 0, 1, 1, 2, 2, 2]
    desk.load(request)
    assert desk.facts("conversion") == there


def test_the_inbox_stays_small_and_a_worker_may_help(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most one piece more than sealing takes at once waits, and two sealers count nothing twice."""
    monkeypatch.setattr(load, "PIECE_ROWS", 2)
    monkeypatch.setattr(load, "MOST_EVENTS", 4)
    waiting: list[int] = []
    seal = desk.seal

    def seal_beside_a_worker() -> SealReport:
        waiting.append(desk.inbox.pending("default", "conversion"))
        with ThreadPoolExecutor(1) as worker:
            other = worker.submit(seal)
            report = seal()
            other.result()
        return report

    monkeypatch.setattr(desk, "seal", seal_beside_a_worker)
    rows = [(f"u{number}", "2026-03-03T10:00:00Z") for number in range(13)]
    assert desk.load(conversions(write_csv(tmp_path / "e.csv", ("who", "at"), *rows))).taken == 13
    assert waiting[:4] == [4, 4, 4, 1]
    monkeypatch.setattr(desk, "seal", seal)
    assert len(desk.facts("conversion")) == 13
    assert desk.inbox.counters("default", "conversion")["duplicates"] == 0


def test_an_import_seals_a_full_inbox_and_goes_on(desk: Desk, database: sa.Engine, tmp_path: Path) -> None:
    moment = "2026-03-03T10:00:00Z"
    sent = [{"event_id": str(number), "event": "x", "unit_id": "u", "timestamp": moment} for number in range(4)]
    desk.send("conversion", *sent)
    desk.inbox = Inbox(database, most_waiting=4)

    assert desk.load(conversions(write_csv(tmp_path / "e.csv", ("who", "at"), ("u1", moment)))).taken == 1

    assert len(desk.facts("conversion")) == 5


# What a file may hold.


def test_parquet_keeps_its_types(desk: Desk, tmp_path: Path) -> None:
    moment = datetime(2026, 3, 3, 10, 0, 0, 123456, tzinfo=UTC)
    table = pa.table(
        {
            "who": pa.array([1, 2, None], pa.int64()),
            "at": pa.array([moment, moment, moment], pa.timestamp("ns", tz="Asia/Shanghai")),
            "amount": pa.array([Decimal("1.10"), None, Decimal("3.00")], pa.decimal128(12, 2)),
            "days": pa.array([30, 31, 32], pa.int16()),
            "rate": pa.array([0.5, 2.0, float("nan")], pa.float64()),
            "vip": pa.array([True, False, None]),
            "text": pa.array(["\u5b9a\u671f", "3", None]).dictionary_encode(),
            "worth": pa.array([Decimal("1.50"), Decimal("2.00"), None], pa.decimal128(12, 2)),
        }
    )
    parquet.write_table(table, tmp_path / "e.parquet")
    names = ("days", "rate", "vip", "text", "worth")
    request = conversions(tmp_path / "e.parquet", value="amount", properties={name: name for name in names})
    assert desk.faults(request) == [(3, "MISSING_FIELD", "who")]
    facts = sorted(desk.facts("conversion").values(), key=lambda fact: dict(fact["properties"])["days"])
    assert [dict(fact["properties"]) for fact in facts] == [
        {"days": "30", "rate": "0.5", "vip": "true", "text": '"\u5b9a\u671f"', "worth": "1.5"},
        {"days": "31", "rate": "2", "vip": "false", "text": '"3"', "worth": "2"},
    ]
    assert [fact["value"] for fact in facts] == [Decimal("1.100000"), None]
    assert {fact["timestamp"] for fact in facts} == {moment}


def test_lines_that_cannot_be_split_or_read_are_counted_too(desk: Desk, tmp_path: Path) -> None:
    table = tmp_path / "e.csv"
    table.write_bytes(b"who,at\nu1,2026-03-03T10:00:00Z\nu2\n\xff,2026-03-03T10:00:00Z\nu3,2026-03-03T10:00:00Z\n,,\n")
    assert desk.faults(conversions(table)) == [(2, "BAD_ROW", None), (3, "BAD_FIELD", "who"), (5, "BAD_ROW", None)]
    assert len(desk.facts("conversion")) == 2


def trail(desk: Desk) -> tuple[AuditEntry, ...]:
    with desk.uow.reading() as work:
        return work.audit.all("default")


def test_the_audit_trail_says_who_loaded_what(desk: Desk, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "e.csv", ("who", "at", "days"), ("u1", "2026-03-03T10:00:00Z", "7"), ("", "", ""))
    mapping = {"other_units": {"branch": "who"}, "properties": {"term": "days"}, "types": {"term": "number"}}
    desk.load(conversions(table, **mapping))
    began, done = trail(desk)
    assert began.details == {
        "kind": "conversion",
        "columns": {"unit": "who", "timestamp": "at"},
        "other_units": {"branch": "who"},
        "property": {"term": "days"},
        "types": {"term": "number"},
        "unit_type": "user_id",
        "event": "purchase",
        "file": "e.csv",
        "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        "os_user": "tester",
        "reason": "history",
    }
    assert (began.actor, began.action, done.actor, done.action) == (
        "Li Na",
        "import-events",
        "Li Na",
        "import-events-done",
    )
    counts = {"entry": began.id, "taken": 1, "refused": {"MISSING_FIELD": 1}, "new": 1}
    assert done.details == counts | {"os_user": "tester", "reason": "history"}


def test_a_row_whose_quote_stays_open_is_not_taken(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "open.csv"
    rows = [f"u-1,{NOW.isoformat()},1,fund", f'u-2,{NOW.isoformat()},7,"fund', f"u-3,{NOW.isoformat()},9,x"]
    path.write_text("\n".join(["who,at,amount,product", *rows]) + "\n")
    request = conversions(path, value="amount", properties={"product": "product"})
    with pytest.raises(InvalidInput, match="a quote is not closed"):
        desk.load(request)
    assert (trail(desk)[-1].action, trail(desk)[-1].details["error"]) == ("import-events-failed", "VALIDATION_FAILED")
    assert [fact["value"] for fact in desk.facts("conversion").values()] in ([], [1])  # by where a piece ended

    path.write_text(path.read_text().replace('"fund', "fund"))
    desk.load(request)
    facts = desk.facts("conversion").values()
    assert sorted((fact["value"], dict(fact["properties"])["product"]) for fact in facts) == [
        (1, '"fund"'),
        (7, '"fund"'),
        (9, '"x"'),
    ]


def test_what_retention_would_delete_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.oldest = NOW
    path = write_csv(
        tmp_path / "old.csv", ["who", "at"], ["u-1", later(seconds=-1).isoformat()], ["u-2", NOW.isoformat()]
    )
    assert desk.faults(conversions(path)) == [(1, "TIMESTAMP_TOO_OLD", "at")]


def test_an_inbox_that_is_full_is_sealed_and_the_import_goes_on(
    desk: Desk, database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abplatform.warehouse.inbox._RECOUNT_SECONDS", 0.0)
    path = write_csv(tmp_path / "one.csv", ["who", "at"], ["u-1", NOW.isoformat()])
    desk.load(conversions(path))
    desk.send(
        "conversion",
        *({"event_id": str(n), "event": "e", "unit_id": "u", "timestamp": NOW.isoformat()} for n in (1, 2)),
    )
    desk.inbox = Inbox(database, most_waiting=2)
    path = write_csv(tmp_path / "two.csv", ["who", "at"], ["u-2", NOW.isoformat()])
    assert desk.load(conversions(path)).taken == 1
    assert len(desk.facts("conversion")) == 4
