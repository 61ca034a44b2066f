"""``abplatform pseudonymise`` as a person meets it."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from abplatform.cli import pseudonymise as module
from abplatform.cli.main import main, run
from abplatform.domain.audit import AuditEntry
from abplatform.domain.pseudonym import pseudonymise
from tests.cli.tables import a_platform, facts, write_csv

WHY = ["--reason", "bad debt model", "--actor", "Li Na"]
SECRET = "6222020200112233445"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a platform."""
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))
    with a_platform(tmp_path / "home"):
        return tmp_path / "home"


def trail(home: Path) -> tuple[AuditEntry, ...]:
    with a_platform(home) as platform, platform.uow.reading() as work:
        return work.audit.all("default")


def hidden(home: Path, unit_id: str, unit_type: str = "user_id") -> str:
    with a_platform(home) as platform:
        return pseudonymise(platform.pseudonym_key, unit_type, unit_id)


def test_ids_become_pseudonyms_and_the_rest_stays(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("5", SECRET, '=1+1, "a"'), ("6", "", "\u5f20\u4e09"), ("7", SECRET, "")]
    table = write_csv(home.parent / "t.csv", ("n", "who", "\u540d"), *rows)
    out = home.parent / "out.csv"
    assert run(["pseudonymise", str(table), "--unit", "who", "--output", str(out), *WHY]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        written = list(csv.reader(file))
    one = hidden(home, SECRET)
    assert written == [["n", "who", "\u540d"], ["5", one, '=1+1, "a"'], ["6", "", "\u5f20\u4e09"], ["7", one, ""]]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"wrote 3 rows to {out}; 1 without an id\n")


def test_the_pseudonyms_are_those_of_the_lake(home: Path) -> None:
    table = write_csv(home.parent / "t.csv", ("who", "at"), (SECRET, "2026-03-03T10:00:00Z"))
    columns = ["--unit", "who", "--unit-type", "device_id"]
    assert run(["import-events", str(table), *columns, "--timestamp", "at", "--event-name", "purchase"]) == 0
    out = home.parent / "out.parquet"
    assert run(["pseudonymise", str(table), *columns, "--output", str(out), *WHY]) == 0
    with a_platform(home) as platform:
        (fact,) = facts(platform, "conversion")
    assert parquet.read_table(out)["who"].to_pylist() == [fact["unit"]] == [hidden(home, SECRET, "device_id")]


def test_a_type_of_units_that_nobody_counts_by_is_doubted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_csv(home.parent / "t.csv", ("who",), (SECRET,))
    out = home.parent / "o.csv"
    assert run(["pseudonymise", str(table), "--unit", "who", "--unit-type", "userid", "--output", str(out), *WHY]) == 0
    doubt, written = capsys.readouterr().err.splitlines()
    assert doubt == "Warning: nobody counts by 'userid'; did you mean 'user_id'?"
    assert written == f"wrote 1 row to {out}"


def test_the_audit_trail_says_who_and_why(home: Path) -> None:
    table = write_csv(home.parent / "t.csv", ("who",), (SECRET,), ("",))
    assert run(["pseudonymise", str(table), "--unit", "who", "--output", str(home.parent / "o.csv"), *WHY]) == 0
    entry, done = trail(home)
    assert (entry.actor, entry.action) == ("Li Na", "pseudonymise")
    assert (done.action, done.details["entry"], done.details["rows"]) == ("pseudonymise-done", entry.id, 2)
    os_user = entry.details["os_user"]
    assert os_user
    assert entry.details == {
        "os_user": os_user,
        "reason": "bad debt model",
        "file": "t.csv",
        "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
        "column": "who",
        "unit_type": "user_id",
        "rows": 2,
        "without_id": 1,
        "output": "o.csv",
    }


def fill_disk() -> None:
    raise OSError(28, "No space left on device")


def tell_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("happen", "status", "error"),
    [(fill_disk, 1, "OSError"), (tell_to_end, 143, "Terminated"), (interrupt, 130, "KeyboardInterrupt")],
)
def test_nothing_is_written_before_it_is_on_record_nor_left_when_it_fails(
    home: Path, monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None], status: int, error: str
) -> None:
    """It ends when the first pseudonym is to be written: the entry is there, the file is not, and that is on record."""
    entries: list[int] = []

    def fail(*_: Any, **__: Any) -> None:
        entries.append(len(trail(home)))
        happen()

    monkeypatch.setattr(module, "table_writer", fail)
    table = write_csv(home.parent / "t.csv", ("who",), (SECRET,))
    out = home.parent / "o.csv"
    with pytest.raises(SystemExit) as ended:
        main(["pseudonymise", str(table), "--unit", "who", "--output", str(out), *WHY])
    assert ended.value.code == status
    assert entries == [1]
    began, failed = trail(home)
    assert (began.action, failed.action) == ("pseudonymise", "pseudonymise-failed")
    assert (failed.details["entry"], failed.details["error"]) == (began.id, error)
    assert [path.name for path in home.parent.iterdir() if path.name not in {"home", "t.csv"}] == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_parquet_keeps_the_types_of_other_columns(home: Path) -> None:
    table = pa.table(
        {"who": pa.array([5, None]), "tags": [["a"], []], "kind": pa.array(["x", "y"]).dictionary_encode()}
    )
    parquet.write_table(table, home.parent / "t.parquet")
    options = ["pseudonymise", str(home.parent / "t.parquet"), "--unit", "who", *WHY, "--output"]
    assert run([*options, str(home.parent / "o.parquet")]) == 0
    written = parquet.read_table(home.parent / "o.parquet")
    assert written.to_pydict() == table.to_pydict() | {"who": [hidden(home, "5"), None]}
    assert written.schema.field("tags").type == table.schema.field("tags").type


