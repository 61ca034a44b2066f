"""``abplatform lake``: what it says of tables, sound and damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from abplatform.bootstrap import build_platform, prepare_database
from abplatform.cli.lake_report import print_recount, print_tended, size
from abplatform.cli.main import run as run_here
from abplatform.services.tend import Tended
from abplatform.settings import Settings
from abplatform.warehouse.bulk import append_facts
from abplatform.warehouse.compaction import Compacted
from abplatform.warehouse.layout import facts_to_arrow
from abplatform.warehouse.recount import Recount
from abplatform.warehouse.removal import Expired, StoredFile
from abplatform.warehouse.retention import Dropped
from tests.builders import NOW, a_conversion_fact, an_exposure_fact, later

Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; gives its exit status, the lines of stdout, and stderr."""

    def command(home: Path, *arguments: str) -> tuple[int, list[str], str]:
        monkeypatch.setenv("ABPLATFORM_HOME", str(home))
        capfd.readouterr()
        status = run_here(arguments)
        out, err = capfd.readouterr()
        return status, out.splitlines(), err

    return command


def make_home(home: Path, *, commits: int) -> Path:
    """A home with small files of exposures of one day, and two events of another project."""
    settings = Settings(home=home)
    prepare_database(settings)
    with build_platform(settings) as platform:
        for number in range(commits):
            rows = facts_to_arrow("exposure", [an_exposure_fact(f"{number}-{n}") for n in range(100)])
            append_facts(platform.lake, "default", "exposure", rows)
        rows = facts_to_arrow("conversion", [a_conversion_fact("1"), a_conversion_fact("2", timestamp=later(days=-9))])
        append_facts(platform.lake, "other", "conversion", rows)
    return home


def test_the_tables_are_listed_checked_and_tidied_up(tmp_path: Path, run: Run) -> None:
    home = make_home(tmp_path / "home", commits=16)
    status, listed, err = run(home, "lake", "ls")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in listed if "." in line}
    assert rows["default.exposures"][:2] == ["1,600", "16"]
    assert rows["default.exposures"][3:9] == ["kB", "1", "2026-11-23", "2026-11-23", "16", "0"]
    assert rows["other.conversions"][:2] == ["2", "2"]
    assert rows["other.conversions"][3:9] == ["kB", "2", "2026-11-14", "2026-11-23", "1", "0"]
    assert rows["other.exposures"] == ["0", "0", "0", "B", "0", "-", "-", "0", "0", "-"]

    status, done, _ = run(home, "lake", "compact")
    assert status == 0
    assert [re.sub(r"\(.*?\)", "()", line) for line in done] == [
        "default.exposures: merged 16 files () into 1",
        "default.conversions: nothing to do",
        "other.exposures: nothing to do",
        "other.conversions: nothing to do",
    ]

    assert run(home, "lake", "verify", "--project", "default") == (
        0,
        [
            "default.exposures: 1,600 events; 17 files, earlier states included: all as the manifests say",
            "default.conversions: 0 events; 0 files, earlier states included: all as the manifests say",
        ],
        "",
    )

    _, lines, _ = run(home, "lake", "ls", "--project", "default", "--format", "json")
    table = json.loads("\n".join(lines))[0]
    assert table.pop("bytes") > 0
    assert table.pop("committed_at").endswith("+00:00")
    assert table == {
        "project": "default",
        "kind": "exposure",
        "events": 1600,
        "files": 1,
        "days": 1,
        "first_day": "2026-11-23",
        "last_day": "2026-11-23",
        "snapshots": 17,
        "tags": [],
    }


def test_damage_is_named_and_gives_the_exit_status_1(tmp_path: Path, run: Run) -> None:
    home = make_home(tmp_path / "home", commits=2)
    files = sorted((home / "lake" / "default" / "exposures" / "data").rglob("*.parquet"))
    files[0].unlink()
    files[1].with_name("stray.parquet").write_bytes(b"x")

    status, lines, _ = run(home, "lake", "verify")

    assert status == 1
    assert lines[:3] == [
        "default.exposures: 200 events; 2 files, earlier states included: 1 wrong",
        f"  file://{files[0]} is missing",
        "  1 young file that nothing names yet: a commit may be under way",
    ]


