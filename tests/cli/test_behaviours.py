"""``abplatform behaviours`` as a person meets it."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from abplatform.cli.main import run
from abplatform.domain.audit import AuditEntry
from abplatform.domain.pseudonym import pseudonymise
from tests.builders import NOW, a_conversion_fact
from tests.cli.tables import a_platform, write_csv
from tests.facts import keep

DAY = timedelta(days=1)
THEN = NOW - 400 * DAY  # classes of times to come are refused, whatever the clock says
SECRET = "6222020200112233445"
RFM: dict[str, Any] = {
    "key": "rfm",
    "name": "By value",
    "kind": "rfm",
    "activity": [{"event": "purchase"}],
    "recency": {"edges": ["P30D"]},
    "frequency": {"edges": [1]},
    "money": {"edges": [1000]},
}
AS_OF = ["--as-of", THEN.isoformat()]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two customers: one who bought twice, and one who did so long ago."""
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))
    with a_platform(tmp_path / "home") as platform:
        bought = [(SECRET, 1.5, "10.25"), (SECRET, 2, "5"), ("u-2", 40, "2000"), ("u-2", 0, "1")]
        facts = [
            a_conversion_fact(
                f"c-{number}",
                unit=pseudonymise(platform.pseudonym_key, "user_id", unit),
                units={"device_id": pseudonymise(platform.pseudonym_key, "device_id", f"phone of {unit}")},
                timestamp=THEN - days * DAY,
                value=Decimal(value),
                properties={"channel": '"=web"' if unit == SECRET else "7"},
            )
            for number, (unit, days, value) in enumerate(bought)
        ]
        keep(platform.inbox, "default", "conversion", facts, received_at=THEN)
    return tmp_path / "home"


def define(home: Path, **changes: Any) -> int:
    file = home.parent / "behaviour.json"
    file.write_text(json.dumps(RFM | changes))
    return run(["behaviours", "make", str(file)])


def trail(home: Path) -> tuple[AuditEntry, ...]:
    with a_platform(home) as platform, platform.uow.reading() as work:
        return work.audit.all("default")


def export(home: Path, name: str, *units: str, options: tuple[str, ...] = ()) -> list[list[str]]:
    table = write_csv(home.parent / "units.csv", ("n", "unit_id"), *((n, unit) for n, unit in enumerate(units)))
    out = home.parent / "out.csv"
    assert run(["behaviours", "export", name, "--units", str(table), "--output", str(out), *AS_OF, *options]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_a_class_stands_beside_each_raw_id_with_the_numbers_that_it_rests_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert define(home) == 0
    assert capsys.readouterr().out == "made version 1 of rfm\n"
    assert export(home, "rfm", "u-2", SECRET, "", "stranger", SECRET) == [
        ["unit_id", "class", "recency_days", "frequency", "money"],
        ["u-2", "at_risk", "40", "1", "2000.000000"],
        [SECRET, "active", "1.5", "2", "15.250000"],
        ["", "", "", "", ""],
        ["stranger", "none", "", "0", "0.000000"],
        [SECRET, "active", "1.5", "2", "15.250000"],
    ]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"wrote 5 rows to {home.parent / 'out.csv'}: version 1 of rfm as of {THEN.isoformat()}",
        "             2  active",
        "             1  at_risk",
        "             1  (no class)",
        "             1  none",
    ]


def test_an_export_is_on_record_and_leaves_no_raw_id(home: Path) -> None:
    assert define(home) == 0
    export(home, "rfm", SECRET, options=("--reason", "spring campaign", "--actor", "Li Na"))
    entry, done = trail(home)
    assert (entry.actor, entry.action, done.action) == ("Li Na", "export-behaviour", "export-behaviour-done")
    assert (done.details["entry"], done.details["rows"]) == (entry.id, 1)
    assert entry.details == {
        "os_user": entry.details["os_user"],
        "reason": "spring campaign",
        "file": "units.csv",
        "sha256": hashlib.sha256((home.parent / "units.csv").read_bytes()).hexdigest(),
        "column": "unit_id",
        "unit_type": "user_id",
        "behaviour": "rfm",
        "version": 1,
        "as_of": THEN.isoformat(),
        "output": "out.csv",
    }
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert kept
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)


