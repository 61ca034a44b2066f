"""The command that tells stories: what it says, what it refuses, and that a seed says it all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from abplatform.cli.main import run as run_here
from abplatform.cli.stories import STORIES
from abplatform.services.define import create_experiment, create_metric
from tests.builders import NOW, a_metric, a_metric_use, an_experiment
from tests.cli.tables import a_platform, write_csv

STORY = "rate-display"
SMALL = ("--units", "2000")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new folder, and nothing else set."""
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ABPLATFORM_DATABASE_URL", raising=False)
    return tmp_path / "home"


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run_here(arguments)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_list_has_all_six(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed, _ = say(capsys, "simulate-app", "--list")
    assert status == 0
    assert [line.split()[0] for line in printed.splitlines()] == list(STORIES)
    assert len(STORIES) == 6
    assert not home.exists(), "it only says what there is"


def test_a_story_is_there_for_the_readout_and_leaves_no_look_behind(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed, said = say(capsys, "simulate-app", STORY, *SMALL)
    assert (status, said) == (0, "")
    assert "2,000 simulated customers, seed 1; it began 45 days ago and ends now" in printed
    assert re.findall(r"^day +(\d+):", printed, flags=re.MULTILINE) == ["32", "38", "45"]
    assert re.search(r"^purchase +\+22\.0% +\S+ \[\S+, \S+\]", printed, flags=re.MULTILINE)
    _, readout, _ = say(capsys, "readout", STORY)
    assert "Look: 3" in readout, "the look of the last simulated day: nothing is new since"
    status, _, said = say(capsys, "simulate-app", STORY, *SMALL)
    assert status == 1
    assert said.startswith(f"Error: {STORY} was told in {home} already; for another one set ABPLATFORM_HOME")


def test_equal_seeds_give_equal_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for place, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / place))
        printed.append(say(capsys, "simulate-app", STORY, *SMALL, "--seed", seed)[1].replace("seed 8", "seed 7"))
    assert printed[0] == printed[1]
    assert printed[0] != printed[2]


def test_two_stories_share_a_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "simulate-app", STORY, *SMALL, "--until-day", "3")[0] == 0
    status, printed, said = say(capsys, "simulate-app", "first-loan", *SMALL, "--until-day", "30")
    assert (status, said) == (0, "")
    assert re.findall(r"^day +(\d+):", printed, flags=re.MULTILINE) == ["30"]
    assert "bad-debt-90-days  +1.15 pp" in printed
    assert "not known yet" in printed, "nobody is 90 days old"
    assert (home / "simulated").is_file()


def test_another_metric_of_a_needed_key_is_not_taken_for_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "simulate-app", "first-loan", *SMALL, "--until-day", "1")[0] == 0
    with a_platform(home) as platform, platform.uow.begin() as work:
        create_metric(work, "default", a_metric("purchase", event="order"), now=NOW)
    status, _, said = say(capsys, "simulate-app", STORY, *SMALL)
    assert (status, said) == (1, "Error: there is another metric purchase; tell the story in a new folder\n")


def test_a_home_of_stories_that_somebody_uses_for_more_is_left_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, "simulate-app", STORY, *SMALL, "--until-day", "1")[0] == 0
    with a_platform(home) as platform, platform.uow.begin() as work:
        create_metric(work, "default", a_metric("sales"), now=NOW)
        create_experiment(work, "default", an_experiment("mine", metrics=(a_metric_use("sales"),)), now=NOW)
    status, _, said = say(capsys, "simulate-app", "first-loan", *SMALL)
    assert status == 1
    assert said == f"Error: {home} has another experiment than stories, mine: set ABPLATFORM_HOME to a new folder\n"