def test_a_lost_table_does_not_keep_the_others_from_being_checked(tmp_path: Path, run: Run) -> None:
    home = make_home(tmp_path / "home", commits=1)
    lost = home / "lake" / "default"
    lost.rename(tmp_path / "elsewhere")

    status, lines, err = run(home, "lake", "verify")

    assert (status, err) == (1, "")
    assert lines == [
        "default.exposures: 0 events; 0 files, earlier states included: 1 wrong",
        f"  file://{lost}/exposures holds the table, and does not exist here; is it mounted?",
        "default.conversions: 0 events; 0 files, earlier states included: 1 wrong",
        f"  file://{lost}/conversions holds the table, and does not exist here; is it mounted?",
        "other.exposures: 0 events; 0 files, earlier states included: all as the manifests say",
        "other.conversions: 2 events; 2 files, earlier states included: all as the manifests say",
    ]


def test_a_lake_of_another_database_is_left_alone_until_it_is_adopted(tmp_path: Path, run: Run) -> None:
    home = make_home(tmp_path / "home", commits=16)
    (home / "lake" / "owner.json").write_text('{"token": "of another", "shared": true}')

    status, done, err = run(home, "lake", "compact")
    assert (status, done) == (1, [])
    assert err.startswith(f"Error: another database has gone on with the lake in file://{home}/lake, ")
    status, lines, _ = run(home, "lake", "verify")
    assert status == 1
    assert lines[-1].endswith("run: abplatform lake adopt")

    assert run(home, "lake", "adopt", "--reason", "restored", "--actor", "ann") == (
        0,
        [f"the lake in file://{home}/lake is this database's; no other one may tidy it up"],
        "",
    )
    assert run(home, "lake", "verify")[0] == 0
    assert run(home, "lake", "compact")[0] == 0
    with build_platform(Settings(home=home)) as platform, platform.uow.reading() as work:
        begun, ended = work.audit.all("default")
    assert (begun.action, begun.actor, begun.details["reason"]) == ("lake-adopt", "ann", "restored")
    assert begun.details["lake"] == f"file://{home}/lake"
    assert ended.action == "lake-adopt-done"


def test_what_the_worker_would_remove_is_listed(capfd: pytest.CaptureFixture[str]) -> None:
    orphans = tuple(StoredFile(f"file:///lake/{number:02}", 500_000, NOW) for number in range(12))

    assert print_recount("default", "exposure", Recount(files=1, rows=3, orphans=orphans))

    lines = capfd.readouterr().out.splitlines()
    assert lines[1] == "  12 files that nothing names (6.0 MB); the worker removes them:"
    assert lines[2:] == [*(f"    file:///lake/{number:02}" for number in range(10)), "    and 2 more"]


def test_all_that_was_done_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    done = Tended(
        dropped=Dropped(days=1, files=1, rows=5),
        compacted=Compacted(files=40, merged=2, rows=9, size=1_500_000),
        expired=Expired(snapshots=3, files=12),
        swept=1,
    )
    print_tended("default", "exposure", done)
    print_tended("default", "conversion", None)
    assert capfd.readouterr().out.splitlines() == [
        "default.exposures: deleted 5 events of 1 day: too old",
        "default.exposures: merged 40 files (1.5 MB) into 2",
        "default.exposures: forgot 3 earlier states, removed 12 files",
        "default.exposures: removed 1 file that nothing named",
        "default.conversions: a worker is at it now",
    ]


def test_a_project_without_tables_and_an_empty_lake_are_said_so(tmp_path: Path, run: Run) -> None:
    home = make_home(tmp_path / "home", commits=0)
    assert run(home, "lake", "ls", "--project", "nope") == (1, [], "Error: the lake has no project 'nope'\n")
    status, _, err = run(tmp_path / "nothing", "lake", "ls")
    assert status == 1
    assert "there is no data in" in err
    prepare_database(Settings(home=tmp_path / "empty"))
    assert run(tmp_path / "empty", "lake", "verify") == (0, [], "the lake is empty\n")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_940, "99.9 kB"), (99_960, "100 kB"), (999_600, "1.0 MB")],
)
def test_sizes_have_three_digits(number: int, text: str) -> None:
    assert size(number) == text
