"""``abplatform assign`` as a person meets it; what each unit gets is tested in ``test_evaluate_rows``."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv as arrow_csv

from abplatform.assignment import decode_snapshot, evaluate
from abplatform.cli.main import run as run_here
from abplatform.domain.experiment import Prerequisite
from abplatform.services import define, publish
from tests.builders import NOW, an_experiment, an_external_experiment
from tests.cli.commands import COMMAND, environment
from tests.cli.running import run_experiments
from tests.cli.tables import a_platform, write_csv
from tests.services.lives import take

HEADER = ["unit_id", "variant", "in_experiment", "reason", "phase"]
HOSTILE = ["007", 'q"uo"te', "two\nlines", "a,b", " space ", "利率", "🏦", "x" * 300, "=1+1", "null", "007"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def evaluated(home: Path, rows: list[dict[str, Any]], key: str = "rate-display") -> list[list[str]]:
    """What `evaluate` gives units with attributes, as CSV writes it."""
    with a_platform(home) as platform, platform.uow.reading() as work:
        snapshot = decode_snapshot(publish.read_snapshot(work, "default").document)
    found = []
    for row in rows:
        attributes = {name: value for name, value in row.items() if name != "unit_id"}
        answer = evaluate(snapshot, key, row["unit_id"], attributes)
        is_in, phase = str(answer.in_experiment).lower(), "" if answer.phase is None else str(answer.phase)
        found.append([row["unit_id"] or "", answer.variant or "", is_in, answer.reason, phase])
    return found


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_each_row_of_csv_is_answered_in_its_order(
    home: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    run_experiments(home, an_experiment())
    table = write_csv(tmp_path / "units.csv", ["unit_id"], *[[unit] for unit in [*HOSTILE, "", "last"]])
    assert run_here(["assign", str(table), "--experiment", "rate-display"]) == 0
    said = capsysbinary.readouterr()
    expected = evaluated(home, [{"unit_id": unit} for unit in [*HOSTILE, None, "last"]])
    assert read_csv(said.out.decode()) == [HEADER, *expected]
    assert said.err.decode().splitlines()[0] == "13 rows of rate-display, phase 1"
    assert not any(unit.encode() in said.err for unit in HOSTILE)


def test_cells_are_typed_by_what_the_condition_compares_them_with(
    home: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    targeting = {
        "app": {"$vgte": "3.9"},
        "branch": {"$in": ["007", "12"]},
        "age": {"$gte": 18},
        "vip": True,
        "home.city": {"$ne": "SH"},
    }
    run_experiments(home, an_experiment(targeting=targeting))
    typed: list[dict[str, Any]] = [
        {"app": "3.10", "branch": "007", "age": 20, "vip": True, "home": {"city": "BJ"}},
        {"app": "3.10", "branch": "12", "age": 18.5, "vip": True, "home": {"city": None}},
        {"app": "3.8", "branch": "12", "age": 20, "vip": True, "home": {"city": "BJ"}},
        {"app": "3.10", "branch": "7", "age": 20, "vip": True, "home": {"city": "BJ"}},
        {"app": "3.10", "branch": "12", "age": "020", "vip": True, "home": {"city": "BJ"}},
        {"app": "3.10", "branch": "12", "age": None, "vip": True, "home": {"city": "BJ"}},
        {"app": "3.10", "branch": "12", "age": 20, "vip": "True", "home": {"city": "BJ"}},
        {"app": "3.10", "branch": "12", "age": 20, "vip": True, "home": {"city": "SH"}},
    ]
    cells = [
        [f"u-{place}", row["app"], row["branch"], row["age"], row["vip"], row["home"]["city"]]
        for place, row in enumerate(typed)
    ]
    cells = [["true" if cell is True else cell for cell in row] for row in cells]
    table = write_csv(tmp_path / "units.csv", ["unit_id", "app", "branch", "age", "vip", "home.city"], *cells)
    assert run_here(["assign", str(table), "--experiment", "rate-display"]) == 0
    found = read_csv(capsysbinary.readouterr().out.decode())[1:]
    assert found == evaluated(home, [{"unit_id": f"u-{place}", **row} for place, row in enumerate(typed)])
    assert [row[3] for row in found] == ["ASSIGNED"] * 2 + ["NOT_TARGETED"] * 6


def test_a_column_that_is_absent_counts_as_missing_and_is_named(
    home: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    needed = an_experiment("needed", targeting={"country": "CN"})
    prerequisites = (Prerequisite(experiment="needed", variants=("control", "treatment")),)
    run_experiments(home, an_experiment(targeting={"age": {"$ne": 3}}, prerequisites=prerequisites), needed)
    table = write_csv(tmp_path / "units.csv", ["id"], ["u-1"])
    assert run_here(["assign", str(table), "--experiment", "rate-display", "--unit-column", "id"]) == 0
    said = capsysbinary.readouterr()
    assert said.err.decode().splitlines()[:2] == [
        "units.csv has no column 'age', which evaluation reads: it counts as missing",
        "units.csv has no column 'country', which evaluation reads: it counts as missing",
    ]
    assert read_csv(said.out.decode())[1][3] == "ASSIGNED"


def test_parquet_goes_in_and_out(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_experiments(home, an_experiment(targeting={"age": {"$gte": 18}}))
    units, ages = [7, 8, None], [18, 17, 18]
    pq.write_table(pa.table({"customer": units, "age": ages}), tmp_path / "units.parquet")
    out = tmp_path / "answers.parquet"
    arguments = ["assign", str(tmp_path / "units.parquet"), "--experiment", "rate-display", "--unit-column", "customer"]
    assert run_here([*arguments, "--output", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[0] == "3 rows of rate-display, phase 1"
    answers = pq.read_table(out)
    assert answers.column_names == HEADER
    rows = [{"unit_id": None if unit is None else str(unit), "age": age} for unit, age in zip(units, ages, strict=True)]
    found = [list(row.values()) for row in answers.to_pylist()]
    plain = [
        ["" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in row]
        for row in found
    ]
    assert plain == evaluated(home, rows)
    assert [row[3] for row in found] == ["ASSIGNED", "NOT_TARGETED", "NO_UNIT"]


def test_a_past_phase_is_answered_as_it_was_while_it_ran(home: Path, tmp_path: Path) -> None:
    run_experiments(home, an_experiment())
    units = [{"unit_id": f"user-{number}"} for number in range(200)]
    before = evaluated(home, units)
    with a_platform(home) as platform, platform.uow.begin() as work:
        for step in ("phase", "stop"):
            take(work, "rate-display", step)
    table = write_csv(tmp_path / "units.csv", ["unit_id"], *[list(row.values()) for row in units])
    out = tmp_path / "out.csv"
    arguments = ["assign", str(table), "--experiment", "rate-display", "--output", str(out)]
    assert run_here([*arguments, "--phase", "1"]) == 0
    assert read_csv(out.read_text()) == [HEADER, *before]
    assert run_here(arguments) == 0
    assert {row[3] for row in read_csv(out.read_text())[1:]} == {"NOT_RUNNING"}


REFUSED = [
    (["--experiment", "nothing"], "there is no experiment 'nothing'"),
    (["--experiment", "a-draft"], "a-draft is a draft: start it first"),
    (["--experiment", "imported"], "imported has external assignment"),
    (["--experiment", "rate-display", "--phase", "2"], "rate-display has had phase 1 only"),
    (["--experiment", "rate-display", "--unit-column", "id"], "has no column 'id'; it has 'unit_id'"),
    (["--experiment", "rate-display", "--output", "x.parquet", "--format", "csv"], "does not go with x.parquet"),
    (["--experiment", "rate-display", "--output", "x.foo"], "x.foo must end in .csv, .parquet, .pq, or --format must"),
    (["--experiment", "rate-display", "--output", "x.csv.gz"], "x.csv.gz must end in .csv, .parquet, .pq, or"),
    (["--experiment", "rate-dispaly"], "there is no experiment 'rate-dispaly'; did you mean 'rate-display'?"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_a_refusal_is_one_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    run_experiments(home, an_experiment())
    with a_platform(home) as platform, platform.uow.begin() as work:
        define.create_experiment(work, "default", an_experiment("a-draft"), now=NOW)
        define.create_experiment(work, "default", an_external_experiment(), now=NOW)
    table = write_csv(tmp_path / "units.csv", ["unit_id"], ["u-1"])
    assert run_here(["assign", str(table), *options]) in {1, 2}
    said = capsys.readouterr()
    assert message in said.err.splitlines()[-1]
    assert said.err.splitlines()[-1].startswith("Error: ")
    assert said.out == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"unit_id,age\nu-1,3\nu-2\n", "row 2 has 1 columns where the header has 2"),
        (b"unit_id,age\nu-1,3\n\xff,3\n", "row 2: 'unit_id' is not valid UTF-8"),
        # The reader has threads of its own: which of the two comes first is chance.
        (b'unit_id,age\nu-1,3\n"u-2,3\nu-3,4\n', "row 2 has 1 columns where the header has 2|a quote is not closed"),
    ],
)
def test_a_row_that_cannot_be_read_ends_it_without_an_output(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    run_experiments(home, an_experiment())
    (tmp_path / "units.csv").write_bytes(content)
    out = tmp_path / "out.csv"
    out.write_text("an earlier answer")
    assert run_here(["assign", str(tmp_path / "units.csv"), "--experiment", "rate-display", "--output", str(out)]) == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])
    assert out.read_text() == "an earlier answer"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out.csv", "units.csv"]


def test_dates_are_no_attributes(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_experiments(home, an_experiment(targeting={"joined": {"$exists": True}}))
    pq.write_table(pa.table({"unit_id": ["u-1"], "joined": [NOW]}), tmp_path / "units.parquet")
    assert run_here(["assign", str(tmp_path / "units.parquet"), "--experiment", "rate-display"]) == 2
    assert "'joined' holds timestamp[us, tz=UTC], which no attribute is" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_table(home: Path, tmp_path: Path) -> None:
    """2 million rows of 40 bytes, read and written: far less than they and the answers would take at once."""
    run_experiments(home, an_experiment())
    ids = pa.array([f"{number:040d}" for number in range(2_000_000)])
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    arrow_csv.write_csv(pa.table({"unit_id": ids.slice(0, 100_000)}), small)
    arrow_csv.write_csv(pa.table({"unit_id": ids}), large)
    assert peak(home, large) < peak(home, small) + 150_000


def peak(home: Path, table: Path) -> int:
    """Largest resident size of a run, in kilobytes."""
    program = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    command = [*COMMAND, "assign", str(table), "--experiment", "rate-display", "--output", f"{table}.answers.csv"]
    answer = subprocess.run(
        [sys.executable, "-c", program, *command], env=environment(home), capture_output=True, text=True, check=True
    )
    return int(answer.stdout)
