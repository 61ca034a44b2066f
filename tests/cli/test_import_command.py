"""``abplatform import`` as a person meets it."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from abplatform.cli.main import run as run_here
from tests.cli.commands import run
from tests.cli.tables import a_platform, write_csv


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six rows, two of them bad."""
    rows = [("a", 0, 1), ("b", 1, 2), ("", 1, 2), ("a", 1, "x"), ("b", 0, 0), ("a", 1, "2.5")]
    return write_csv(tmp_path / "My Trial.csv", ("arm", "bought", "spend"), *rows)


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))


def trail(table: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Actor, action and details of all that is on record."""
    with a_platform(table.parent / "home") as platform, platform.uow.reading() as work:
        return [(entry.actor, entry.action, dict(entry.details)) for entry in work.audit.all("default")]


def test_one_command_gives_a_readout_names_the_bad_rows_and_is_on_record(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bought", "--sum", "spend"]
    assert run_here([*arguments, "--actor", "Li Na", "--reason", "review"]) == 0
    (actor, action, details), (_, ended, outcome) = trail(table)
    assert (actor, action, ended) == ("Li Na", "import", "import-done")
    assert details["columns"] == {"variant": "arm", "conversion": ["bought"], "sum": ["spend"]}
    assert (details["experiment"], details["file"], details["reason"]) == ("my-trial", "My Trial.csv", "review")
    assert (outcome["taken"], outcome["refused"]) == (4, 2)
    said = capsys.readouterr()
    assert said.err.splitlines() == ["row 3: arm is missing", "row 4: spend 'x' is not a number"]
    assert "imported 4 rows of My Trial.csv as my-trial (a: 2, b: 2)" in said.out
    assert "2 of 6 rows (33.3%) left out (a: 1, b: 0, arm not known: 1)\nWarning: more than 1% of" in said.out
    assert "Primary metrics" in said.out


@pytest.mark.parametrize(
    ("outcomes", "primary"),
    [
        (["--sum", "spend", "--conversion", "bought"], ["spend"]),
        (["--conversion=bought", "--sum=spend"], ["bought"]),
        (["--sum", "spend", "--conversion", "bought", "--primary", "bought"], ["bought"]),
    ],
)
def test_the_first_outcome_on_the_command_line_is_primary(
    table: Path, capsys: pytest.CaptureFixture[str], outcomes: list[str], primary: list[str]
) -> None:
    assert run_here(["import", str(table), "--variant", "arm", "--control", "a", *outcomes, "--key", "t"]) == 0
    capsys.readouterr()
    assert run_here(["readout", "t", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [metric["metric"] for metric in document["metrics"] if metric["role"] == "primary"] == primary
    assert {metric["metric"] for metric in document["metrics"]} == {"bought", "spend"}


def test_of_an_outcome_that_should_be_rare_less_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of the control's customers and a tenth of the others do not pay."""
    rows = [("ab"[n % 2], int(n % 4 == 0 or n % 20 == 1)) for n in range(400)]
    table = write_csv(tmp_path / "loans.csv", ("arm", "bad_debt"), *rows)
    arguments = ["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bad_debt"]
    assert run_here([*arguments, "--decrease", "bad_debt"]) == 0
    capsys.readouterr()
    assert run_here(["readout", "loans", "--format", "json"]) == 0
    [metric] = json.loads(capsys.readouterr().out)["metrics"]
    [comparison] = metric["comparisons"]
    assert comparison["absolute"]["estimate"] == pytest.approx(0.1 - 0.5)
    assert comparison["verdict"] == "better"


REFUSED = [
    (["--decrease", "arm"], 2, "decrease: 'arm' is not among the outcomes: bought"),
    (["--variant", "group"], 2, "has no column 'group'; it has 'arm', 'bought', 'spend'"),
    (["--control", "z"], 2, "no row has 'z' in 'arm'"),
    (["--conversion", "nothing"], 2, "has no column 'nothing'"),
    (["--weight", "a"], 2, "'a' is not VALUE=W with a positive number W"),
    (["--weight", "a=0"], 2, "'a=0' is not VALUE=W"),
    (["--weight", "a=1", "--weight", "a=2", "--weight", "b=1"], 2, "'a' stands twice"),
    (["--key", "No Key"], 2, "'No Key' must be 1 to 64 characters"),
    (["--colour", "red"], 2, "No such option"),
]


@pytest.mark.parametrize(("changes", "status", "message"), REFUSED)
def test_a_refusal_is_one_line_and_a_status(
    table: Path, capsys: pytest.CaptureFixture[str], changes: list[str], status: int, message: str
) -> None:
    arguments = ["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bought", *changes]
    assert run_here(arguments) == status
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert message in last
    assert "Traceback" not in said.err
    assert run_here(["db", "upgrade"]) == 0
    capsys.readouterr()
    assert run_here(["readout", "--list"]) == 0
    assert capsys.readouterr().out == "", "nothing is left behind"


def test_no_control_character_of_a_table_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    escape = "\x1b[31mred"
    rows = [("a", "?", 1), ("b", 1, 1), ("a", 1, 1)]
    table = write_csv(tmp_path / "t.csv", ("arm", escape, *[f"c{number}" for number in range(30)]), *rows)
    start = ["import", str(table), "--variant", "arm", "--control", "a", "--conversion"]
    assert run_here([*start, "zzz"]) == 2
    refused = capsys.readouterr().err
    assert "has no column 'zzz'; it has 'arm', '\\x1b[31mred', 'c0'" in refused
    assert refused.endswith("'c17' and 12 more\n")
    table = write_csv(tmp_path / "t.csv", ("arm", escape, "c0"), *rows)
    assert run_here([*start, escape]) == 0
    done = capsys.readouterr()
    assert "row 1: \ufffd[31mred '?' is not 0, 1, true or false" in done.err
    assert run_here(["import", f"{escape}.csv"]) == 2
    assert "\x1b" not in refused + done.err + done.out + capsys.readouterr().err


@pytest.mark.parametrize("command", [["readout", "t"], ["db", "current"], ["db", "upgrade"]])
def test_a_damaged_database_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "platform.db").write_bytes(b"no database " * 1000)
    assert run_here(command) == 1
    assert capsys.readouterr().err.endswith(
        "the database file is damaged (file is not a database); restore it from a backup\n"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Error: No space left on device\n"),
        (OSError(errno.EACCES, "Permission denied", "/data"), "Error: /data: Permission denied\n"),
        (OSError("Error writing bytes to file"), "Error: Error writing bytes to file\n"),
    ],
)
def test_a_fault_of_the_disk_is_one_line(
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    line: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("abplatform.services.adopt.adopt.append_facts", fail)
    assert run_here(["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bought"]) == 1
    assert capsys.readouterr().err.endswith(line)
    assert [(action, details.get("error")) for _, action, details in trail(table)] == [
        ("import", None),
        ("import-failed", type(error).__name__),
    ]


def test_a_missing_file_and_an_empty_one_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["--variant", "arm", "--control", "a", "--conversion", "bought"]
    assert run_here(["import", str(tmp_path / "none.csv"), *columns]) == 2
    (tmp_path / "empty.csv").touch()
    assert run_here(["import", str(tmp_path / "empty.csv"), *columns]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "does not exist" in first
    assert second.endswith("empty.csv is empty")


def test_a_key_that_is_taken_is_refused_with_status_1(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bought", "--key", "t"]
    assert run_here(arguments) == 0
    assert run_here(arguments) == 1
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert refusal == "Error: there is an experiment 't' already; choose another key (--key)"


def test_the_first_twenty_bad_rows_are_named_in_the_order_of_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A unit that comes again is found last of all, and stands among the others all the same."""
    rows = [("u1", "a", 1), ("u2", "b", 0), ("u3", "a", "?"), ("u1", "a", 1)]
    rows += [(f"v{number}", "a", "?") for number in range(1250)]
    table = write_csv(tmp_path / "bad.csv", ("id", "arm", "bought"), *rows)
    columns = ["--variant", "arm", "--control", "a", "--unit", "id", "--conversion", "bought"]
    assert run_here(["import", str(table), *columns]) == 0
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines[0] == "row 3: bought '?' is not 0, 1, true or false"
    assert lines[1] == "row 4: id is the unit of an earlier row"
    assert [int(line.split()[1].rstrip(":")) for line in lines[:20]] == list(range(3, 23))
    assert lines[20:] == ["... and 1,232 more"]
    assert "1,252 of 1,254 rows (99.8%) left out (a: 1,252, b: 0)" in said.out


def test_arms_that_lost_alike_are_not_listed_and_a_small_loss_is_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("ab"[number % 2], "?" if number < 2 else number % 3 == 0) for number in range(2200)]
    table = write_csv(tmp_path / "t.csv", ("arm", "bought"), *rows)
    assert run_here(["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bought"]) == 0
    said = capsys.readouterr().out
    assert "\n2 of 2,200 rows (less than 0.1%) left out\n" in said
    assert "Warning" not in said


@pytest.mark.parametrize(
    ("cells", "hinted"),
    [(("0", "12.5", "1", "3"), True), (("0", "many", "1", "3"), False), (("0", "many", "1", "few"), False)],
)
def test_a_conversion_whose_bad_values_are_numbers_may_be_a_sum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cells: tuple[str, ...], hinted: bool
) -> None:
    table = write_csv(tmp_path / "t.csv", ("arm", "spend"), *zip("aabb", cells, strict=True))
    assert run_here(["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "spend"]) == 0
    assert ("the values of spend that were refused are numbers: is it a --sum?" in capsys.readouterr().out) is hinted


def test_an_amount_alone_given_as_a_conversion_is_refused_with_the_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_csv(tmp_path / "t.csv", ("arm", "spend"), ("a", "12.5"), ("b", "3"))
    assert run_here(["import", str(table), "--variant", "arm", "--control", "a", "--conversion", "spend"]) == 2
    assert capsys.readouterr().err.endswith("all 2 rows are bad; 'spend' holds numbers: is it a --sum?\n")


def test_clusters_are_counted_as_clusters(tmp_path: Path) -> None:
    rows = [(f"v{number // 4}", "ab"[number // 4 % 2], number % 2) for number in range(80)]
    table = write_csv(tmp_path / "villages.csv", ("village", "arm", "bought"), *rows)
    columns = ("--variant", "arm", "--control", "a", "--cluster", "village", "--conversion", "bought")
    done = run(tmp_path / "home", "import", str(table), *columns)
    assert done.returncode == 0, done.stderr
    assert "40 in 10 clusters" in done.stdout
