"""``abplatform verify`` as an auditor meets it: every exposure is taken by ingest and sealed into the lake."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abplatform.assignment import bucket
from abplatform.cli.main import run as run_here
from abplatform.cli.verify import command
from abplatform.domain.experiment import Variant
from abplatform.domain.pseudonym import pseudonymise
from abplatform.services import define, hold_out
from abplatform.warehouse.draws import ENGINES
from tests.builders import NOW, a_holdout, a_plan, an_experiment, an_external_experiment
from tests.cli.running import draw, expose, run_experiments
from tests.cli.tables import a_platform, write_csv
from tests.services.lives import take

UNITS = [f"user-{number}" for number in range(400)]
UNEVEN = (Variant(key="control", weight=1), Variant(key="it's b", weight=2))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABPLATFORM_HOME", str(tmp_path / "home"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A platform where a third of the units is in an experiment with uneven weights."""
    run_experiments(tmp_path / "home", an_experiment(variants=UNEVEN, coverage=1 / 3))
    return tmp_path / "home"


def other(variant: str) -> str:
    return "control" if variant != "control" else "it's b"


def expose_all(home: Path, wrong: int = 0, outside: int = 0) -> dict[str, str]:
    """Expose all units that are in; some to the wrong variant, and some that are not in. Gives what was drawn."""
    with a_platform(home) as platform:
        drawn = draw(platform, UNITS)
        given = {
            unit: other(variant) if place < wrong else variant for place, (unit, variant) in enumerate(drawn.items())
        }
        uninvited = [unit for unit in UNITS if unit not in drawn][:outside]
        expose(platform, given | dict.fromkeys(uninvited, "control"))
    return drawn


def table_of(folder: Path, units: list[str]) -> Path:
    return write_csv(folder / "units.csv", ["unit_id"], *[[unit] for unit in units])