def test_other_kinds_and_units_of_another_type(home: Path) -> None:
    channel = {"key": "channel", "name": "Channel", "kind": "channel", "activity": RFM["activity"], "source": "channel"}
    (home.parent / "channel.json").write_text(json.dumps(channel))
    assert run(["behaviours", "make", str(home.parent / "channel.json")]) == 0
    devices = ("--unit-type", "device_id")
    found = export(home, "channel", f"phone of {SECRET}", "phone of u-2", SECRET, options=devices)
    assert found == [
        ["unit_id", "class"],
        [f"phone of {SECRET}", "=web"],
        ["phone of u-2", "7"],
        [SECRET, ""],
    ]
    life = {"key": "life", "name": "Stages", "kind": "life_cycle", "activity": RFM["activity"], "look_back": "P60D"}
    (home.parent / "life.json").write_text(json.dumps(life))
    assert run(["behaviours", "make", str(home.parent / "life.json")]) == 0
    assert export(home, "life", "u-2", SECRET, "stranger") == [
        ["unit_id", "class", "known_days", "recent_activities", "older_activities", "recent_amount", "older_amount"],
        ["u-2", "churn_risk", "40", "0", "1", "0.000000", "2000.000000"],
        [SECRET, "new", "2", "2", "0", "15.250000", "0.000000"],
        ["stranger", "none", "", "0", "0", "0.000000", "0.000000"],
    ]


def test_parquet_is_read_and_written_with_types(home: Path) -> None:
    assert define(home) == 0
    parquet.write_table(pa.table({"who": [SECRET, None]}), home.parent / "t.parquet")
    out = home.parent / "o.parquet"
    options = ["--units", str(home.parent / "t.parquet"), "--column", "who", "--output", str(out), *AS_OF]
    assert run(["behaviours", "export", "rfm@1", *options]) == 0
    written = parquet.read_table(out)
    assert written.to_pydict() == {
        "who": [SECRET, None],
        "class": ["active", None],
        "recency_days": [1.5, None],
        "frequency": [2, None],
        "money": [Decimal("15.25"), None],
    }