REFUSED = [
    (b"who,n\nu1,1\nu2\n", [], "row 2 has 1 columns where the header has 2"),
    (b"who,n\n\xff,1\n", [], "row 1: 'who' is not valid UTF-8"),
    (b"who,n\nu1,\xff\n", [], "row 1: 'n' is not valid UTF-8"),
    (b"who,n\n" + SECRET.encode() * 20 + b",1\n", [], "row 1: 'who' must be 1 to 256 characters without NUL"),
    (b"whom,n\nu1,1\n", [], "--unit: "),
    (b"who,n\nu1,1\n", ["--reason", " "], "--reason: must be 1 to 1000 printable characters"),
    (b"who,n\nu1,1\n", ["--unit-type", "x" * 65], "--unit-type: must be 1 to 64 printable characters"),
    (b"who,n\nu1,1\n", ["--output", "o.txt"], "o.txt must end in .csv, .parquet, .pq"),
]


@pytest.mark.parametrize(("content", "options", "message"), REFUSED)
def test_a_refusal_writes_nothing_and_prints_no_id(
    home: Path, capsys: pytest.CaptureFixture[str], content: bytes, options: list[str], message: str
) -> None:
    table = home.parent / "t.csv"
    table.write_bytes(content)
    arguments = ["pseudonymise", str(table), "--unit", "who", "--output", str(home.parent / "o.csv"), *WHY, *options]
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert SECRET not in said.out + said.err
    assert not (home.parent / "o.csv").exists()
    assert trail(home) == ()


TEXTS = {
    "binary": (pa.array([b"\xe5\xbc\xa0", None]), "\u5f20"),
    "large_binary": (pa.array([b"a,b", None], pa.large_binary()), "a,b"),
    "binary_view": (pa.array([b"ab", None], pa.binary_view()), "ab"),
    "fixed": (pa.array([b"ab", None], pa.binary(2)), "ab"),
    "string_view": (pa.array(["a b", None], pa.string_view()), "a b"),
    "large_string": (pa.array(["ab", None], pa.large_string()), "ab"),
    "bytes": (pa.array([b"ab", None]).dictionary_encode(), "ab"),
    "day": (pa.array([0, None], pa.date32()), "1970-01-01"),
    "moment": (pa.array([0, None], pa.timestamp("us", "Asia/Shanghai")), "1970-01-01 08:00:00.000000+0800"),
    "time": (pa.array([1, None], pa.time64("us")), "00:00:00.000001"),
    "lasted": (pa.array([5, None], pa.duration("us")), "5"),
    "amount": (pa.array([Decimal("1.50"), None], pa.decimal256(50, 2)), "1.50"),
    "small": (pa.array([1.5, None], pa.float16()), "1.5"),
    "sure": (pa.array([True, None]), "true"),
    "nothing": (pa.nulls(2), ""),
}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_type_of_column_is_written(home: Path, ending: str) -> None:
    """The texts are written by hand; what cannot stand in CSV is refused by the tests below."""
    source, out = home.parent / "t.parquet", home.parent / f"o.{ending}"
    table = pa.table({"who": pa.array([b"5", None])} | {name: values for name, (values, _) in TEXTS.items()})
    parquet.write_table(table, source)
    assert run(["pseudonymise", str(source), "--unit", "who", *WHY, "--output", str(out)]) == 0
    if ending == "parquet":
        others = list(TEXTS)
        assert parquet.read_table(out).select(others).equals(parquet.read_table(source).select(others))
    else:
        with out.open(newline="", encoding="utf-8") as file:
            header, first, second = csv.reader(file)
        assert dict(zip(header, first, strict=True)) == {"who": hidden(home, "5")} | {
            name: text for name, (_, text) in TEXTS.items()
        }
        assert second == [""] * len(header)


UNFIT = [
    (pa.array([["a"]]), "--output: CSV cannot hold 'odd', which is list<element: string>; write Parquet"),
    (pa.array([b"a" * 16], pa.uuid()), "--output: CSV cannot hold 'odd', which is extension<arrow.uuid>"),
    (pa.array([b"\xff"]), "row 1: 'odd' is not valid UTF-8"),
    (pa.array([b"\xff"], pa.binary_view()), "row 1: 'odd' is not valid UTF-8"),
    (pa.array([2**62], pa.timestamp("us")), "row 1: 'odd' is no time that can be written as text"),
]


@pytest.mark.parametrize(("values", "message"), UNFIT)
def test_what_csv_cannot_hold_is_refused_before_anything_is_on_record(
    home: Path, capsys: pytest.CaptureFixture[str], values: pa.Array, message: str
) -> None:
    parquet.write_table(pa.table({"who": ["u1"], "odd": values}), home.parent / "t.parquet")
    out = home.parent / "o.csv"
    assert run(["pseudonymise", str(home.parent / "t.parquet"), "--unit", "who", "--output", str(out), *WHY]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
    assert trail(home) == ()


def test_the_table_itself_is_not_overwritten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_csv(home.parent / "t.csv", ("who",), (SECRET,))
    assert run(["pseudonymise", str(table), "--unit", "who", "--output", str(table), *WHY]) == 2
    assert "must be another file" in capsys.readouterr().err
    assert SECRET in table.read_text()


def test_without_a_platform_there_are_no_pseudonyms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that is made for the occasion would fit nothing."""
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "none"))
    table = write_csv(tmp_path / "t.csv", ("who",), (SECRET,))
    assert run(["pseudonymise", str(table), "--unit", "who", "--output", str(tmp_path / "o.csv"), *WHY]) == 1
    assert "there is no data in" in capsys.readouterr().err