def test_exposures_that_agree_give_status_0(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = expose_all(home)
    assert run_here(["verify", "rate-display"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("rate-display, phase 1, running\n")
    assert said.endswith(f"0 of {len(drawn)} exposures disagree with the draws\n")
    assert cells(said, "control")[:3] == [str(list(drawn.values()).count("control")), "0", "0"]
    assert "\x1b" not in said


def test_exposures_that_disagree_are_counted_by_kind_and_give_status_1(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = expose_all(home, wrong=3, outside=5)
    with a_platform(home) as platform:
        unit, variant = list(drawn.items())[-1]
        expose(platform, {unit: other(variant)})
    assert run_here(["verify", "rate-display"]) == 1
    said = capsys.readouterr().out
    assert said.endswith(f"9 of {len(drawn) + 6} exposures disagree with the draws\n")
    found = {variant: cells(said, variant) for variant in ("control", "it's b")}
    totals = [sum(int(counts[place]) for counts in found.values()) for place in range(6)]
    assert totals == [len(drawn) + 6, 4, 5, 0, len(drawn) + 5, 1]


def cells(said: str, variant: str) -> list[str]:
    """The counts in a variant's row: exposures, other, undrawn, not drawn here, units, in two variants."""
    row = next(line for line in said.splitlines() if line.startswith(variant))
    return row.removeprefix(variant).split()


def test_an_experiment_without_exposures_agrees(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert home.exists()
    assert run_here(["verify", "rate-display"]) == 0
    assert capsys.readouterr().out == "rate-display, phase 1, running\nno exposures\n"


def test_each_phase_is_verified_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = expose_all(home, wrong=2)
    with a_platform(home) as platform:
        with platform.uow.begin() as work:
            take(work, "rate-display", "phase")
        second = draw(platform, UNITS)
        expose(platform, second, phase=2)
    assert second != first
    assert run_here(["verify", "rate-display"]) == 0
    assert f"0 of {len(second)} exposures disagree" in capsys.readouterr().out
    assert run_here(["verify", "rate-display", "--phase", "1"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("rate-display, phase 1, ended 2026-11-23 09:00 UTC\n")
    assert f"2 of {len(first)} exposures disagree" in said
    assert run_here(["verify", "rate-display", "--phase", "3"]) == 2
    assert capsys.readouterr().err == "Error: phase: rate-display has had the phases 1 to 2\n"


def test_raw_ids_are_drawn_anew_and_joined_by_pseudonym(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = expose_all(home, wrong=3, outside=2)
    unlisted = list(drawn)[-7:]
    listed = [unit for unit in UNITS if unit not in unlisted]
    table = table_of(tmp_path, [*listed, listed[0], ""])
    assert run_here(["verify", "rate-display", "--units", str(table)]) == 1
    said = capsys.readouterr().out
    counts = {
        "rows": len(listed) + 2,
        "rows without an id": 1,
        "units that agree": len(drawn) - 3 - 7,
        "units that disagree": 3 + 2,
        "units without an exposure": len(listed) - (len(drawn) - 7) - 2,
        "exposed units that are not in the table": 7,
    }
    lines = [f"{count:>14}  {name}" for name, count in counts.items()]
    assert "\n".join(["Units of units.csv, drawn anew", *lines, ""]) in said
    with a_platform(home) as platform:
        wrong = list(drawn)[:3]
        hidden = {unit: pseudonymise(platform.pseudonym_key, "user_id", unit) for unit in wrong}
    for unit in wrong:
        assert f"{hidden[unit]}: exposed to {other(drawn[unit])}; drawn: {drawn[unit]}" in said
    assert said.count("; drawn: no variant") == 2
    assert "user-" not in said
    assert run_here(["verify", "rate-display", "--units", str(table), "--show-ids"]) == 1
    shown = capsys.readouterr().out
    for unit in wrong:
        assert f"  {unit}: exposed to {other(drawn[unit])}; drawn: {drawn[unit]}" in shown


def test_at_most_ten_examples_are_shown(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expose_all(home, wrong=40)
    assert run_here(["verify", "rate-display", "--units", str(table_of(tmp_path, UNITS))]) == 1
    said = capsys.readouterr().out
    assert "            40  units that disagree" in said
    assert said.count("; drawn: ") == 10


def test_what_agrees_gives_status_0_with_a_table_too(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = expose_all(home)
    pq.write_table(pa.table({"customer": UNITS}), tmp_path / "units.parquet")
    arguments = ["verify", "rate-display", "--units", str(tmp_path / "units.parquet"), "--unit-column", "customer"]
    assert run_here(arguments) == 0
    assert f"{len(drawn):>14}  units that agree\n" in capsys.readouterr().out


def test_units_that_are_held_out_are_drawn_no_variant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    run_experiments(home)
    with a_platform(home) as platform, platform.uow.begin() as work:
        hold_out.create_holdout(work, "default", a_holdout(share=0.2), now=NOW)
        salt = work.holdouts.get("default", "q3").salt
        define.create_experiment(work, "default", an_experiment(), now=NOW)
        take(work, "rate-display", "start")
    held = [unit for unit in UNITS if bucket(salt, unit) < 200_000]
    with a_platform(home) as platform:
        expose(platform, draw(platform, UNITS) | {held[0]: "control"})
    assert run_here(["verify", "rate-display", "--units", str(table_of(tmp_path, UNITS))]) == 1
    said = capsys.readouterr().out
    assert "             1  units that disagree" in said
    assert f"{len(held) - 1:>14}  units without an exposure" in said


def test_of_clustered_experiments_the_clusters_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clustered = an_experiment(
        unit_type="household_id", analysis_unit="user_id", coverage=0.5, plan=a_plan(method="fixed")
    )
    run_experiments(tmp_path / "home", clustered)
    households = [f"household-{number}" for number in range(60)]
    with a_platform(tmp_path / "home") as platform:
        drawn = draw(platform, households, unit_type="household_id")
        for household, variant in drawn.items():
            members = {f"{name} of {household}": variant for name in ("a", "b")}
            expose(platform, members, units={"household_id": household})
    assert run_here(["verify", "rate-display", "--units", str(table_of(tmp_path, households))]) == 0
    said = capsys.readouterr().out
    assert f"0 of {2 * len(drawn)} exposures disagree" in said
    assert f"{len(drawn):>14}  units that agree\n" in said
    assert f"{len(households) - len(drawn):>14}  units without an exposure\n" in said


def test_after_the_stop_everything_is_derived_as_before(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expose_all(home)
    outputs = []
    for step in (None, "stop", "archive"):
        if step is not None:
            with a_platform(home) as platform, platform.uow.begin() as work:
                take(work, "rate-display", step)
        assert run_here(["verify", "rate-display", "--units", str(table_of(tmp_path, UNITS))]) == 0
        assert run_here(["verify", "rate-display", "--sql", "duckdb"]) == 0
        outputs.append(capsys.readouterr().out.partition("\n")[2])  # without the line that names the status
    assert outputs[0] == outputs[1] == outputs[2]
    assert "in_slots" in outputs[0]


def test_the_printed_sql_draws_what_the_sdk_assigns(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_platform(home) as platform:
        drawn = draw(platform, UNITS)
    assert run_here(["verify", "rate-display", "--sql", "duckdb"]) == 0
    query = capsys.readouterr().out
    assert query.startswith("-- rate-display, phase 1, in duckdb.\n")
    with duckdb.connect() as connection:
        connection.register("units", pa.table({"unit_id": UNITS}))
        rows = connection.execute(query).fetchall()
    assert {unit: variant for unit, _, _, is_in, variant in rows if is_in} == drawn


def test_the_query_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_experiments(tmp_path / "home", an_experiment(targeting={"age": {"$gte": 18}}))
    assert run_here(["verify", "rate-display", "--sql", "spark"]) == 0
    assert "-- Not in here, though it comes before the draws: targeting.\n" in capsys.readouterr().out


def test_every_engine_can_be_asked_for() -> None:
    [engine] = [parameter for parameter in command.params if parameter.name == "engine"]
    assert list(engine.type.choices) == list(ENGINES)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no experiment 'nothing'"),
        (["a-draft"], "a-draft is a draft: nobody was drawn yet"),
        (["imported", "--sql", "duckdb"], "imported has external assignment"),
        (["rate-display", "--show-ids"], "--show-ids needs --units"),
        (["rate-display", "--sql", "oracle"], "'oracle' is not one of"),
    ],
)
def test_a_refusal_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with a_platform(home) as platform, platform.uow.begin() as work:
        define.create_experiment(work, "default", an_experiment("a-draft"), now=NOW)
        define.create_experiment(work, "default", an_external_experiment(), now=NOW)
        take(work, "imported", "start")
    assert run_here(["verify", *arguments]) in {1, 2}
    said = capsys.readouterr()
    assert said.err.startswith("Error: ")
    assert message in said.err
    assert said.out == ""


def test_no_database_is_made_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(["verify", "rate-display"]) == 1
    assert "there is no data in" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