def test_making_it_again_is_the_next_version_and_the_earlier_one_stays(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert define(home) == 0
    assert define(home) == 2
    assert "must change something: version 1 of rfm says the same already" in capsys.readouterr().err
    assert define(home, money={"edges": [10]}) == 0
    assert capsys.readouterr().out == "made version 2 of rfm\n"
    assert run(["behaviours", "show", "rfm@1"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)["behaviour"]
    assert document["money"]["edges"] == ["1000"]
    assert shown.err.startswith("recency is cut at ")
    assert shown.err.count(",") == len(document["recency"]["edges"]) - 1
    assert "PT" not in shown.err
    assert run(["behaviours", "list"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[:4] for line in listed.splitlines() if line.strip().startswith("rfm")] == [
        ["rfm", "By", "value", "rfm"]
    ]
    assert run(["behaviours", "show", "rfm@3"]) == 1
    assert "it has had the versions 1 to 2" in capsys.readouterr().err


WRONG = [
    ("{", "file: the body is not valid JSON"),
    ("[]", "must be an object"),
    (json.dumps(RFM | {"activty": []}), "activty: is not a field here; did you mean 'activity'?"),
    (json.dumps(RFM | {"money": {"edge": [1]}}), "money.edge: is not a field here; did you mean 'edges'?"),
    (json.dumps(RFM | {"activity": [{"event": 3}]}), "activity.0.event: must be a string"),
    (json.dumps(RFM | {"activity": "purchase"}), "activity: must be an array"),
    (json.dumps(RFM | {"activity": ["purchase"]}), "activity.0: must be an object"),
    (json.dumps(RFM | {"amount": 1}), "amount: must be an object"),
    (json.dumps(RFM | {"kind": "rmf"}), "kind: must be one of rfm, life_cycle, channel"),
    (json.dumps(RFM | {"look_back": "1y"}), "look_back: must be an ISO 8601 duration"),
    (json.dumps(RFM | {"look_back": "P1M"}), "look_back: must be an ISO 8601 duration"),
    (json.dumps(RFM | {"recency": {"edges": [7]}}), "recency.edges.0: must be an ISO 8601 duration"),
    (json.dumps(RFM | {"money": {"edges": ["much"]}}), "money.edges.0: must be a decimal number"),
    (json.dumps({"key": "rfm", "name": "x", "kind": "rfm"}), "activity: is required"),
    (json.dumps(RFM | {"look_back": "P0D"}), "look_back: must be longer than PT0S"),
    (json.dumps(RFM | {"money": {"quantiles": 3}}), ", and need at least 30: import history"),
]


def test_bad_definitions_are_refused_by_their_paths(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home.parent / "b.json"
    for content, message in WRONG:
        file.write_text(content)
        assert run(["behaviours", "make", str(file)]) == 2, content
        assert message in capsys.readouterr().err
    with a_platform(home) as platform, platform.uow.reading() as work:
        assert work.behaviours.all("default") == ()


def test_all_that_is_wrong_is_said_each_on_its_line_and_of_many_how_many_more(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home.parent / "b.json"
    file.write_text(json.dumps(RFM | {"activty": [], "mony": {}}))
    assert run(["behaviours", "make", str(file)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("Error: activty: is not a field here")
    assert second.startswith("Error: mony: is not a field here")
    file.write_text(json.dumps(RFM | {f"no_{number}": 1 for number in range(8)}))
    assert run(["behaviours", "make", str(file)]) == 2
    *said, rest = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in said] == [f"no_{number}" for number in range(5)]
    assert rest == "and 3 further errors"


REFUSED = [
    (b"unit_id\n\xff\n", [], "row 1: 'unit_id' is not valid UTF-8"),
    (b"unit_id,n\nu1\n", [], "row 1 has 1 columns where the header has 2"),
    (b"unit_id\n" + SECRET.encode() * 20 + b"\n", [], "row 1: 'unit_id' must be 1 to 256 characters"),
    (b"who\nu1\n", [], "--column: "),
    (b"unit_id,money\nu1,1\n", ["--column", "money"], "--column: must not be 'money', which is written beside it"),
    (b"unit_id\nu1\n", ["--as-of", "9999-01-01T00:00:00Z"], "--as-of: is still to come"),
    (b"unit_id\nu1\n", ["--as-of", "2026-01-01"], "--as-of: must be RFC 3339 with an offset"),
    (b"unit_id\nu1\n", ["--unit-type", "x" * 65], "--unit-type: must be 1 to 64 printable characters"),
    (b"unit_id\nu1\n", ["--output", "o.txt"], "o.txt must end in .csv, .parquet, .pq"),
]


def test_a_refused_export_writes_nothing_and_prints_no_id(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert define(home) == 0
    table, out = home.parent / "t.csv", home.parent / "o.csv"
    for content, options, message in REFUSED:
        table.write_bytes(content)
        arguments = ["behaviours", "export", "rfm", "--units", str(table), "--output", str(out), *options]
        assert run(arguments) == 2, message
        said = capsys.readouterr()
        assert message in said.err
        assert SECRET not in said.out + said.err
        assert [path.name for path in home.parent.iterdir() if "o.csv" in path.name] == []


def test_an_unknown_behaviour_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert define(home) == 0
    table = write_csv(home.parent / "t.csv", ("unit_id",), ("u-1",))
    assert run(["behaviours", "export", "rmf", "--units", str(table), "--output", str(home.parent / "o.csv")]) == 1
    assert "there is no behaviour 'rmf'; did you mean 'rfm'?" in capsys.readouterr().err


def test_classes_are_those_of_the_project_that_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert define(home) == 0
    table, out = write_csv(home.parent / "t.csv", ("unit_id",), (SECRET,)), home.parent / "o.csv"
    with a_platform(home) as platform, platform.uow.begin() as work:
        work.projects.ensure("other", now=NOW)
    assert run(["behaviours", "make", str(home.parent / "behaviour.json"), "--project", "other"]) == 0
    options = ["--units", str(table), "--output", str(out), *AS_OF]
    assert run(["behaviours", "export", "rfm", *options, "--project", "other"]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1][:2] == [SECRET, "none"], "nothing was done there"
    with a_platform(home) as platform, platform.uow.reading() as work:
        actions = [(entry.project, entry.action) for entry in work.audit.all("other")]
    assert actions == [("other", "export-behaviour"), ("other", "export-behaviour-done")]
    assert run(["behaviours", "export", "rfm", *options, "--project", "nowhere"]) == 1
