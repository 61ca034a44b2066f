"""``abplatform rerun`` as an auditor meets it: a real lake, looks at it, and what has become of it since."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from abplatform.cli.main import run as run_here
from abplatform.database import transaction
from abplatform.storage.schema import look as table
from tests.cli.tables import a_platform
from tests.warehouse.looking import add_units, begin, forget, look, tend_all


def make(home: Path) -> Path:
    """A platform with one look at forty units; then twenty more came, and the lake was compacted."""
    with a_platform(home) as platform:
        begin(platform)
        add_units(platform, range(40))
        look(platform)
        tend_all(platform)
        add_units(platform, range(40, 60))
        forget(platform)
    return home


@pytest.fixture(name="shared", scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("shared") / "home")


@pytest.fixture
def home(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a platform, for what leaves it as it is."""
    return use(shared, monkeypatch)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a platform of the test's own."""
    return use(make(tmp_path / "home"), monkeypatch)


def use(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABPLATFORM_HOME", str(home))
    monkeypatch.setenv("ABPLATFORM_ENGINE_MEMORY", "256MB")
    return home


def test_a_look_that_agrees_gives_status_0(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["rerun", "rate-display", "--look", "1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("rate-display, phase 1, look 1\nas of ")
    assert said.endswith("\n0 of 29 numbers differ\n")
    (total,) = (line for line in said.splitlines() if "revenue.treatment.total" in line)
    assert total.split()[-2:] == ["50", "50"]
    assert "\x1b" not in said
    with a_platform(home) as platform:
        assert len(platform.looks("default", "rate-display")) == 1, "nothing is recorded"


def test_as_json_it_has_every_number_and_the_cut_off(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["rerun", "rate-display", "--look", "1", "--phase", "1", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    with a_platform(home) as platform:
        recorded = platform.looks("default", "rate-display")[0].cut_off
    assert recorded is not None
    assert document["cut_off"]["exposures"] == recorded.exposures
    assert (document["agrees"], document["experiment"], document["look"]) == (True, "rate-display", 1)
    assert {"name": "revenue.treatment.total", "was": "50", "now": "50", "agrees": True} in document["numbers"]


def test_a_number_that_differs_gives_status_1(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_platform(own_home) as platform, transaction(platform.database) as connection:
        stored = json.loads(connection.scalar(sa.select(table.c.aggregation)) or "")
        stored["exposed"]["control"] = 21
        connection.execute(sa.update(table).values(aggregation=json.dumps(stored)))
    assert run_here(["rerun", "rate-display", "--look", "1"]) == 1
    said = capsys.readouterr().out
    assert said.endswith("\n1 of 29 numbers differ\n")
    (wrong,) = (line for line in said.splitlines() if line.rstrip().endswith("differs"))
    assert wrong.split() == ["exposed.control", "21", "20", "differs"]
    assert run_here(["rerun", "rate-display", "--look", "1", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["agrees"] is False


def test_what_a_look_of_an_earlier_version_did_not_record_is_shown_and_does_not_differ(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_platform(own_home) as platform, transaction(platform.database) as connection:
        stored = json.loads(connection.scalar(sa.select(table.c.aggregation)) or "")
        assert [cell.pop("m3") is not None for cell in stored["cells"]] == [True, True]
        connection.execute(sa.update(table).values(aggregation=json.dumps(stored), version="0.1.0"))
    assert run_here(["rerun", "rate-display", "--look", "1"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("\n0 of 27 numbers differ\n2 more were not recorded by version 0.1.0: nothing to compare\n")
    assert sum(line.endswith("not recorded then") and ".m3 " in line for line in said.splitlines()) == 2
    assert run_here(["rerun", "rate-display", "--look", "1", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    unknown = [number for number in document["numbers"] if number["agrees"] is None]
    assert (document["agrees"], [number["was"] for number in unknown]) == (True, [None, None])


def test_a_state_that_is_gone_is_said_and_what_to_do(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_platform(own_home) as platform:
        look(platform)
        tend_all(platform)
        forget(platform)
    assert run_here(["rerun", "rate-display", "--look", "1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "Error: look 1 of phase 1 of rate-display cannot be computed again: the lake no longer keeps"
    )
    assert error.rstrip().endswith("abplatform readout rate-display")
    assert run_here(["rerun", "rate-display", "--look", "2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["rate-display", "--look", "2"], 1, "there is no look 2"),
        (["nothing", "--look", "1"], 1, "nothing"),
        (["rate-display", "--look", "1", "--phase", "2"], 2, "phase"),
        (["rate-display", "--look", "1", "--engine", "sparks://"], 2, "must be duckdb://"),
        (["rate-display", "--look", "1", "--engine", "spark://local[1]"], 2, "ENGINE_MEMORY"),
        (["rate-display"], 2, "--look"),
        (["rate-display", "--look", "0"], 2, "--look"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, says: str
) -> None:
    assert home.is_dir()
    assert run_here(["rerun", *arguments]) == status
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert says in error
    assert error.count("\n") == 1