@pytest.mark.parametrize(
    "command",
    [
        ("import", "--variant", "arm", "--control", "a", "--conversion", "bought"),
        ("import-events", "--unit", "who", "--timestamp", "at", "--event-name", "purchase"),
        ("import-events", "--unit", "who", "--timestamp", "at", "--event-name", "purchase", "--check"),
    ],
    ids=" ".join,
)
def test_real_customers_do_not_join_simulated_ones(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    table = write_csv(
        tmp_path / "real.csv",
        ("arm", "bought", "who", "at"),
        *((arm, "1", f"{arm}{unit}", "2026-03-03T10:00:00Z") for arm in "ab" for unit in range(3)),
    )
    assert say(capsys, "simulate-app", STORY, *SMALL, "--until-day", "1")[0] == 0
    name, *options = command
    status, printed, said = say(capsys, name, str(table), *options)
    complaint = f"{home} holds simulated customers, real ones must not join them: set ABPLATFORM_HOME to a new folder"
    assert (status, printed, said) == (1, "", f"Error: {complaint}\n")
    with a_platform(home) as platform, platform.uow.reading() as work:
        assert [experiment.key for experiment in work.experiments.all("default")] == [STORY]


def test_the_demo_joins_neither_stories_nor_the_experiments_of_somebody(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It imports a real experiment, and then simulates customers."""
    assert say(capsys, "simulate-app", STORY, *SMALL, "--until-day", "1")[0] == 0
    elsewhere = "set ABPLATFORM_HOME to a new folder"
    complaint = f"{home} holds simulated customers, real ones must not join them: {elsewhere}"
    assert say(capsys, "demo") == (1, "", f"Error: {complaint}\n")

    mine = tmp_path / "mine"
    monkeypatch.setenv("ABPLATFORM_HOME", str(mine))
    table = write_csv(tmp_path / "real.csv", ("arm", "bought"), *((arm, "1") for arm in "aabb"))
    assert say(capsys, "import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bought")[0] == 0
    complaint = f"{mine} has another experiment than the demo's, real: {elsewhere}"
    assert say(capsys, "demo") == (1, "", f"Error: {complaint}\n")
    with a_platform(mine) as platform, platform.uow.reading() as work:
        assert [experiment.key for experiment in work.experiments.all("default")] == ["real"]


def test_a_home_with_an_imported_experiment_gets_no_story(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_csv(tmp_path / "real.csv", ("arm", "bought"), *((arm, "1") for arm in "aabb"))
    assert say(capsys, "import", str(table), "--variant", "arm", "--control", "a", "--conversion", "bought")[0] == 0
    status, _, said = say(capsys, "simulate-app", STORY, *SMALL)
    assert status == 1
    assert said == f"Error: {home} holds other data than stories: set ABPLATFORM_HOME to a new folder\n"


def test_a_home_with_other_data_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_platform(home) as platform, platform.uow.begin() as work:
        create_metric(work, "default", a_metric(), now=NOW)
    status, printed, said = say(capsys, "simulate-app", STORY)
    assert (status, printed) == (1, "")
    assert said == f"Error: {home} holds other data than stories: set ABPLATFORM_HOME to a new folder\n"
    assert not (home / "simulated").exists()


@pytest.mark.parametrize("database", ["postgresql://u:p@localhost/name", ""])
def test_a_shared_database_or_lake_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: str
) -> None:
    monkeypatch.setenv("ABPLATFORM_DATABASE_URL", database)
    monkeypatch.setenv("ABPLATFORM_LAKE_URL", (home.parent / "lake").as_uri())
    monkeypatch.setenv("ABPLATFORM_PSEUDONYM_KEY", "k" * 32)
    status, _, said = say(capsys, "simulate-app", STORY)
    assert status == 1
    assert "not in a shared database or lake" in said
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "name a STORY, or --list"),
        ((STORY, "--list"), "name a STORY, or --list"),
        (("rate-displai",), "there is no story 'rate-displai'"),
        ((STORY, "--until-day", "46"), f"{STORY} ends on day 45"),
        ((STORY, "--units", "1"), "--units"),
    ],
)
def test_what_cannot_be_told_is_refused_before_anything_is_made(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
) -> None:
    status, _, said = say(capsys, "simulate-app", *arguments)
    assert status == 2
    assert complaint in said
    assert not home.exists()
